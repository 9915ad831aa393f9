"""TLS, and listeners that move while the server runs."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest
import redis
from tests.commands.dialogue import until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure, free_port

from perdure import tls
from perdure.config import Config
from perdure.directives import ConfigError

pytestmark = pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed: nobody makes certificates")


class Certificates:
    """An authority, and what it has signed: `server.crt`, `other.crt`, `client.crt`, each with its key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = self.path("ca.crt")
        self._openssl("req", "-x509", *self._key("ca"), "-out", self.authority, "-days", "2", "-subj", "/CN=authority")
        for name in ("server", "other", "client"):
            self.sign(name)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def pair(self, name: str) -> tuple[str, str]:
        return self.path(f"{name}.crt"), self.path(f"{name}.key")

    def sign(self, name: str) -> None:
        certificate, _ = self.pair(name)
        request, names = self.path("request"), self.path("names")
        Path(names).write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("req", *self._key(name), "-out", request, "-subj", f"/CN={name}")
        signing = ("-CA", self.authority, "-CAkey", self.path("ca.key"), "-CAcreateserial", "-extfile", names)
        self._openssl("x509", "-req", "-in", request, *signing, "-days", "2", "-out", certificate)

    def encrypt_key(self, name: str, password: str) -> str:
        """The same key behind a password."""
        locked = self.path(f"{name}.locked.key")
        self._openssl("ec", "-in", self.path(f"{name}.key"), "-aes256", "-passout", f"pass:{password}", "-out", locked)
        return locked

    def _key(self, name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        return (*curve, "-nodes", "-keyout", self.path(f"{name}.key"))

    @staticmethod
    def _openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class TlsServer:
    """A server with a TLS port beside the plain one, by which it is told what to do."""

    def __init__(self, server: PerdureServer, port: int, certificates: Certificates) -> None:
        self.server = server
        self.port = port
        self.certificates = certificates
        self.admin = server.connect()

    def set(self, *words: str) -> object:
        return self.admin.ask("CONFIG", "SET", *words)

    def handshake(self, *, client: str = "", version: ssl.TLSVersion | None = None, ciphers: str = "") -> ssl.SSLSocket:
        """A connection that the server has accepted. Raises OSError."""
        context = ssl.create_default_context(cafile=self.certificates.authority)
        if client:
            context.load_cert_chain(*self.certificates.pair(client))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        raw = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 10), server_hostname="localhost")
        try:
            raw.sendall(b"PING\r\n")  # in TLS 1.3 a client learns only now that its certificate was not good enough
            if raw.recv(7) != b"+PONG\r\n":
                raise ConnectionError
        except OSError:
            raw.close()
            raise
        return raw

    def name(self) -> str:
        """Whom the certificate says we talk to."""
        with self.handshake() as connection:
            shown = connection.getpeercert()
        assert shown is not None
        subject = shown["subject"]
        assert isinstance(subject, tuple)
        return str(subject[0][0][1])  # type: ignore[index]


StartTls = Callable[..., TlsServer]


@pytest.fixture
def start_tls(start_perdure: StartPerdure, certificates: Certificates) -> StartTls:
    def start(*options: str) -> TlsServer:
        certificate, key = certificates.pair("server")
        given = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
        server = start_perdure(*given, "--tls-ca-cert-file", certificates.authority, *options)
        started = TlsServer(server, free_port(), certificates)
        assert started.set("tls-port", str(started.port)) == b"OK"
        return started

    return start


# -- clients -------------------------------------------------------------------------------------------------------


def test_redis_py_talks_tls(start_tls: StartTls) -> None:
    server = start_tls()
    authority = server.certificates.authority
    client = redis.Redis(port=server.port, ssl=True, ssl_ca_certs=authority, protocol=3)
    large = bytes(range(256)) * 20_000
    assert client.set("large", large) and client.get("large") == large
    pipeline = client.pipeline(transaction=False)
    for number in range(2000):
        pipeline.incr(f"k{number}")
    assert pipeline.execute() == [1] * 2000
    with client.pubsub() as listening:
        listening.subscribe("news")
        assert listening.get_message(timeout=5) is not None
        client.publish("news", "hello")
        message = listening.get_message(timeout=5)
        assert message is not None and message["data"] == b"hello"
    assert server.admin.ask("GET", "k0") == b"1"  # the same data by the plain port
    client.close()


@pytest.mark.skipif(which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli_talks_tls(start_tls: StartTls) -> None:
    server = start_tls()
    words = ["redis-cli", "--tls", "--cacert", server.certificates.authority, "-p", str(server.port), "ping"]
    assert subprocess.run(words, capture_output=True, timeout=20).stdout == b"PONG\n"


def test_who_does_not_speak_tls_is_turned_away(start_tls: StartTls) -> None:
    server = start_tls()
    plain = RealRedis(server.port)
    plain.socket.sendall(b"PING\r\n")
    assert plain.closed()
    assert server.name() == "server"


def test_clients_show_certificates_when_they_have_to(start_tls: StartTls) -> None:
    server = start_tls()
    server.handshake().close()
    assert server.set("tls-auth-clients", "yes") == b"OK"
    with pytest.raises(OSError):
        server.handshake()
    server.handshake(client="client").close()
    assert server.set("tls-auth-clients", "optional") == b"OK"
    server.handshake().close()
    server.handshake(client="client").close()


def test_versions_and_ciphers_are_chosen(start_tls: StartTls) -> None:
    server = start_tls("--tls-protocols", "TLSv1.2")
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    server.handshake(version=old).close()
    with pytest.raises(OSError):
        server.handshake(version=new)
    assert server.set("tls-protocols", "TLSv1.3") == b"OK"
    with pytest.raises(OSError):
        server.handshake(version=old)
    assert server.set("tls-protocols", "", "tls-ciphers", "ECDHE+AESGCM") == b"OK"
    assert server.set("tls-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384") == b"OK"
    with pytest.raises(OSError):
        server.handshake(version=old, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305")
    theirs = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    for ours_first, chosen in (("no", "ECDHE-ECDSA-AES256-GCM-SHA384"), ("yes", "ECDHE-ECDSA-AES128-GCM-SHA256")):
        server.set("tls-prefer-server-ciphers", ours_first)
        with server.handshake(version=old, ciphers=theirs) as connection:
            cipher = connection.cipher()
            assert cipher is not None and cipher[0] == chosen


# -- certificates change -------------------------------------------------------------------------------------------


def test_certificates_are_replaced_while_clients_stay(start_tls: StartTls) -> None:
    server = start_tls()
    before = server.handshake()
    assert server.name() == "server"
    certificate, key = server.certificates.pair("other")
    assert server.set("tls-cert-file", certificate, "tls-key-file", key) == b"OK"
    assert server.name() == "other"
    before.sendall(b"PING\r\n")
    assert before.recv(7) == b"+PONG\r\n"
    before.close()


def test_a_certificate_that_does_not_work_changes_nothing(start_tls: StartTls) -> None:
    server = start_tls()
    certificate, _ = server.certificates.pair("other")
    for words in (
        ("tls-cert-file", "/nosuch"),
        ("tls-cert-file", certificate),  # its key is another
        ("tls-ca-cert-file", server.certificates.path("request")),
        ("tls-protocols", "SSLv2"),
        ("tls-ciphers", "nosuch"),
        ("tls-ca-cert-file", "", "tls-auth-clients", "yes"),
    ):
        refused = server.set(*words)
        assert isinstance(refused, RedisError) and "Unable to update TLS configuration" in str(refused), words
        assert server.name() == "server"
    assert server.admin.ask("CONFIG", "GET", "tls-cert-file")[1].endswith(b"server.crt")
    assert "tls-cert-file: /nosuch: No such file" in server.server.log


def test_a_key_behind_a_password(start_tls: StartTls) -> None:
    server = start_tls()
    locked = server.certificates.encrypt_key("server", "1234")
    assert isinstance(server.set("tls-key-file", locked), RedisError)
    assert server.set("tls-key-file-pass", "1234", "tls-key-file", locked) == b"OK"
    assert server.name() == "server"


@pytest.mark.parametrize(
    ("values", "blamed"),
    [
        ({"tls_cert_file": ""}, "tls-cert-file"),
        ({"tls_key_file": "/nosuch"}, "tls-key-file"),
        ({"tls_ca_cert_file": "", "tls_auth_clients": "yes"}, "tls-ca-cert-file"),
        ({"tls_ca_cert_file": "", "tls_ca_cert_dir": "/nosuch"}, ""),
        ({"tls_protocols": "TLSv1.1 TLSv1.4"}, "tls-protocols"),
        ({"tls_protocols": "TLSv1 TLSv1.3"}, ""),
        ({"tls_dh_params_file": "/nosuch"}, "tls-dh-params-file"),
        ({"tls_session_caching": "no"}, ""),
        ({"tls_ciphersuites": "nosuch"}, "tls-ciphersuites"),
    ],
)
def test_what_is_wrong_is_named(certificates: Certificates, values: dict[str, str], blamed: str) -> None:
    certificate, key = certificates.pair("server")
    given = {"tls_cert_file": certificate, "tls_key_file": key, "tls_ca_cert_file": certificates.authority, **values}
    try:
        made = tls.context(Config(**given))
    except ConfigError as error:
        assert error.name == blamed
    else:
        assert not blamed
        if "tls_session_caching" in values:
            assert made.num_tickets == 0 and made.options & ssl.OP_NO_TICKET


def test_a_start_without_certificate_is_one_line(start_perdure: StartPerdure) -> None:
    with pytest.raises(RuntimeError, match="perdure-server: tls-cert-file: is needed for TLS"):
        start_perdure("--tls-port", str(free_port()))


# -- listeners move ------------------------------------------------------------------------------------------------


def test_only_tls(start_perdure: StartPerdure, certificates: Certificates) -> None:
    """`port 0` is no port when there is one for TLS, and that is the one printed."""
    certificate, key = certificates.pair("server")
    port = free_port()
    files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificates.authority]
    server = start_perdure("--tls-port", str(port), *files)
    assert server.port == port
    shown = {"ssl_certfile": certificates.pair("client")[0], "ssl_keyfile": certificates.pair("client")[1]}
    client = redis.Redis(port=port, ssl=True, ssl_ca_certs=certificates.authority, **shown)
    told = client.info("server")
    assert client.config_get("port") == {"port": "0"} and told["tcp_port"] == port
    assert told["listener0"] == {"name": "tls", "bind": "-::1", "port": port}  # redis-py keeps the last `bind`
    client.close()


def test_ports_change_places(start_tls: StartTls) -> None:
    server = start_tls()
    assert server.set("tls-port", "0") == b"OK"
    with pytest.raises(OSError):
        server.handshake()
    assert server.set("port", str(server.port)) == b"OK"
    assert RealRedis(server.port).ask("PING") == b"PONG"
    with pytest.raises(OSError):
        RealRedis(server.server.port)
    assert server.set("port", "0") == b"OK"
    assert server.set("tls-port", str(server.port)) == b"OK"
    assert server.name() == "server"


def test_a_port_that_is_taken_is_refused(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    client = server.connect()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = client.ask("CONFIG", "SET", "port", taken.getsockname()[1])
    assert isinstance(refused, RedisError) and "Unable to listen on this port" in str(refused)
    assert server.connect().ask("PING") == b"PONG"
    other = free_port()
    assert client.ask("CONFIG", "SET", "port", other) == b"OK"
    assert RealRedis(other).ask("CONFIG", "GET", "port") == [b"port", b"%d" % other]
    assert client.ask("PING") == b"PONG"  # who is there stays


def test_addresses_change(start_perdure: StartPerdure) -> None:
    server = start_perdure()
    client = server.connect()
    refused = client.ask("CONFIG", "SET", "bind", "999.999.999.999")
    assert isinstance(refused, RedisError) and "Failed to bind to specified addresses" in str(refused)
    assert server.connect().ask("PING") == b"PONG"
    assert client.ask("CONFIG", "SET", "bind", "127.0.0.2 -999.999.999.999") == b"OK"
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    socket.create_connection(("127.0.0.2", server.port)).close()
    assert client.ask("CONFIG", "SET", "bind", "*") == b"OK"
    until(lambda: server.connect().ask("PING") == b"PONG")
    assert client.ask("CONFIG", "SET", "bind", "") == b"OK"
    with pytest.raises(ConnectionRefusedError):
        server.connect()

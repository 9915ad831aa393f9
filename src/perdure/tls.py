"""What the `tls-` directives ask for, as the context that OpenSSL works by.

Python's `ssl` cannot do all that OpenSSL can: it has no say in the size and lifetime of the cache of sessions, and
before Python 3.15 none in the cipher suites of TLS 1.3.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from perdure.directives import ConfigError

if TYPE_CHECKING:
    from perdure.config import Config

VERSIONS: Final = {
    "tlsv1": (ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
    "tlsv1.1": (ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
    "tlsv1.2": (ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
    "tlsv1.3": (ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
}
"""What `tls-protocols` may name, from the oldest on: the version, and the option that leaves it out."""
DEFAULT_VERSIONS: Final = ("tlsv1.2", "tlsv1.3")
VERIFY: Final = {"no": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "yes": ssl.CERT_REQUIRED}
DIRECTIVES: Final = (
    "tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients",
    "tls-protocols", "tls-ciphers", "tls-ciphersuites", "tls-prefer-server-ciphers", "tls-dh-params-file",
    "tls-session-caching",
)  # fmt: skip
"""All that `context` reads."""


def context(config: Config) -> ssl.SSLContext:
    """A new context for connections to us. Raises ConfigError: the directive that is wrong, and why."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_certificate(made, config)
    _load_authorities(made, config)
    _choose_versions(made, config.tls_protocols)
    _choose_ciphers(made, config)
    if config.tls_dh_params_file:
        file = config.at(config.tls_dh_params_file)
        with _blaming("tls-dh-params-file", file):
            made.load_dh_params(file)
    if not config.tls_session_caching:
        made.options |= ssl.OP_NO_TICKET
        made.num_tickets = 0
    return made


@contextmanager
def _blaming(name: str, file: str) -> Iterator[None]:
    """What goes wrong inside is a ConfigError of this directive."""
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigError(name, f"{file}: {error.reason or 'is not what it should be'}") from None
    except OSError as error:
        raise ConfigError(name, f"{file}: {error.strerror}") from None


def _load_certificate(made: ssl.SSLContext, config: Config) -> None:
    certificate, key = config.at(config.tls_cert_file), config.at(config.tls_key_file)
    for name, file in (("tls-cert-file", certificate), ("tls-key-file", key)):
        if not file:
            raise ConfigError(name, "is needed for TLS")
        with _blaming(name, file):
            open(file, "rb").close()
    with _blaming("tls-key-file", key):  # without a password OpenSSL would ask the terminal for one
        made.load_cert_chain(certificate, key, lambda: config.tls_key_file_pass)


def _load_authorities(made: ssl.SSLContext, config: Config) -> None:
    made.verify_mode = VERIFY[config.tls_auth_clients]
    file, directory = config.at(config.tls_ca_cert_file), config.at(config.tls_ca_cert_dir)
    if file or directory:
        with _blaming("tls-ca-cert-file" if file else "tls-ca-cert-dir", file or directory):
            made.load_verify_locations(file or None, directory or None)
    elif config.tls_auth_clients != "no":
        raise ConfigError("tls-ca-cert-file", "or tls-ca-cert-dir is needed unless tls-auth-clients is no")


def _choose_versions(made: ssl.SSLContext, words: tuple[str, ...]) -> None:
    wanted = {word.lower() for word in words or DEFAULT_VERSIONS}
    if not wanted <= set(VERSIONS):
        raise ConfigError("tls-protocols", "takes TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3")
    chosen = [name for name in VERSIONS if name in wanted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the operator's choice
        made.minimum_version = VERSIONS[chosen[0]][0]
        made.maximum_version = VERSIONS[chosen[-1]][0]
        for name, (version, without) in VERSIONS.items():
            if made.minimum_version < version < made.maximum_version and name not in wanted:
                made.options |= without


def _choose_ciphers(made: ssl.SSLContext, config: Config) -> None:
    if config.tls_ciphers:
        try:
            made.set_ciphers(config.tls_ciphers)
        except ssl.SSLError:
            raise ConfigError("tls-ciphers", "names no cipher that this OpenSSL has") from None
    if config.tls_ciphersuites:
        choose = getattr(made, "set_ciphersuites", None)
        if choose is None:
            raise ConfigError("tls-ciphersuites", "cannot be chosen by this Python: leave it empty")
        try:
            choose(config.tls_ciphersuites)
        except ssl.SSLError:
            raise ConfigError("tls-ciphersuites", "names no suite that this OpenSSL has") from None
    if config.tls_prefer_server_ciphers:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE

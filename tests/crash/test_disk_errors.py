"""A real server whose disk fails under it: what clients are told, and what goes on.

The server's files are made to fail through a `sitecustomize` that its interpreter finds: a file `faults` beside the data
directory says what fails from now on, one word a line.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.commands.dialogue import until
from tests.conftest import ROOT, PerdureServer, RealRedis, RedisError, StartPerdure

FAULTY_FILES = """
import errno, os, sys
from perdure_storage.files import OsFile

def failing(name, code):
    real = getattr(OsFile, name)
    def maybe(self, *args):
        with open({faults!r}) as file:
            planned = file.read().split()
        if name in planned:
            raise OSError(code, os.strerror(code))
        return real(self, *args)
    setattr(OsFile, name, maybe)

def no_rename(old, new, rename=os.rename):
    with open({faults!r}) as file:
        if "rename" in file.read().split():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    rename(old, new)

os.rename = no_rename
failing("sync", errno.EIO)
failing("pwrite", errno.ENOSPC)
failing("pread", errno.EIO)
"""


class FaultyServer:
    """A server, and what is to fail."""

    def __init__(self, start: StartPerdure, folder: Path, *options: str) -> None:
        self.faults = folder / "faults"
        self.fail()
        custom = folder / "custom"
        custom.mkdir(exist_ok=True)
        (custom / "sitecustomize.py").write_text(FAULTY_FILES.format(faults=str(self.faults)))
        roots = [str(custom), *(str(ROOT / name) for name in ("src", "storage", "tools"))]
        self.server: PerdureServer = start(*options, environment={"PYTHONPATH": ":".join(roots)})

    def fail(self, *operations: str) -> None:
        self.faults.write_text("\n".join(operations))

    def connect(self) -> RealRedis:
        client = self.server.connect()
        client.socket.settimeout(10)
        return client

    def state(self) -> str:
        """INFO's word for the state of the log."""
        text = self.connect().ask("INFO", "everything")
        if isinstance(text, RedisError):  # asked in the very moment of the failure
            return self.state()
        text = text.decode()
        return str(dict(line.split(":", 1) for line in text.splitlines() if ":" in line)["log_state"])


def is_refusal(reply: Any) -> bool:
    return isinstance(reply, RedisError) and reply.args[0].startswith("MISCONF the log could not be written or synced")


@pytest.mark.parametrize("level", ["always", "everysec", "no"])
@pytest.mark.parametrize("operation", ["pwrite", "sync"])
def test_who_is_answered_when_the_log_fails(
    operation: str, level: str, start_perdure: StartPerdure, tmp_path: Path
) -> None:
    """Every request gets an answer, reads go on, and after kill -9 there is what was answered with OK, and nothing that
    the dataset went back from is shown meanwhile."""
    faulty = FaultyServer(start_perdure, tmp_path, "--appendfsync", level)
    client, reader = faulty.connect(), faulty.connect()
    assert client.ask("SET", "before", "1") == b"OK"
    assert client.ask("WAITAOF", "1", "0", "0") == [1, 0]
    faulty.fail(operation)
    for number in range(20):
        client.send("SET", f"k{number}", number)
        client.send("GET", "before")
    replies = [client.read() for _ in range(40)]
    if operation == "sync" and level != "always":
        until(lambda: faulty.state() == "poisoned")
    assert faulty.state() == "poisoned"
    acknowledged = [number for number in range(20) if replies[2 * number] == b"OK"]
    assert all(reply in (b"OK", b"1") or is_refusal(reply) for reply in replies)
    assert bool(acknowledged) == (operation == "sync" and level != "always")
    faulty.fail()  # the disk is well again, but nobody can know what it has
    for _ in range(3):
        assert is_refusal(client.ask("SET", "later", "1"))
        assert client.ask("GET", "before") == b"1"
        assert reader.ask("GET", "k3") is None
    time.sleep(2.1 if level == "everysec" else 0)  # when writers would be made to wait for a sync
    assert reader.ask("GET", "before") == b"1"
    assert faulty.server.log.count("poisoned") == 1
    faulty.server.stop(9)
    again = start_perdure().connect()
    assert [number for number in acknowledged if again.ask("GET", f"k{number}") != b"%d" % number] == []
    assert again.ask("GET", "before") == b"1"
    assert again.ask("GET", "later") is None


def test_a_long_pipeline_is_answered_to_its_end_when_the_log_fails(start_perdure: StartPerdure, tmp_path: Path) -> None:
    faulty = FaultyServer(start_perdure, tmp_path)
    client = faulty.connect()
    faulty.fail("sync")
    for number in range(5000):
        client.send("SET", "k", number)
    assert all(is_refusal(client.read()) for _ in range(5000))


def test_what_expires_is_not_there_for_readers_although_the_log_takes_nothing(
    start_perdure: StartPerdure, tmp_path: Path
) -> None:
    faulty = FaultyServer(start_perdure, tmp_path)
    client = faulty.connect()
    client.ask("SET", "soon", "1", "PX", "300")
    client.ask("HSET", "h", "soon", "1", "stays", "2")
    client.ask("HPEXPIRE", "h", "300", "FIELDS", "1", "soon")
    faulty.fail("sync")
    assert is_refusal(client.ask("SET", "k", "v"))
    time.sleep(0.4)
    for _ in range(2):
        assert client.ask("GET", "soon") is None
        assert client.ask("HGETALL", "h") == [b"stays", b"2"]
        assert client.ask("EVAL", "return redis.call('exists', KEYS[1])", "1", "soon") == 0


def test_the_servers_log_says_that_the_disk_is_full_and_that_there_is_room_again(
    start_perdure: StartPerdure, tmp_path: Path
) -> None:
    faulty = FaultyServer(start_perdure, tmp_path, "--wal-segment-size", "1mb")
    client = faulty.connect()
    faulty.fail("rename")
    refused = [reply for _ in range(40) if isinstance(reply := client.ask("SET", "k", b"x" * 100_000), RedisError)]
    assert refused
    assert all("no room for the log" in reply.args[0] or "cannot grow" in reply.args[0] for reply in refused)
    assert len(client.ask("GET", "k")) == 100_000
    until(lambda: "the log cannot grow" in faulty.server.log)
    faulty.fail()
    until(lambda: client.ask("SET", "k", "v") == b"OK")
    until(lambda: "the log can grow again" in faulty.server.log)


@pytest.mark.parametrize("level", ["always", "everysec"])
def test_what_cannot_be_undone_is_shown_to_nobody(level: str, start_perdure: StartPerdure, tmp_path: Path) -> None:
    """The log cannot be written, nor read to go back: the server ends, and a restart finds what was acknowledged."""
    faulty = FaultyServer(start_perdure, tmp_path, "--appendfsync", level)
    client = faulty.connect()
    assert client.ask("SET", "k", "kept") == b"OK"
    faulty.fail("pwrite", "pread")
    with pytest.raises((EOFError, ConnectionResetError)):
        client.ask("SET", "k", "lost")
    assert faulty.server.process.wait(10) == 1
    assert "a change cannot be undone" in faulty.server.log
    faulty.fail()
    again = start_perdure("--appendfsync", level)
    assert again.connect().ask("GET", "k") == b"kept"

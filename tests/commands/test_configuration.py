"""CONFIG as a handler: what it answers and what it refuses; the words themselves are tested in `test_config.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.conftest import RealRedis, StartPerdure

from perdure.commands import configuration
from perdure.config import Config
from perdure.errors import ReplyError
from perdure.resp import Map


@pytest.fixture
def ctx() -> Any:
    """A session of a server that has a configuration and counts resets."""
    resets: list[int] = []
    server = SimpleNamespace(config=Config(), reset_stats=lambda: resets.append(1), resets=resets)
    return SimpleNamespace(server=server, may=lambda allowed: allowed == "yes")


def refused(ctx: Any, *args: bytes) -> str:
    with pytest.raises(ReplyError) as raised:
        configuration.config_set(ctx, list(args))
    return raised.value.text


def test_get_answers_several_patterns(ctx: Any) -> None:
    reply = configuration.config_get(ctx, [b"hz", b"maxmemory-pol*", b"nothing"])
    assert isinstance(reply, Map)
    assert reply.items == [b"hz", b"10", b"maxmemory-policy", b"noeviction"]


def test_set_changes_several_parameters(ctx: Any) -> None:
    assert configuration.config_set(ctx, [b"hz", b"20", b"requirepass", b"\xff\x00"]) == "OK"
    assert ctx.server.config.hz == 20
    reply = configuration.config_get(ctx, [b"requirepass"])
    assert isinstance(reply, Map)
    assert reply.items == [b"requirepass", b"\xff\x00"]


def test_set_refuses_as_redis_does(ctx: Any) -> None:
    assert refused(ctx, b"hz", b"1", b"timeout") == "ERR syntax error"
    assert refused(ctx, b"f\xffo", b"1") == ("ERR Unknown option or number of arguments for CONFIG SET - 'f\xffo'")
    assert refused(ctx, b"databases", b"1") == (
        "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"
    )
    assert refused(ctx, b"hz", b"1", b"hz", b"1") == (
        "ERR CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter"
    )


def test_protected_ones_change_for_those_who_may(ctx: Any) -> None:
    assert refused(ctx, b"dbfilename", b"x") == (
        "ERR CONFIG SET failed (possibly related to argument 'dbfilename') - can't set protected config"
    )
    ctx.server.config.load("enable-protected-configs", ["yes"])
    assert configuration.config_set(ctx, [b"dbfilename", b"x"]) == "OK"


def test_resetstat_resets(ctx: Any) -> None:
    assert configuration.config_resetstat(ctx, []) == "OK"
    assert ctx.server.resets == [1]


def test_rewrite_needs_a_file(perdure: RealRedis) -> None:
    assert perdure.ask("CONFIG", "REWRITE").args == ("ERR The server is running without a config file",)


def test_rewrite_rewrites_or_tells_what_went_wrong(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "etc" / "perdure.conf"
    path.parent.mkdir()
    path.write_text("hz 5\n")
    client = start_perdure(file=str(path)).connect()
    assert client.ask("CONFIG", "SET", "hz", "20") == b"OK"
    assert client.ask("CONFIG", "REWRITE") == b"OK"
    assert "hz 20" in path.read_text().splitlines()
    path.unlink()
    path.parent.rmdir()
    assert client.ask("CONFIG", "REWRITE").args == ("ERR Rewriting config file: No such file or directory",)


def test_help_is_a_list_of_lines(ctx: Any) -> None:
    reply = configuration.config_help(ctx, [])
    assert isinstance(reply, list)
    assert all(isinstance(line, str) for line in reply)

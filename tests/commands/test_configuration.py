"""CONFIG as a handler: what it answers and what it refuses; the words themselves are tested in `test_config.py`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.commands import configuration
from perdure.config import Config
from perdure.config_file import load_file
from perdure.errors import ReplyError
from perdure.resp import Map


@pytest.fixture
def ctx() -> Any:
    """A session of a server that has a configuration and counts resets."""
    resets: list[int] = []
    acl = SimpleNamespace(tell_config=lambda: None)
    server = SimpleNamespace(config=Config(), acl=acl, reset_stats=lambda: resets.append(1), resets=resets)
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


def test_rewrite_needs_a_file(ctx: Any) -> None:
    with pytest.raises(ReplyError, match="^ERR The server is running without a config file$"):
        configuration.config_rewrite(ctx, [])


def test_rewrite_rewrites(ctx: Any, tmp_path: Path) -> None:
    path = tmp_path / "perdure.conf"
    path.write_text("hz 5\n")
    load_file(ctx.server.config, str(path))
    configuration.config_set(ctx, [b"hz", b"20"])
    assert configuration.config_rewrite(ctx, []) == "OK"
    assert path.read_text() == "hz 20\n"


def test_rewrite_tells_what_went_wrong(ctx: Any, tmp_path: Path) -> None:
    ctx.server.config.file = str(tmp_path / "gone" / "perdure.conf")
    with pytest.raises(ReplyError, match="^ERR Rewriting config file: No such file or directory$"):
        configuration.config_rewrite(ctx, [])


def test_help_is_a_list_of_lines(ctx: Any) -> None:
    reply = configuration.config_help(ctx, [])
    assert isinstance(reply, list)
    assert all(isinstance(line, str) for line in reply)

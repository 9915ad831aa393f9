"""Pub/sub beside a real redis-server: who is told what, and when."""

from __future__ import annotations

from errno import ENOSPC

import pytest
from tests.commands.dialogue import play, until
from tests.conftest import PerdureServer, RealRedis, StartPerdure
from tests.model.differential import LocalServer

from perdure.dispatch import execute
from perdure.session import Session
from perdure_storage.wal import Segment

DIALOGUES = {
    "channels are listed by one pattern, and no transaction becomes a monitor": """
        1 PUBSUB CHANNELS a b
        1 PUBSUB SHARDCHANNELS a b
        1 MULTI
        1 MONITOR
        1 PING
        1 EXEC
        1 PING
    """,
    "subscribing and unsubscribing": """
        1 SUBSCRIBE a b a
        1 <
        1 <
        1 UNSUBSCRIBE b nosuch
        1 <
        1 UNSUBSCRIBE
        1 UNSUBSCRIBE
        1 GET k
    """,
    "channels and patterns are counted together, shard channels apart": """
        1 PSUBSCRIBE a* b?
        1 <
        1 SUBSCRIBE a
        1 SSUBSCRIBE s t
        1 <
        1 PUNSUBSCRIBE b?
        1 SUNSUBSCRIBE s
        1 SUNSUBSCRIBE
        1 SUNSUBSCRIBE
        1 UNSUBSCRIBE
        1 PUNSUBSCRIBE a*
        1 PUNSUBSCRIBE
        1 PING
    """,
    "transactions may begin to listen, but not to shard channels": """
        1 MULTI
        1 SUBSCRIBE a
        1 SSUBSCRIBE s
        1 SUNSUBSCRIBE s
        1 PSUBSCRIBE p
        1 EXEC
        2 PUBSUB SHARDCHANNELS
        2 PUBLISH p hello
        1 <
    """,
    "a message gets to those who listen, once for each subscription": """
        1 SUBSCRIBE news
        2 PSUBSCRIBE n*
        3 SUBSCRIBE news
        3 PSUBSCRIBE ne?s
        4 PUBLISH news hello
        1 <
        2 <
        3 <
        3 <
        4 PUBLISH other x
        4 PUBLISH nothing x
        2 <
        4 SPUBLISH news x
    """,
    "shard channels have messages of their own": """
        1 SSUBSCRIBE s
        2 SPUBLISH s hello
        1 <
        2 PUBLISH s hello
        2 PUBSUB SHARDCHANNELS
        2 PUBSUB SHARDCHANNELS x*
        2 PUBSUB SHARDNUMSUB s t
        2 PUBSUB CHANNELS
        2 PUBSUB SHARDNUMSUB
    """,
    "who listens": """
        1 SUBSCRIBE a
        2 SUBSCRIBE a
        2 PSUBSCRIBE x* y*
        2 <
        1 PSUBSCRIBE x*
        3 PUBSUB CHANNELS
        3 PUBSUB CHANNELS b*
        3 PUBSUB CHANNELS [a]
        3 PUBSUB NUMSUB a b a
        3 PUBSUB NUMSUB
        3 PUBSUB NUMPAT
        3 PUBSUB NUMPAT x
        3 PUBSUB NOSUCH
        3 PUBSUB
        2 RESET
        3 PUBSUB NUMSUB a
        3 PUBSUB NUMPAT
        1 QUIT
        3 -PING
        3 PUBSUB CHANNELS
    """,
    "what a subscriber may ask for": """
        1 SUBSCRIBE a
        1 PING
        1 PING hello
        1 PING a b
        1 GET k
        1 PUBLISH a x
        1 NOSUCH
        1 SUBSCRIBE
        1 MULTI
        1 CLIENT ID
        1 RESET
        1 PING
    """,
    "a transaction subscribes": """
        1 MULTI
        1 SUBSCRIBE a
        1 EXEC
        1 PING
        2 PUBLISH a x
        1 <
    """,
    "messages of a transaction": """
        1 SUBSCRIBE a
        2 MULTI
        2 SET k v
        2 PUBLISH a 1
        2 PUBLISH a 2
        2 EXEC
        1 <
        1 <
        2 MULTI
        2 PUBLISH a 3
        2 DISCARD
        2 PUBLISH a 4
        1 <
    """,
    "channels are bytes": r"""
        1 SUBSCRIBE "\x00\xff"
        1 PSUBSCRIBE "\xff*"
        2 PUBLISH "\x00\xff" "\r\n"
        1 <
        2 PUBLISH "\xff" ""
        1 <
    """,
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", DIALOGUES)
def test_subscribers_are_told_what_redis_tells_them(
    real_redis_port: int, perdure_server: PerdureServer, name: str, protocol: int
) -> None:
    for port in (real_redis_port, perdure_server.port):
        play(port, "1 FLUSHALL")
    script = DIALOGUES[name]
    if protocol == 3 and name == "what a subscriber may ask for":
        script = script.replace("1 PUBLISH a x\n", "1 PUBLISH a x\n        1 <\n")
    assert play(perdure_server.port, script, protocol) == play(real_redis_port, script, protocol)


def test_a_subscriber_that_does_not_read_is_cut_off(start_perdure: StartPerdure) -> None:
    server = start_perdure("--client-output-buffer-limit", "pubsub 1000000 0 0")
    lazy, publisher = server.connect(), server.connect()
    lazy.ask("SUBSCRIBE", "news")
    text = b"x" * 100_000
    for _ in range(1000):
        if not publisher.ask("PUBLISH", "news", text):
            break
    else:
        raise AssertionError("it was sent 100 MB that it did not read")
    assert publisher.ask("PUBSUB", "NUMSUB", "news") == [b"news", 0]
    assert "does not read its replies" in server.log


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("mode", ["OFF", "SKIP"])
def test_client_reply_silences_neither_confirmations_nor_messages(
    real_redis: RealRedis, perdure: RealRedis, mode: str, protocol: int
) -> None:
    for client in (real_redis, perdure):
        publisher = RealRedis(client.port)
        client.ask("HELLO", protocol)
        client.send("CLIENT", "REPLY", mode)
        client.send("SUBSCRIBE", "a", "b")
        while not publisher.ask("PUBLISH", "a", "hello"):
            pass
        client.send("UNSUBSCRIBE", "b")
        heard = [client.read() for _ in range(4)]
        assert heard[:3] == [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"message", b"a", b"hello"]]
        assert heard[3] == [b"unsubscribe", b"b", 1]
        publisher.close()


def test_a_client_that_is_gone_listens_no_more(perdure: RealRedis) -> None:
    other = RealRedis(perdure.port)
    other.ask("SUBSCRIBE", "a")
    other.ask("PSUBSCRIBE", "a*")
    other.ask("SSUBSCRIBE", "a")
    other.close()
    until(lambda: perdure.ask("PUBSUB", "NUMPAT") == 0)
    assert perdure.ask("PUBSUB", "CHANNELS") == perdure.ask("PUBSUB", "SHARDCHANNELS") == []
    assert perdure.ask("PUBLISH", "a", "x") == perdure.ask("SPUBLISH", "a", "x") == 0


def test_what_a_transaction_publishes_to_its_own_client_comes_behind_the_reply() -> None:
    server = LocalServer()
    server.speak(3)
    session = server.session
    for words in ("SUBSCRIBE a", "MULTI", "PUBLISH a hello", "PING x"):
        execute(session, words.encode().split())
    assert execute(session, [b"EXEC"]) == b"*2\r\n:1\r\n$1\r\nx\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"
    for words in ("MULTI", "PUBLISH a hello"):
        execute(session, words.encode().split())
    session.reply_on = False
    session.update_gate()
    assert execute(session, [b"EXEC"]) == b""
    assert session.out == [b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"]


def test_what_a_refused_transaction_published_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LocalServer()
    heard: list[bytes] = []
    session = Session(server.server, 2)
    server.server.sessions[2] = session
    monkeypatch.setattr(server.server, "send", lambda to, data: heard.append(data))
    execute(session, [b"SUBSCRIBE", b"a"])
    server.server.dataset.listen(0xFFF)
    server.server.notifications.configure("KEA")
    execute(session, [b"PSUBSCRIBE", b"__key*"])
    for refused in (True, False):
        for argv in ([b"MULTI"], [b"SET", b"k", b"v"], [b"PUBLISH", b"a", b"hello"]):
            execute(server.session, argv)
        with monkeypatch.context() as patch:
            if refused:
                log = server.engine.log
                for name, value in (("room", 0), ("_prepared", None)):
                    patch.setattr(log, name, value)
                patch.setattr(log.manifest, "create", refuse)
            reply = execute(server.session, [b"EXEC"])
        assert reply.startswith(b"-MISCONF" if refused else b"*2\r\n+OK\r\n:1\r\n"), reply
        assert len(heard) == (0 if refused else 5)  # of "new" and "set" two each, and what was published
        server.server.dataset.effects.clear()


def refuse(size: int, *, fill: bool) -> Segment:
    raise OSError(ENOSPC, "the disk is full")

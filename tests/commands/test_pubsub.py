"""Pub/sub beside a real redis-server: who is told what, and when."""

from __future__ import annotations

import pytest
from tests.commands.dialogue import play
from tests.conftest import PerdureServer

DIALOGUES = {
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
    script = DIALOGUES[name]
    if protocol == 3 and name == "what a subscriber may ask for":
        script = script.replace("1 PUBLISH a x\n", "1 PUBLISH a x\n        1 <\n")
    assert play(perdure_server.port, script, protocol) == play(real_redis_port, script, protocol)

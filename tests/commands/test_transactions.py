"""MULTI, EXEC and WATCH, beside a real redis-server."""

from __future__ import annotations

import pytest
from tests.commands.dialogue import play, until
from tests.conftest import PerdureServer, RealRedis

SCRIPTS = {
    "a transaction replies all at once": """
        1 MULTI
        1 SET k v
        1 GET k
        1 INCR n
        2 GET k
        1 EXEC
        2 GET k
    """,
    "an empty transaction": "1 MULTI\n1 EXEC",
    "EXEC and DISCARD need MULTI": "1 EXEC\n1 DISCARD\n1 EXEC",
    "EXEC with arguments aborts what there is to abort": """
        1 EXEC x
        1 WATCH k
        1 EXEC x
        2 SET k v
        1 MULTI
        1 GET k
        1 EXEC
        1 MULTI
        1 EXEC x y
        1 EXEC
    """,
    "MULTI does not nest and the first one lives on": """
        1 MULTI
        1 MULTI
        1 SET k v
        1 EXEC
    """,
    "WATCH inside MULTI is refused and the transaction lives on": """
        1 MULTI
        1 WATCH k
        1 SET k v
        1 EXEC
    """,
    "an unknown command aborts": """
        1 MULTI
        1 NOSUCHCOMMAND a b
        1 SET k v
        1 EXEC
        1 GET k
        1 EXEC
    """,
    "a wrong number of arguments aborts": """
        1 MULTI
        1 GET
        1 EXEC
    """,
    "an unknown subcommand aborts": "1 MULTI\n1 CLIENT NOSUCH\n1 EXEC",
    "EXEC with arguments aborts": """
        1 MULTI
        1 SET k v
        1 EXEC now
        1 EXEC
        1 GET k
    """,
    "what is not allowed in a transaction aborts": "1 MULTI\n1 SAVE\n1 EXEC",
    "an error while running does not stop the rest": """
        1 SET k v
        1 MULTI
        1 INCR k
        1 HSET k f v
        1 SET k w
        1 EXEC
        1 GET k
    """,
    "DISCARD forgets": """
        1 MULTI
        1 SET k v
        1 DISCARD
        1 GET k
        1 EXEC
    """,
    "RESET leaves the transaction": "1 MULTI\n1 SET k v\n1 RESET\n1 EXEC\n1 GET k",
    "a watched key that changes": """
        1 SET k 1
        1 WATCH k
        2 SET k 2
        1 MULTI
        1 SET k 3
        1 EXEC
        1 GET k
        1 MULTI
        1 SET k 4
        1 EXEC
    """,
    "a watched key that another client changes after MULTI": """
        1 WATCH k
        1 MULTI
        1 SET k 1
        2 SET k 2
        1 EXEC
        1 GET k
    """,
    "a watched key that nobody changes": """
        1 SET k 1
        1 WATCH k j
        2 SET other 2
        2 GET k
        1 MULTI
        1 GET k
        1 EXEC
    """,
    "a watched key that the watcher changes": "1 WATCH k\n1 SET k 1\n1 MULTI\n1 GET k\n1 EXEC",
    "appending nothing to a watched key": '1 SET k 1\n1 WATCH k\n2 APPEND k ""\n1 MULTI\n1 GET k\n1 EXEC',
    "trimming nothing from a watched key": "1 RPUSH k a b\n1 WATCH k\n2 LTRIM k -9 -1\n1 MULTI\n1 LLEN k\n1 EXEC",
    "UNWATCH": "1 WATCH k\n2 SET k 1\n1 UNWATCH\n1 MULTI\n1 GET k\n1 EXEC",
    "DISCARD unwatches": "1 WATCH k\n2 SET k 1\n1 MULTI\n1 DISCARD\n1 MULTI\n1 GET k\n1 EXEC",
    "EXEC unwatches": "1 WATCH k\n1 MULTI\n1 EXEC\n2 SET k 1\n1 MULTI\n1 GET k\n1 EXEC",
    "an aborted EXEC unwatches": "1 WATCH k\n1 MULTI\n1 NOSUCH\n1 EXEC\n2 SET k 1\n1 MULTI\n1 GET k\n1 EXEC",
    "deleting a watched key": "1 SET k 1\n1 WATCH k\n2 DEL k\n1 MULTI\n1 GET k\n1 EXEC",
    "deleting a watched key that was not there": "1 WATCH k\n2 DEL k\n1 MULTI\n1 GET k\n1 EXEC",
    "expiry of a watched key": """
        1 SET k 1 PX 300
        1 WATCH k
        1 -PING
        3 DEBUG SLEEP 0.35
        1 MULTI
        1 PING
        1 EXEC
    """,
    "a watched key that had expired already": """
        3 DEBUG SET-ACTIVE-EXPIRE 0
        1 SET k 1 PX 5
        3 DEBUG SLEEP 0.02
        1 WATCH k
        1 MULTI
        1 GET k
        1 EXEC
        3 DEBUG SET-ACTIVE-EXPIRE 1
    """,
    "setting a time to live is a change": "1 SET k 1\n1 WATCH k\n2 EXPIRE k 100\n1 MULTI\n1 PING\n1 EXEC",
    "FLUSHALL touches keys that are there": "1 SET k 1\n1 WATCH k\n2 FLUSHALL\n1 MULTI\n1 PING\n1 EXEC",
    "FLUSHDB touches keys that are there": "1 SET k 1\n1 WATCH k\n2 FLUSHDB\n1 MULTI\n1 PING\n1 EXEC",
    "FLUSHALL does not touch keys that are not": "1 WATCH k\n2 FLUSHALL\n1 MULTI\n1 PING\n1 EXEC",
    "FLUSHDB elsewhere does not touch": "1 SET k 1\n1 WATCH k\n2 SELECT 3\n2 FLUSHDB\n1 MULTI\n1 PING\n1 EXEC",
    "a key made after the flush of its database": """
        1 WATCH k
        2 FLUSHDB
        2 SET k 1
        1 MULTI
        1 PING
        1 EXEC
    """,
    "a key in another database is another key": "1 WATCH k\n2 SELECT 1\n2 SET k 1\n1 MULTI\n1 PING\n1 EXEC",
    "SWAPDB touches what was there": "1 SET k 1\n1 WATCH k\n2 SWAPDB 0 1\n1 MULTI\n1 PING\n1 EXEC",
    "SWAPDB touches what is there now": """
        2 SELECT 1
        2 SET k 1
        1 WATCH k
        2 SWAPDB 0 1
        1 MULTI
        1 GET k
        1 EXEC
    """,
    "SWAPDB does not touch what is in neither": "1 WATCH k\n2 SWAPDB 0 1\n1 MULTI\n1 PING\n1 EXEC",
    "a change after SWAPDB is seen in the database it happens in": """
        1 WATCH k
        2 SWAPDB 0 1
        2 SET k 1
        1 MULTI
        1 PING
        1 EXEC
    """,
    "a change after SWAPDB in the other database is none": """
        1 WATCH k
        2 SWAPDB 0 1
        2 SELECT 1
        2 SET k 1
        1 MULTI
        1 PING
        1 EXEC
    """,
    "SELECT within a transaction": """
        1 MULTI
        1 SET k zero
        1 SELECT 1
        1 SET k one
        1 EXEC
        1 GET k
        2 GET k
    """,
    "SWAPDB does not touch what was in neither but for its time": """
        3 DEBUG SET-ACTIVE-EXPIRE 0
        1 SET k 1 PX 5
        3 DEBUG SLEEP 0.02
        2 SELECT 1
        2 WATCH k
        1 SWAPDB 0 1
        2 MULTI
        2 PING
        2 EXEC
        3 DEBUG SET-ACTIVE-EXPIRE 1
    """,
    "SWAPDB of two keys whose time has come": """
        3 DEBUG SET-ACTIVE-EXPIRE 0
        2 SELECT 1
        1 SET k 1 PX 5
        2 SET k 1 PX 5
        3 DEBUG SLEEP 0.02
        2 WATCH k
        1 SWAPDB 0 1
        2 MULTI
        2 PING
        2 EXEC
        3 DEBUG SET-ACTIVE-EXPIRE 1
    """,
    "SWAPDB within a transaction": """
        1 SET k 1
        1 MULTI
        1 SWAPDB 0 1
        1 GET k
        1 SELECT 1
        1 GET k
        1 EXEC
    """,
    "WATCH and UNWATCH say OK, whatever else": "1 WATCH a b c a\n1 UNWATCH\n1 UNWATCH\n1 WATCH\n1 UNWATCH x\n1 MULTI x",
    "UNWATCH is queued": "1 WATCH k\n2 SET k 1\n1 MULTI\n1 UNWATCH\n1 EXEC",
    "PING, ECHO and CLIENT within a transaction": "1 MULTI\n1 PING\n1 ECHO hi\n1 CLIENT GETNAME\n1 EXEC",
    "a failed command is no reason to abort later ones": "1 SET k v\n1 INCR k\n1 MULTI\n1 GET k\n1 EXEC",
    "WAIT does not wait within a transaction": "1 MULTI\n1 WAIT 3 0\n1 EXEC",
}  # fmt: skip


@pytest.fixture
def fresh(perdure: RealRedis, real_redis: RealRedis) -> None:
    """Both servers are empty."""
    for server in (perdure, real_redis):
        server.ask("DEBUG", "SET-ACTIVE-EXPIRE", "1")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_redis(name: str, protocol: int, perdure_server: PerdureServer, real_redis_port: int, fresh: None) -> None:
    ours = play(perdure_server.port, SCRIPTS[name], protocol)
    assert ours == play(real_redis_port, SCRIPTS[name], protocol)


def test_a_transaction_is_one_batch_of_the_log(perdure: RealRedis) -> None:
    before = lsn(perdure)
    perdure.ask("MULTI")
    for number in range(20):
        perdure.ask("SET", f"k{number}", "v")
    assert perdure.ask("EXEC") == [b"OK"] * 20
    assert lsn(perdure) == before + 1


def test_a_transaction_without_changes_is_nothing_to_the_log(perdure: RealRedis) -> None:
    before = lsn(perdure)
    perdure.ask("MULTI")
    perdure.ask("GET", "k")
    perdure.ask("EXEC")
    assert lsn(perdure) == before


def lsn(client: RealRedis) -> int:
    flat = client.ask("DEBUG", "INTERNALS")
    number = flat[flat.index(b"written") + 1]
    assert isinstance(number, int)
    return number


def test_tables_are_compacted_when_the_transaction_is_over(perdure: RealRedis) -> None:
    until(lambda: b"aof_rewrite_in_progress:0" in perdure.ask("INFO", "persistence"))
    for words in (("MULTI",), ("SET", "k", 1), ("BGREWRITEAOF",)):
        perdure.ask(*words)
    assert perdure.ask("EXEC") == [b"OK", b"Background append only file rewriting scheduled"]
    until(lambda: b"aof_rewrite_in_progress:0" in perdure.ask("INFO", "persistence"))

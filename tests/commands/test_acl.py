"""Users and their rights: beside a real redis-server, and what only files, restarts and several clients show."""

from __future__ import annotations

import json
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.commands.dialogue import play, until
from tests.conftest import PerdureServer, RealRedis, RedisError, StartPerdure

from perdure.acl import Acl
from perdure.acl.selectors import Selector, Vocabulary
from perdure.acl.users import follow
from perdure.commands import FAMILIES
from perdure.config import Config, ConfigError
from perdure.config_file import load_file, rewrite
from perdure.key_uses import key_uses
from perdure.registry import build_table, every_command

FACTS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "commands-redis-7.0.15.json").read_text())
CLEAN = "1 -ACL DELUSER ada bob carl a\n1 -ACL LOG RESET\n"

SCRIPTS = {
    "what is asked of the default user": """
        1 ACL WHOAMI
        1 ACL USERS
        1 ACL LIST
        1 ACL GETUSER default
        1 ACL GETUSER nobody
        1 ACL CAT
        1 ACL CAT nosuch
        1 ACL CAT string hash
        1 ACL GENPASS 0
        1 ACL GENPASS 4097
        1 ACL GENPASS x
        1 ACL GENPASS 1 2
        1 ACL LOG x
        1 ACL LOG 1 2
        1 ACL LOG -1
        1 ACL LOAD
        1 ACL SAVE
        1 ACL DELUSER default
        1 ACL DELUSER nobody
        1 ACL SETUSER 'a b' on
        1 ACL SETUSER 'a\\x00b'
        1 ACL
        1 ACL NOSUCH
        1 ACL SETUSER
    """,
    "rules that are none": """
        1 ACL SETUSER ada foo
        1 ACL SETUSER ada +nosuch
        1 ACL SETUSER ada -nosuch
        1 ACL SETUSER ada +@nosuch
        1 ACL SETUSER ada +get|
        1 ACL SETUSER ada +get|a|b
        1 ACL SETUSER ada -get|a
        1 ACL SETUSER ada +config|nosuch
        1 ACL SETUSER ada +config|
        1 ACL SETUSER ada +config|get|x
        1 ACL SETUSER ada '#12'
        1 ACL SETUSER ada '!12'
        1 ACL SETUSER ada '<unknown'
        1 ACL SETUSER ada ~* ~a
        1 ACL SETUSER ada allkeys %R~a
        1 ACL SETUSER ada &* &a
        1 ACL SETUSER ada '~a b'
        1 ACL SETUSER ada '&a b'
        1 ACL SETUSER ada %X~a
        1 ACL SETUSER ada %~a
        1 ACL SETUSER ada %RRW~a
        1 ACL SETUSER ada (
        1 ACL SETUSER ada )
        1 ACL SETUSER ada (+get +set
        1 ACL SETUSER ada '(+get ~a b)'
        1 ACL SETUSER ada '(on)'
        1 ACL SETUSER ada '(+get ())'
        1 ACL SETUSER ada ()()
        1 ACL SETUSER ada ' () '
        1 ACL GETUSER ada
    """,
    "what a user is shown as": """
        1 ACL SETUSER ada
        1 ACL GETUSER ada
        1 ACL SETUSER ada ON >one >two >one
        1 ACL GETUSER ada
        1 ACL SETUSER ada <one %r~a %W~b %R~c %w~c ~d ~d %RW~e
        1 ACL LIST
        1 ACL SETUSER ada resetchannels &x &y &x +get
        1 ACL LIST
        1 ACL SETUSER ada nopass
        1 ACL LIST
        1 ACL SETUSER ada resetpass
        1 ACL LIST
        1 ACL SETUSER ada (+get ~a) '( %R~b +set &c )'
        1 ACL LIST
        1 ACL GETUSER ada
        1 ACL SETUSER ada AllKeys ALLCHANNELS allcommands
        1 ACL GETUSER ada
        1 ACL SETUSER ada clearselectors skip-sanitize-payload ''
        1 ACL GETUSER ada
        1 ACL SETUSER ada reset >two
        1 ACL GETUSER ada
        1 ACL LIST
        1 ACL SETUSER ada %RW~*
        1 ACL SETUSER ada ~x
        1 ACL USERS
    """,
    "a wrong rule changes nothing": """
        1 ACL SETUSER ada on >one +get
        1 ACL SETUSER ada off >two +set nosuch
        1 ACL SETUSER bob on nosuch
        1 ACL LIST
    """,
    "logging in": """
        1 ACL SETUSER ada >one +acl +ping
        2 AUTH ada one
        1 ACL SETUSER ada on
        2 AUTH ada two
        2 AUTH nobody one
        2 AUTH ada one
        2 ACL WHOAMI
        2 GET k
        1 ACL SETUSER ada off
        2 ACL WHOAMI
        2 RESET
        2 ACL WHOAMI
        2 AUTH ada one
        1 ACL SETUSER ada on nopass
        2 AUTH ada whatever
        2 AUTH default whatever
        2 ACL WHOAMI
        2 HELLO 2 AUTH nobody one
    """,
    "what a user may do": """
        1 ACL SETUSER ada on nopass ~a* %R~r* %W~w* &c* +@all -ping +config|get -acl +select|1
        1 MSET a 1 b 2 r 3 w 4
        1 RPUSH wl 1
        2 AUTH ada x
        2 PING
        2 ACL WHOAMI
        2 GET a
        2 GET b
        2 GET r
        2 GET w
        2 SET r 1
        2 SET w 1
        2 SET w 1 GET
        2 APPEND w 1
        2 RPUSH wl 1
        2 LLEN wl
        2 EXISTS a b
        2 EXISTS r w
        2 COPY r w REPLACE
        2 COPY w r REPLACE
        2 MGET a r b
        2 BITFIELD r GET u4 0
        2 BITFIELD r SET u4 0 1
        2 PUBLISH c1 x
        2 PUBLISH d x
        2 SUBSCRIBE c1 d
        2 PSUBSCRIBE c1*
        2 NOSUCH
        2 GET
        2 QUIT
    """,
    "subcommands and first arguments": """
        1 ACL SETUSER ada on nopass +config|get +client -client|kill +select|1 +debug|jmap
        2 AUTH ada x
        2 CONFIG GET hz
        2 CONFIG SET hz 10
        2 CLIENT GETNAME
        2 CLIENT KILL TYPE master
        2 SELECT 1
        2 SELECT 0
        2 DEBUG SLEEP 0
    """,
    "transactions": """
        1 ACL SETUSER ada on nopass ~a* +@all
        2 AUTH ada x
        2 MULTI
        2 SET b 1
        2 EXEC
        2 MULTI
        2 SET a 1
        2 INCR a
        2 PING
        1 ACL SETUSER ada -incr
        2 EXEC
        2 GET a
        2 MULTI
        2 SET a 1
        2 GET a
        1 ACL SETUSER ada resetkeys
        2 EXEC
        2 MULTI
        2 PING
        1 ACL SETUSER ada -exec
        2 EXEC
    """,
    "dry runs": """
        1 ACL SETUSER ada ~a %R~r &c +get +set +publish +subscribe +config|get (+mget ~m*)
        1 ACL DRYRUN nobody GET a
        1 ACL DRYRUN ada NOSUCH
        1 ACL DRYRUN ada CONFIG NOSUCH
        1 ACL DRYRUN ada CONFIG
        1 ACL DRYRUN ada GET
        1 ACL DRYRUN ada GET a
        1 ACL DRYRUN ada GET b
        1 ACL DRYRUN ada SET r 1
        1 ACL DRYRUN ada CONFIG GET x
        1 ACL DRYRUN ada CONFIG SET x y
        1 ACL DRYRUN ada PUBLISH c x
        1 ACL DRYRUN ada PUBLISH d x
        1 ACL DRYRUN ada SUBSCRIBE c d
        1 ACL DRYRUN ada MGET m1 m2
        1 ACL DRYRUN ada MGET m1 a
        1 ACL DRYRUN ada AUTH x
    """,
    "scripts": """
        1 ACL SETUSER ada on nopass ~a %R~r &c +eval +eval_ro +get +set +publish +config|get
        2 AUTH ada x
        2 EVAL 'return redis.pcall("get", KEYS[1])' 1 a
        2 EVAL 'return redis.pcall("get", "b")' 0
        2 EVAL 'return redis.pcall("set", "r", "1")' 0
        2 EVAL 'return redis.pcall("del", "a")' 0
        2 EVAL 'return redis.pcall("publish", "d", "x")' 0
        2 EVAL 'return 1' 1 b
        2 EVAL 'return 1' 1 r
        2 EVAL_RO 'return 1' 1 r
        2 EVALSHA x 0
        2 EVAL 'return redis.acl_check_cmd("get", "a")' 0
        2 EVAL 'return redis.acl_check_cmd("get", "b")' 0
        2 EVAL 'return redis.acl_check_cmd("set", "r", "x")' 0
        2 EVAL 'return redis.acl_check_cmd("config", "set", "x", "y")' 0
        2 EVAL 'return redis.acl_check_cmd("config", "get", "x")' 0
    """,
    "who was deleted is gone": """
        1 ACL SETUSER ada on nopass +@all
        2 AUTH ada x
        1 ACL DELUSER ada nobody
        1 ACL GETUSER ada
        3 AUTH ada x
    """,
    "CLIENT KILL USER": """
        1 ACL SETUSER ada on nopass +@all
        2 AUTH ada x
        1 CLIENT KILL USER nobody
        1 CLIENT KILL USER ada
        1 CLIENT KILL USER ada
    """,
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_redis(
    name: str,
    protocol: int,
    perdure_server: PerdureServer,
    real_redis_port: int,
    perdure: RealRedis,
    real_redis: RealRedis,
) -> None:
    script = CLEAN + "\n".join(line.strip() for line in SCRIPTS[name].strip().splitlines()) + "\n" + CLEAN
    assert play(perdure_server.port, script, protocol) == play(real_redis_port, script, protocol)


# -- rights, at random ---------------------------------------------------------------------------------------------

CALLS: dict[str, list[str]] = {
    "bitfield": ["k1", "GET", "u4", "0"],
    "bitfield_ro": ["k1", "GET", "u4", "0"],
    **{name: ["x", "2", "k1", "k2", "k3"] for name in ("eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro")},
    "georadius": ["k1", "1", "2", "3", "m", "STORE", "k2"],
    "migrate": ["h", "1", "k1", "0", "5"],
    "sort": ["k1", "BY", "w*", "STORE", "k2"],
    "georadiusbymember": ["k1", "m", "3", "m", "STOREDIST", "k2"],
    "set": ["k1", "v", "GET"],
    "xread": ["COUNT", "1", "STREAMS", "k1", "k2", "0", "0"],
    "xreadgroup": ["GROUP", "g", "c", "STREAMS", "k1", "k2", "0", "0"],
}
"""Arguments where the general ones say nothing about keys."""
CATEGORIES = ("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
              "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction",
              "scripting")  # fmt: skip


def common_commands() -> list[list[str]]:
    """A call of each command that Redis and we have."""
    calls = []
    for each in every_command(build_table(FAMILIES)):
        word = each.name.decode()
        if word in FACTS and (not each.subcommands or word == "command"):
            arguments = CALLS.get(word) or ["k1", "2", "k2", "k1", "k3", "k2"][: max(each.min_argc - each.words, 2)]
            calls.append([*word.split("|"), *arguments[: each.max_argc - each.words]])
    return calls


def random_rules(random: Random, names: list[str]) -> list[str]:
    rules = [f"{random.choice(('~', '%R~', '%W~'))}k{number}" for number in range(1, 4) if random.random() < 0.8]
    rules += [f"&k{number}" for number in range(1, 4) if random.random() < 0.5]
    for _ in range(random.randrange(8)):
        what = random.choice((random.choice(names), "@" + random.choice(CATEGORIES), random.choice(("@all", "select|1"))))
        rules.append(random.choice("+-" if what != "select|1" else "+") + what)
    return rules


@pytest.mark.parametrize("seed", range(8))
def test_whoever_may_do_it_there_may_do_it_here(seed: int, perdure: RealRedis, real_redis: RealRedis) -> None:
    random = Random(seed)
    calls = common_commands()
    names = ["|".join(call[:2]) if "|".join(call[:2]) in FACTS else call[0] for call in calls]
    rules = random_rules(random, names)
    rules += [f"({' '.join(random_rules(random, names))})" for _ in range(random.randrange(3))]
    for redis in (perdure, real_redis):
        redis.ask("ACL", "SETUSER", "a", "reset")
        assert redis.ask("ACL", "SETUSER", "a", *rules) == b"OK"
    again = perdure.ask("ACL", "LIST")[0].split()[2:]
    assert perdure.ask("ACL", "SETUSER", "b", "reset", *again) == b"OK"
    for redis, user in ((perdure, "a"), (perdure, "b"), (real_redis, "a")):
        for call in calls:
            redis.send("ACL", "DRYRUN", user, *call)
    ours, ours_again, theirs = ([redis.read() for _ in calls] for redis in (perdure, perdure, real_redis))
    differing = {" ".join(call): (our, their) for call, our, their in zip(calls, ours, theirs, strict=True) if our != their}
    assert not differing, rules
    assert ours == ours_again, "the rules that are shown make the same user"


def test_categories_hold_what_they_hold_there(perdure: RealRedis, real_redis: RealRedis) -> None:
    known = {name.encode() for name in FACTS}
    for category in real_redis.ask("ACL", "CAT"):
        ours = set(perdure.ask("ACL", "CAT", category)) & known
        theirs = set(real_redis.ask("ACL", "CAT", category))
        here = {name for name in theirs if perdure.ask("COMMAND", "INFO", name) != [None]}
        assert ours == here, category


USES = [
    "SET k v", "SET k v GET", "SET k v EX 1 get", "BITFIELD k", "BITFIELD k GET u4 0", "BITFIELD k GET u4 0 SET u4 0 1",
    "BITFIELD k OVERFLOW SAT GET u4 0", "GEORADIUS k 1 2 3 m", "GEORADIUS k 1 2 3 m STORE d", "COPY a b", "EXISTS a b",
    "SORT k", "SORT k BY STORE GET STORE STORE d", "SORT k LIMIT 0 STORE ASC STORE d", "SORT_RO k BY w*",
    "MIGRATE h 1 k 0 5", "MIGRATE h 1 \"\" 0 5 AUTH KEYS KEYS a b", "MIGRATE h 1 \"\" 0 5 COPY AUTH2 KEYS x KEYS a",
    "ZUNIONSTORE d 2 a b", "LMPOP 2 a b LEFT", "XREAD STREAMS a b 0 0", "GETDEL k", "MSET a 1 b 2", "PFMERGE d a b",
]  # fmt: skip


@pytest.mark.parametrize("call", USES)
def test_what_is_done_with_keys_is_what_redis_says(perdure: RealRedis, real_redis: RealRedis, call: str) -> None:
    asked = ("COMMAND", "GETKEYSANDFLAGS", *shlex.split(call))
    ours, theirs = perdure.ask(*asked), real_redis.ask(*asked)
    assert [(key, sorted(flags)) for key, flags in ours] == [(key, sorted(flags)) for key, flags in theirs]


def test_access_control_and_residency_see_the_same_keys() -> None:
    table = build_table(FAMILIES)
    for call in common_commands():
        argv = [word.encode() for word in call]
        command = table[argv[0].lower()]
        if command.subcommands and len(argv) > 1:
            command = command.subcommands.get(argv[1].lower(), command)
        assert {use.key for use in key_uses(command, argv)} == set(command.keys(argv)), call


def test_wrong_arguments_are_left_to_the_command() -> None:
    acl = Acl(build_table(FAMILIES), Config())
    change(acl, b"ada", b"+@all", b"~a")
    for command in acl.vocabulary.table.values():
        assert acl.users[b"ada"].denial(command, [command.name]) is None, command


# -- the log -------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(start_perdure: StartPerdure) -> Iterator[tuple[PerdureServer, RealRedis, RealRedis]]:
    """A server, its admin, and ada who may GET and SET keys that begin with a."""
    server = start_perdure("--enable-debug-command", "yes")
    admin, ada = server.connect(), server.connect()
    rules = ("on", ">secret", "~a*", "resetchannels", "+get", "+set", "+multi", "+exec", "+blpop", "+incr", "+subscribe")
    assert admin.ask("ACL", "SETUSER", "ada", *rules) == b"OK"
    assert ada.ask("AUTH", "ada", "secret") == b"OK"
    yield server, admin, ada
    admin.close()
    ada.close()


Guarded = tuple[PerdureServer, RealRedis, RealRedis]


def logged(redis: RealRedis, *words: str) -> list[dict[bytes, Any]]:
    return [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in redis.ask("ACL", "LOG", *words)]


def test_the_log_tells_who_was_refused_what(guarded: Guarded) -> None:
    _, admin, ada = guarded
    for _ in range(3):
        ada.ask("GET", "b")
    ada.ask("DEL", "a")
    ada.ask("MULTI")
    ada.ask("SET", "a", "1")
    ada.ask("SUBSCRIBE", "x")
    ada.ask("EXEC")
    ada.ask("AUTH", "ada", "wrong")
    told = [(e[b"reason"], e[b"context"], e[b"object"], e[b"username"], e[b"count"]) for e in logged(admin)]
    assert told == [
        (b"auth", b"toplevel", b"AUTH", b"ada", 1),
        (b"channel", b"multi", b"x", b"ada", 1),
        (b"command", b"toplevel", b"del", b"ada", 1),
        (b"key", b"toplevel", b"b", b"ada", 3),
    ]
    newest = logged(admin, "1")[0]
    assert b" user=ada " in newest[b"client-info"] and b" cmd=auth " in newest[b"client-info"]
    assert newest[b"entry-id"] == 3 and newest[b"timestamp-created"] <= newest[b"timestamp-last-updated"]
    assert 0 <= float(newest[b"age-seconds"]) < 30
    counted = dict(line.split(b":") for line in admin.ask("INFO", "stats").split(b"\r\n") if line.startswith(b"acl_"))
    assert counted == {
        b"acl_access_denied_auth": b"1",
        b"acl_access_denied_cmd": b"1",
        b"acl_access_denied_key": b"3",
        b"acl_access_denied_channel": b"1",
    }
    admin.ask("CONFIG", "RESETSTAT")
    assert b"acl_access_denied_key:0" in admin.ask("INFO", "stats")
    assert admin.ask("CONFIG", "SET", "acllog-max-len", "2") == b"OK"
    assert len(logged(admin)) == 2
    assert admin.ask("ACL", "LOG", "reset") == b"OK" and not logged(admin)


# -- several clients -----------------------------------------------------------------------------------------------


def test_rights_change_under_connected_clients(guarded: Guarded) -> None:
    _, admin, ada = guarded
    assert ada.ask("SET", "a", "1") == b"OK"
    assert admin.ask("ACL", "SETUSER", "ada", "-set") == b"OK"
    assert ada.ask("SET", "a", "2") == RedisError("NOPERM this user has no permissions to run the 'set' command")
    assert admin.ask("ACL", "SETUSER", "ada", "allkeys", "allchannels", "allcommands") == b"OK"
    assert ada.ask("SET", "b", "2") == b"OK"
    assert ada.ask("ACL", "WHOAMI") == b"ada"
    assert admin.ask("ACL", "SETUSER", "default", "-flushall") == b"OK"
    assert admin.ask("FLUSHALL") == RedisError("NOPERM this user has no permissions to run the 'flushall' command")


def test_a_client_that_waits_is_asked_again(guarded: Guarded) -> None:
    _, admin, ada = guarded
    ada.send("BLPOP", "a", "0")
    until(lambda: b"blocked_clients:1" in admin.ask("INFO", "clients"))
    admin.ask("ACL", "SETUSER", "ada", "resetkeys")
    admin.ask("RPUSH", "a", "x")
    refused = "NOPERM this user has no permissions to access one of the keys used as arguments"
    assert ada.read() == RedisError(refused)
    assert admin.ask("LLEN", "a") == 1


@pytest.mark.parametrize(("subscribe", "name"), [("SUBSCRIBE", "c1"), ("PSUBSCRIBE", "c*"), ("SSUBSCRIBE", "c1")])
def test_who_may_listen_no_more_is_disconnected(guarded: Guarded, subscribe: str, name: str) -> None:
    _, admin, ada = guarded
    admin.ask("ACL", "SETUSER", "ada", f"+{subscribe}", "&c1", "&c*", "+client")
    assert ada.ask(subscribe, name)[1] == name.encode()
    admin.ask("ACL", "SETUSER", "ada", "&more")
    admin.ask("ACL", "SETUSER", "ada", "allchannels")
    assert b"user=ada" in admin.ask("CLIENT", "LIST")
    admin.ask("ACL", "SETUSER", "ada", "resetchannels", "&more")
    assert ada.closed()
    assert b"user=ada" not in admin.ask("CLIENT", "LIST")


def test_whoever_deletes_itself_still_gets_its_reply(guarded: Guarded) -> None:
    _, admin, ada = guarded
    admin.ask("ACL", "SETUSER", "ada", "+acl")
    ada.ask("MULTI")
    ada.ask("ACL", "DELUSER", "ada")
    ada.ask("SET", "a", "1")
    deleted, refused = ada.ask("EXEC")
    assert deleted == 1
    assert refused.args[0].startswith("NOPERM"), "and it is nobody else in the rest of its transaction"
    assert ada.closed()


def test_rules_are_not_shown_to_monitors_or_the_slow_log(guarded: Guarded) -> None:
    server, admin, _ = guarded
    admin.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    admin.ask("ACL", "SETUSER", "bob", ">geheim")
    admin.ask("MIGRATE", "127.0.0.1", "1", "k", "0", "5", "AUTH", "geheim", "AUTH2", "bob", "geheim")
    told = repr(admin.ask("SLOWLOG", "GET"))
    assert "SETUSER" in told and "MIGRATE" in told
    assert "geheim" not in told and "bob" not in told
    assert "geheim" not in server.log


# -- requirepass ---------------------------------------------------------------------------------------------------


def test_requirepass_is_the_password_of_the_default_user(start_perdure: StartPerdure) -> None:
    server = start_perdure("--requirepass", "one")
    stranger, admin = server.connect(), server.connect()
    assert stranger.ask("GET", "k") == RedisError("NOAUTH Authentication required.")
    assert admin.ask("AUTH", "one") == b"OK"
    assert admin.ask("CONFIG", "SET", "requirepass", "two") == b"OK"
    assert admin.ask("PING") == b"PONG"
    assert stranger.ask("AUTH", "one") == RedisError("WRONGPASS invalid username-password pair or user is disabled.")
    assert stranger.ask("AUTH", "default", "two") == b"OK"
    assert admin.ask("CONFIG", "SET", "requirepass", "") == b"OK"
    assert b"nopass" in admin.ask("ACL", "LIST")[0]
    assert server.connect().ask("PING") == b"PONG"
    admin.ask("ACL", "SETUSER", "default", "off")
    assert server.connect().ask("PING") == RedisError("NOAUTH Authentication required.")


def test_who_was_kept_out_is_in_when_no_password_is_needed(start_perdure: StartPerdure) -> None:
    server = start_perdure("--requirepass", "one")
    stranger, admin = server.connect(), server.connect()
    admin.ask("AUTH", "one")
    assert admin.ask("ACL", "SETUSER", "default", "nopass") == b"OK"
    assert stranger.ask("PING") == b"PONG"


# -- files ---------------------------------------------------------------------------------------------------------

ALICE = "user alice on nopass ~a* resetchannels -@all +get (~b* resetchannels -@all +set)\n"


def test_the_acl_file_is_read_at_the_start_saved_and_loaded(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "users.acl"
    path.write_text(ALICE)
    path.chmod(0o640)
    server = start_perdure("--aclfile", str(path))
    admin, alice = server.connect(), server.connect()
    assert alice.ask("AUTH", "alice", "x") == b"OK"
    assert admin.ask("ACL", "SETUSER", "bob", "on", ">secret", "+@all") == b"OK"
    assert admin.ask("ACL", "SAVE") == b"OK"
    assert path.read_text().encode().splitlines() == admin.ask("ACL", "LIST")
    assert "secret" not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o640
    path.write_text(ALICE)
    assert admin.ask("ACL", "LOAD") == b"OK"
    assert alice.closed()
    assert admin.ask("ACL", "USERS") == [b"alice", b"default"]
    path.write_text(ALICE + "user bob nosuch\nuser alice\nbob\n")
    assert admin.ask("ACL", "LOAD") == RedisError(
        f"ERR {path}:2: Syntax error. {path}:3: Duplicate user 'alice' found. {path}:4: a line should start with user "
        "keyword followed by the username. "
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    )
    assert admin.ask("ACL", "USERS") == [b"alice", b"default"]
    path.unlink()
    assert admin.ask("ACL", "LOAD").args[0].endswith("No such file or directory")


def test_a_relative_path_is_seen_from_the_data_directory(start_perdure: StartPerdure, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "users.acl"
    path.write_text(ALICE)
    client = start_perdure("--aclfile", "users.acl", "--logfile", "server.log", "--unixsocket", "sock").connect()
    assert client.ask("ACL", "USERS") == [b"alice", b"default"]
    assert client.ask("CONFIG", "GET", "aclfile") == [b"aclfile", b"users.acl"]
    assert client.ask("ACL", "DELUSER", "alice") == 1
    assert client.ask("ACL", "SAVE") == b"OK"
    assert b"alice" not in path.read_bytes()
    assert (tmp_path / "data" / "server.log").exists()
    assert (tmp_path / "data" / "sock").exists()


def test_loading_closes_the_client_that_asks_after_its_reply(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "users.acl"
    path.write_text("user alice on nopass +@all\nuser default off\n")
    alice = start_perdure("--aclfile", str(path)).connect()
    assert alice.ask("PING") == RedisError("NOAUTH Authentication required.")
    alice.ask("AUTH", "alice", "x")
    assert alice.ask("ACL", "LOAD") == b"OK"
    assert alice.closed()


def test_a_file_without_the_default_user_does_not_take_its_password_away(
    start_perdure: StartPerdure, tmp_path: Path
) -> None:
    path = tmp_path / "users.acl"
    path.write_text(ALICE)
    client = start_perdure("--aclfile", str(path), "--requirepass", "one").connect()
    assert client.ask("PING") == RedisError("NOAUTH Authentication required.")
    assert client.ask("AUTH", "one") == b"OK"


def test_users_of_redis_may_be_allowed_commands_that_are_not_here(start_perdure: StartPerdure, tmp_path: Path) -> None:
    path = tmp_path / "users.acl"
    path.write_text("user replica on >word +psync +replconf +ping\n")
    client = start_perdure("--aclfile", str(path)).connect()
    assert b"-@all +psync +replconf +ping" in client.ask("ACL", "LIST")[1]
    assert client.ask("AUTH", "replica", "word") == b"OK"
    assert client.ask("PING") == b"PONG"
    assert "unknown command 'PSYNC'" in str(client.ask("PSYNC", "?", "-1"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--aclfile", "/nowhere/users.acl"], "aclfile: cannot read /nowhere/users.acl: No such file or directory"),
        (["--aclfile", "/dev/null", "--user", "bob"], "aclfile: users are defined in the configuration file as well"),
        (["--user", "bob", "--user", "bob", "on"], "user: Duplicate user 'bob' found"),
        (["--user", "bob", "+nosuch"], "user: bob: '+nosuch': Unknown command or category name in ACL"),
        (["--user", "bob", "(+get"], "user: bob: a parenthesis is not closed"),
        (["--user"], "user: needs a name and rules"),
    ],
)
def test_users_that_make_no_sense_keep_the_server_from_starting(
    start_perdure: StartPerdure, options: list[str], problem: str
) -> None:
    with pytest.raises(RuntimeError, match="the server did not start") as raised:
        start_perdure(*options)
    assert problem in str(raised.value)


def configured(path: Path) -> Acl:
    """What a server started with this file makes of its users."""
    config = Config()
    load_file(config, str(path))
    return Acl(build_table(FAMILIES), config)


def change(acl: Acl, name: bytes, *rules: bytes) -> None:
    user = acl.users.get(name) or acl.new(name)
    follow(user, rules)
    acl.add(user)


def test_users_of_the_configuration_file_are_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "perdure.conf"
    path.write_text("# ours\nuser  ada on nopass  +get ~*\nuser bob on +set\nhz 10\n")
    acl = configured(path)
    change(acl, b"bob", b"-set", b"+del")
    change(acl, b"carl", b"(+get ~x)", b'~"\xff')
    change(acl, b"ada", b"+ping", b"-ping")
    acl.tell_config()
    rewrite(acl.config)
    lines = path.read_text().splitlines()
    assert lines[:4] == ["# ours", "user  ada on nopass  +get ~*", "user bob on resetchannels -@all +del", "hz 10"]
    assert lines[-1] == r'user carl off "~\"\xff" resetchannels -@all (~x resetchannels -@all +get)'
    again = configured(path)
    assert again.lines() == acl.lines()
    del again.users[b"bob"], again.users[b"carl"]
    change(again, b"default", b"-flushdb")
    again.tell_config()
    rewrite(again.config)
    assert "bob" not in path.read_text() and "carl" not in path.read_text()
    assert "user default on nopass ~* &* +@all -flushdb\n" in path.read_text()
    assert configured(path).lines() == again.lines()


def test_users_of_an_included_file_are_not_rewritten(tmp_path: Path) -> None:
    path, included = tmp_path / "perdure.conf", tmp_path / "users.conf"
    included.write_text("user ada on +get\n")
    path.write_text(f"include {included}\n")
    acl = configured(path)
    change(acl, b"bob", b"on")
    acl.tell_config()
    rewrite(acl.config)
    assert path.read_text().endswith("user bob on resetchannels -@all\n")
    change(acl, b"ada", b"off")
    acl.tell_config()
    with pytest.raises(ConfigError, match="an included file"):
        rewrite(acl.config)


# -- selectors alone -----------------------------------------------------------------------------------------------


def test_rules_that_say_nothing_any_more_are_not_kept() -> None:
    selector = Selector(Vocabulary(build_table(FAMILIES)), all_channels=False)
    for word, shown in (
        (b"+get", b"-@all +get"),
        (b"+@string", b"-@all +@string"),
        (b"+set", b"-@all +@string"),
        (b"-get", b"-@all +@string -get"),
        (b"+GET", b"-@all +@string"),
        (b"+select|0", b"-@all +@string +select|0"),
        (b"+select|1", b"-@all +@string +select|0 +select|1"),
        (b"+select", b"-@all +@string +select"),
        (b"-select", b"-@all +@string"),
        (b"-config|get", b"-@all +@string"),
        (b"+config", b"-@all +@string +config"),
        (b"-config|get", b"-@all +@string +config -config|get"),
        (b"-config", b"-@all +@string"),
        (b"+@all", b"+@all"),
        (b"+get", b"+@all"),
        (b"-@string", b"+@all -@string"),
    ):
        selector.apply(word)
        assert selector.command_rules() == shown, word


def test_who_may_do_everything_is_known_beforehand() -> None:
    acl = Acl(build_table(FAMILIES), Config())
    assert acl.default.unrestricted
    change(acl, b"ada", b"+@all", b"~*")
    ada = acl.users[b"ada"]
    assert not ada.unrestricted
    change(acl, b"ada", b"(allcommands allkeys allchannels)")
    assert ada.unrestricted
    change(acl, b"ada", b"clearselectors")
    assert not ada.unrestricted

"""The table of directives and the values in it; a real redis-server says what the answers must be."""

from __future__ import annotations

import os
import socket
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import running_redis

from perdure.config import Config, ConfigError, UnknownDirective, directives_page
from perdure.directives import BY_NAME, DIRECTIVES, GROUPS, RUNTIME
from perdure.value_kinds import BufferLimit, SavePoint

ROOT = Path(__file__).parent.parent


class Redis:
    """A redis-server of our own, asked with the least of a client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.replies = self.socket.makefile("rb")
        flat = self.ask("CONFIG", "GET", "*")
        assert isinstance(flat, list)
        self.defaults: dict[str, str] = dict(zip(flat[::2], flat[1::2], strict=True))

    def ask(self, *words: str) -> object:
        request = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        self.socket.sendall(b"*%d\r\n%s" % (len(words), request))
        return self._reply()

    def _reply(self) -> object:
        line = self.replies.readline().decode().rstrip("\r\n")
        kind, rest = line[0], line[1:]
        if kind == "*":
            return [self._reply() for _ in range(int(rest))]
        if kind == "$":
            return self.replies.read(int(rest) + 2)[:-2].decode()
        return rest


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield Redis(port)


def config_set(config: Config, *words: str) -> str:
    """What CONFIG SET answers."""
    try:
        config.set(zip(words[::2], words[1::2], strict=True))
    except UnknownDirective as unknown:
        return f"ERR Unknown option or number of arguments for CONFIG SET - '{unknown.unknown}'"
    except ConfigError as bad:
        return f"ERR CONFIG SET failed (possibly related to argument '{bad.name}') - {bad.why}"
    return "OK"


SAME_AS_REDIS = [
    ("hz", "0"), ("hz", "501"), ("hz", "abc"), ("hz", "+5"), ("hz", "05"), ("hz", ""), ("hz", "99999999999999999999"),
    ("timeout", "-1"), ("timeout", "60"), ("maxclients", "0"), ("slowlog-log-slower-than", "-2"),
    ("slowlog-log-slower-than", "-1"), ("list-max-ziplist-size", "-5"), ("list-max-listpack-size", "100000000000"),
    ("set-max-intset-entries", "0"), ("hash-max-ziplist-entries", "7"), ("hash-max-listpack-entries", "8"),
    ("stream-node-max-entries", "1"), ("key-load-delay", "-7"), ("loading-process-events-interval-bytes", "5"),
    ("appendonly", "maybe"), ("appendonly", "YES"), ("aof-use-rdb-preamble", "no"),
    ("maxmemory", "100mb"), ("maxmemory", "100Mb"), ("maxmemory", "1k"), ("maxmemory", "1KB"), ("maxmemory", "3b"),
    ("maxmemory", "2g"), ("maxmemory", "-1"), ("maxmemory", "1.5gb"), ("maxmemory", "10%"), ("maxmemory", "abc"),
    ("maxmemory-clients", "10%"), ("maxmemory-clients", "200%"), ("maxmemory-clients", "-1"),
    ("maxmemory-clients", "1gb"), ("client-query-buffer-limit", "5"), ("proto-max-bulk-len", "512mb"),
    ("maxmemory-policy", "foo"), ("MAXMEMORY-policy", "ALLKEYS-LRU"), ("loglevel", "foo"), ("appendfsync", "alwayS"),
    ("save", "900 1"), ("save", "900 1 300 10"), ("save", "900"), ("save", "900 a"), ("save", "0 1"), ("save", ""),
    ("save", "900  1"),
    ("client-output-buffer-limit", "normal 0 0"), ("client-output-buffer-limit", "normal 1mb 2kb 3"),
    ("client-output-buffer-limit", "foo 1mb 2kb 3"), ("client-output-buffer-limit", "replica 1mb 2kb 3 pubsub 1 2 3"),
    ("client-output-buffer-limit", "replica 1mb 2kb x"), ("client-output-buffer-limit", "master 1mb 2kb 1"),
    ("client-output-buffer-limit", "NORMAL -1 1 1"), ("client-output-buffer-limit", ""),
    ("notify-keyspace-events", "KEA"), ("notify-keyspace-events", "KEx$gh"), ("notify-keyspace-events", "Kmnd"),
    ("notify-keyspace-events", "Egxz$lshted"), ("notify-keyspace-events", "q"), ("notify-keyspace-events", ""),
    ("latency-tracking-info-percentiles", "50 101"), ("latency-tracking-info-percentiles", "50 a"),
    ("latency-tracking-info-percentiles", "50.0 99.5 99.99 100 12.34567"), ("latency-tracking-info-percentiles", ""),
    ("shutdown-on-sigint", "save nosave"), ("shutdown-on-sigint", "force save now"), ("shutdown-on-sigint", ""),
    ("shutdown-on-sigint", "now default"), ("shutdown-on-sigint", "later"),
    ("hz", "abc", "foo", "1"), ("hz", "3", "bogus", "1"), ("Foo", "6"), ("hz", "5", "HZ", "6"),
    ("slave-priority", "3", "slave-priority", "4"), ("slave-priority", "3", "replica-priority", "4"),
    ("databases", "5"), ("daemonize", "yes"), ("dir", "/tmp"), ("dbfilename", "x"), ("unixsocketperm", "700"),
    ("hz", "9", "timeout", "x"), ("lua-time-limit", "9"), ("requirepass", ""),
]  # fmt: skip


@pytest.mark.parametrize("words", SAME_AS_REDIS, ids=" ".join)
def test_a_setting_is_answered_and_kept_as_redis_does(words: tuple[str, ...], redis: Redis) -> None:
    config = Config()
    for name in words[::2]:
        if name.lower() in BY_NAME and BY_NAME[name.lower()].change == RUNTIME:
            config.set([(name, str(redis.ask("CONFIG", "GET", name)[1]))])  # type: ignore[index]
    assert config_set(config, *words) == redis.ask("CONFIG", "SET", *words)
    for name in words[::2]:
        if name.lower() in BY_NAME and BY_NAME[name.lower()].change == RUNTIME:
            assert [list(pair) for pair in config.get([name])] == [redis.ask("CONFIG", "GET", name)]


def test_every_parameter_of_redis_is_known_with_its_default(redis: Redis) -> None:
    ours = dict(Config().get(["*"]))
    different = {name for name, value in redis.defaults.items() if ours[name] != value}
    chosen_by_us = {"appendfsync", "appendonly", "supervised", "dir"}
    chosen_for_the_test = {"bind", "port", "dir"}
    assert different <= chosen_by_us | chosen_for_the_test


@pytest.mark.parametrize("name", BY_NAME)
def test_out_of_range_is_worded_as_redis_does(name: str, redis: Redis) -> None:
    if BY_NAME[name].change != RUNTIME or not redis.ask("CONFIG", "GET", name):
        return
    for text in ("@@@", "-99999999999", "9223372036854775807"):
        answer = config_set(Config(), name, text)
        if answer != "OK" and BY_NAME[name].kind.shape != "<class> <hard> <soft> <seconds> ...":
            assert answer == redis.ask("CONFIG", "SET", name, text) or BY_NAME[name].only


def test_what_is_read_as_an_attribute_has_the_annotated_type() -> None:
    config = Config()
    for attribute, wanted in typing.get_type_hints(Config).items():
        assert type(getattr(config, attribute)) is (typing.get_origin(wanted) or wanted), attribute


def test_every_value_survives_being_formatted_and_parsed() -> None:
    for directive in DIRECTIVES:
        value = directive.initial()
        assert directive.parse(directive.format(value), value) == value, directive.name


def test_names_are_unique_and_every_effect_is_described() -> None:
    assert len(BY_NAME) == sum(1 + len(directive.aliases) for directive in DIRECTIVES)
    for group in GROUPS:
        assert group.why or all(directive.note for directive in group.directives)


def test_the_defaults_are_durable_and_private() -> None:
    config = Config()
    assert (config.port, config.appendfsync, config.databases) == (6379, "always", 16)
    assert config.bind == ("127.0.0.1", "-::1")
    assert config.dir.endswith("/perdure-data")
    assert config.dir.startswith("/")


def test_values_have_the_types_the_server_computes_with() -> None:
    config = Config(maxmemory="64mb", save="900 1 300 10")
    assert config.maxmemory == 64 << 20
    assert config.client_output_buffer_limit["pubsub"] == BufferLimit(32 << 20, 8 << 20, 60)
    assert config.save == (SavePoint(900, 1), SavePoint(300, 10))
    config.set([("maxmemory-clients", "5%"), ("client-output-buffer-limit", "normal 1mb 0 0")])
    assert config.maxmemory_clients == -5
    assert config.client_output_buffer_limit["normal"] == BufferLimit(1 << 20, 0, 0)
    assert config.client_output_buffer_limit["pubsub"].soft_seconds == 60


def test_an_alias_is_the_same_setting() -> None:
    config = Config()
    config.set([("lua-time-limit", "7")])
    assert config.busy_reply_threshold == 7
    assert config.get(["lua-time*", "busy-reply-threshold"]) == [("lua-time-limit", "7"), ("busy-reply-threshold", "7")]


def test_hidden_parameters_are_only_found_by_name() -> None:
    assert Config().get(["key-load-delay"]) == [("key-load-delay", "0")]
    assert Config().get(["key-load*"]) == []


def test_each_name_is_answered_once_and_in_the_case_asked_for() -> None:
    assert Config().get(["HZ", "hz", "h?"]) == [("HZ", "10")]
    assert Config().get(["nothing", "*nothing*"]) == []


def test_one_bad_pair_leaves_everything_as_it_was() -> None:
    config = Config()
    assert config_set(config, "hz", "50", "timeout", "9", "maxmemory", "x").startswith("ERR CONFIG SET failed")
    assert (config.hz, config.timeout) == (10, 0)


def test_listeners_hear_of_changes_only() -> None:
    config, heard = Config(), list[object]()
    config.on_change("hz", heard.append)
    config.set([("hz", "10"), ("timeout", "5")])
    config.set([("hz", "20")])
    assert heard == [20]


def test_a_veto_sets_everything_back_and_tells_who_had_heard() -> None:
    config, heard = Config(), list[object]()

    def veto(value: object) -> None:
        raise ConfigError("", "not today")

    config.on_change("hz", heard.append)
    config.on_change("timeout", veto)
    answer = config_set(config, "hz", "20", "timeout", "5")
    assert answer == "ERR CONFIG SET failed (possibly related to argument 'timeout') - not today"
    assert (config.hz, config.timeout, heard) == (10, 0, [20, 10])


def test_is_set_tells_a_choice_from_a_default() -> None:
    config = Config(port="6379")
    assert config.is_set("port")
    assert not config.is_set("hz")


def test_relative_paths_are_seen_from_the_data_directory_if_it_is_set() -> None:
    config = Config()
    assert (config.at(""), config.at("users.acl"), config.at("/x")) == ("", os.path.abspath("users.acl"), "/x")
    config.load("dir", ["/data"])
    assert (config.at(""), config.at("users.acl"), config.at("/x")) == ("", "/data/users.acl", "/x")


@pytest.mark.parametrize("text", ["", "no one"])
def test_no_master_is_a_master_that_may_be_given(text: str) -> None:
    config = Config()
    config.load("replicaof", [text])
    assert config.get(["replicaof"]) == [("replicaof", "")]


@pytest.mark.parametrize(
    ("name", "words", "problem"),
    [
        ("pot", ["1"], "unknown directive 'pot' (did you mean 'port'?)"),
        ("qqqqqqq", ["1"], "unknown directive 'qqqqqqq'"),
        ("port", [], "port: wrong number of arguments: needs one value (<port>), got none"),
        ("port", ["1", "2"], "port: wrong number of arguments: needs one value (<port>), got 2"),
        ("port", ["x"], "port: argument couldn't be parsed into an integer"),
        ("unixsocketperm", ["8"], "unixsocketperm: argument couldn't be parsed as an octal number"),
        ("unixsocketperm", ["7777"], "unixsocketperm: argument must be between 0 and 777 inclusive"),
        ("replicaof", ["h"], "replicaof: wrong number of arguments"),
        ("replicaof", ["h", "70000"], "replicaof: Invalid master port"),
        ("replicaof", ["h", "7000"],
         "replicaof: replication is not built in yet: remove this line to start as a master"),
        ("dbfilename", ["a/b"], "dbfilename: dbfilename can't be a path, just a filename"),
        ("cluster-enabled", ["yes"], "cluster-enabled: cluster mode is not built in: one server holds all keys"),
        ("rename-command", ["a", "b"],
         "rename-command: commands cannot be renamed: make users who may not run them (ACL SETUSER)"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_explained(name: str, words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config().load(name, words)
    assert str(raised.value) == problem


def test_a_directive_of_several_words_may_have_none() -> None:
    config = Config()
    config.load("save", ["900", "1"])
    config.load("save", [])
    config.load("client-output-buffer-limit", [])
    config.load("latency-tracking-info-percentiles", [])
    assert config.get(["save", "latency-tracking-info-percentiles"]) == [
        ("save", ""), ("latency-tracking-info-percentiles", ""),
    ]  # fmt: skip
    assert config.get(["client-output-buffer-limit"]) == Config().get(["client-output-buffer-limit"])


def test_settings_that_must_not_be_ignored_are_refused_but_their_default_is_fine() -> None:
    for name, text in (("cluster-enabled", "yes"), ("replicaof", "host 1"), ("activedefrag", "yes")):
        with pytest.raises(ConfigError):
            Config().load(name, text.split())
        Config().load(name, [BY_NAME[name].default])


def test_the_page_of_directives_is_current() -> None:
    assert (ROOT / "docs" / "directives.md").read_text() == directives_page(), (
        "run: python -m perdure.config > docs/directives.md"
    )

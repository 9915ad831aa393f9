"""Every directive of redis.conf, and ours: one table, no branches.

A directive is a name, a kind (how its text becomes a value and back), a default, when it may change, and a sentence
for whoever reads `--help` or `docs/directives.md`. Adding one is one line here; a value that the server reads on a hot
path also gets an annotation in `perdure.config.Config`.

Names, defaults and ranges are those of Redis 7.0, so that clients, tools and test suites find what they ask for; the
defaults that differ are those of a server that is durable and private unless told otherwise. Half of the directives
steer machinery that Perdure does not have (RDB files, forks, AOF rewriting): they are accepted, remembered, rewritten
and answered, and change nothing; each such group says why. Where ignoring a setting would be dangerous
(replication, a cluster), `only` refuses it instead.

Nothing here knows a client or a socket. Errors are `ConfigError`, with Redis' wording of the reason.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.value_kinds import (
    INT_MAX,
    LONG_MAX,
    UINT_MAX,
    ULONG_MAX,
    BadValue,
    Choice,
    EventClasses,
    FileName,
    Flags,
    Int,
    Kind,
    Locale,
    MasterAddress,
    Memory,
    MemoryOrPercent,
    Octal,
    OutputLimits,
    Path,
    Percentiles,
    SaveRules,
    Switch,
    Text,
    WordList,
)

RUNTIME: Final = "runtime"
"""CONFIG SET may change it."""
STARTUP: Final = "startup"
"""Only the configuration file or the command line sets it."""
PROTECTED: Final = "protected"
"""As STARTUP, because changing it over the network would let a client write where it likes."""


class ConfigError(Exception):
    """A directive was given something it cannot take. `name` is the directive, `why` the reason, both for one line."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}" if name else why)
        self.name = name
        self.why = why


class Directive:
    """One line of the table.

    `only`: why nothing but the default works, for settings that must not be taken lightly. `later`: the machinery
    that will obey it is not there yet. `hidden`: CONFIG GET answers it by name, never to a pattern.
    `attribute` is its name on `Config`: `maxmemory-policy` → `maxmemory_policy`.
    """

    __slots__ = ("aliases", "attribute", "change", "default", "hidden", "kind", "later", "name", "note", "only")

    def __init__(
        self,
        name: str,
        kind: Kind[Any],
        default: str,
        note: str = "",
        *,
        change: str = RUNTIME,
        aliases: tuple[str, ...] = (),
        only: str = "",
        later: bool = False,
        hidden: bool = False,
    ) -> None:
        self.name, self.kind, self.default, self.note = name, kind, default, note
        self.change, self.aliases, self.only, self.later, self.hidden = change, aliases, only, later, hidden
        self.attribute = name.replace("-", "_")

    def initial(self) -> object:
        """A fresh default value."""
        return self.kind.parse(self.default, {})  # no default refines a value before it

    def parse(self, text: str, current: object, *, startup: bool = False) -> object:
        """The value of `text`. Raises ConfigError."""
        try:
            value = self.kind.load(text, current) if startup else self.kind.parse(text, current)
        except BadValue as bad:
            raise ConfigError(self.name, str(bad)) from None
        if self.only and value != self.initial():
            raise ConfigError(self.name, self.only)
        return value

    def format(self, value: object) -> str:
        return self.kind.format(value)


class Group(NamedTuple):
    """Directives that belong together. `why` is set when none of them changes anything here, and says the reason."""

    title: str
    directives: tuple[Directive, ...]
    why: str = ""


D = Directive
YES_NO: Final = Switch()
COUNT: Final = Int()
LONG: Final = Int(0, LONG_MAX)
PORT: Final = Int(0, 65535, "<port>")
SECONDS: Final = Int(0, INT_MAX, "<seconds>")
BYTES: Final = Memory()
TEXT: Final = Text()
PATH: Final = Path()
FILE: Final = Text("<path>")
"""Seen from `dir`: see `Config.at`."""
WORDS: Final = WordList("<word> ...")
EXIT_FLAGS: Final = Flags("default", "save", "nosave", "now", "force", exclusive=("save", "nosave"))
WHO_MAY: Final = Choice("no", "yes", "local")

NO_CLUSTER: Final = "cluster mode is not built in: one server holds all keys"
NO_REPLICATION: Final = "replication is not built in yet: remove this line to start as a master"
NO_DEFRAG: Final = "Active defragmentation cannot be enabled: there is no jemalloc under Perdure"

GROUPS: Final[tuple[Group, ...]] = (
    Group(
        "Network",
        (
            D("bind", WordList("<address> ..."), "127.0.0.1 -::1",
              "Addresses to listen on; `*` is every IPv4 one, `::*` every IPv6 one, a leading `-` makes a missing one no "
              "error"),
            D("port", PORT, "6379",
              "TCP port; 0 takes a free one, or none when there is a `tls-port`, and prints the one in use"),
            D("unixsocket", FILE, "", "Path of a Unix socket to listen on as well", change=STARTUP),
            D("unixsocketperm", Octal(), "0", "Permissions of the Unix socket; 0 leaves them to the umask",
              change=STARTUP),
            D("protected-mode", YES_NO, "yes",
              "Without a password, refuse clients that do not come from this machine"),
            D("tcp-backlog", COUNT, "511", "Length of the kernel's queue of connections to accept", change=STARTUP),
            D("tcp-keepalive", SECONDS, "300", "Seconds of silence after which TCP probes a client; 0 never"),
            D("timeout", SECONDS, "0", "Close clients idle for so many seconds; 0 never"),
            D("tls-port", PORT, "0", "TCP port for TLS; 0 is none"),
        ),
    ),
    Group(
        "Clients",
        (
            D("maxclients", Int(1, UINT_MAX), "10000", "Most clients at a time; further ones get an error"),
            D("proto-max-bulk-len", Memory(1 << 20), "512mb", "Longest single argument of a request"),
            D("client-query-buffer-limit", Memory(1 << 20), "1gb", "Most bytes of one unfinished request"),
            D("client-output-buffer-limit", OutputLimits(),
              "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
              "When a client that does not read its replies is cut off: bytes at once, or bytes for seconds on end"),
            D("maxmemory-clients", MemoryOrPercent(), "0",
              "Most memory for the buffers of all clients; beyond it the largest are closed"),
            D("tracking-table-max-keys", LONG, "1000000", "Most keys remembered for client-side caching; 0 is no limit"),
            D("notify-keyspace-events", EventClasses(), "", "Keyspace notifications to publish, as letters (`KEA`)"),
        ),
    ),
    Group(
        "TLS",
        (
            D("tls-cert-file", TEXT, "", "The certificate, PEM, with those that lead to its authority behind it"),
            D("tls-key-file", TEXT, "", "Its private key, PEM"),
            D("tls-key-file-pass", TEXT, "", "Password of the private key"),
            D("tls-ca-cert-file", TEXT, "", "Certificates of the authorities that clients' certificates are checked with"),
            D("tls-ca-cert-dir", TEXT, "", "The same as a directory of files named by hash (`openssl rehash`)"),
            D("tls-auth-clients", Choice("no", "yes", "optional"), "yes",
              "Whether clients need a certificate; optional: one that is shown must be good"),
            D("tls-protocols", WORDS, "", "Versions to speak, of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3; empty is the last two"),
            D("tls-ciphers", TEXT, "", "Ciphers up to TLSv1.2, in OpenSSL's words; empty is OpenSSL's choice"),
            D("tls-ciphersuites", TEXT, "", "Cipher suites of TLSv1.3; needs Python 3.15"),
            D("tls-prefer-server-ciphers", YES_NO, "no", "Choose by our order of ciphers, not by the client's"),
            D("tls-dh-params-file", TEXT, "", "Diffie-Hellman parameters, PEM, for old clients"),
            D("tls-session-caching", YES_NO, "yes", "Whether clients may resume sessions by tickets"),
        ),
    ),
    Group(
        "Security",
        (
            D("requirepass", Text("<password>"), "", "Password of the default user; empty asks for none"),
            D("enable-debug-command", WHO_MAY, "no", "Who may use DEBUG", change=STARTUP),
            D("acl-pubsub-default", Choice("allchannels", "resetchannels"), "resetchannels",
              "Channels a new ACL user may use"),
            D("acllog-max-len", LONG, "128", "Entries kept by ACL LOG"),
            D("aclfile", FILE, "", "File of ACL users, instead of `user` lines in the configuration file", change=STARTUP),
        ),
    ),
    Group(
        "Data and durability",
        (
            D("dir", PATH, "./perdure-data", "The data directory; made when absent, used by one server at a time",
              change=PROTECTED),
            D("databases", Int(1), "16", "Databases SELECT can choose", change=STARTUP),
            D("appendfsync", Choice("everysec", "always", "no"), "always",
              "What comes before the answer to a write. always: a sync to disk, one for all writers of a moment; "
              "everysec: the write to the log file, its sync within a second; no: just the write"),
            D("on-log-failure", Choice("refuse-writes", "exit"), "refuse-writes",
              "What to do when the log cannot be written or synced; no write that may be lost is answered either way"),
            D("wal-segment-size", Memory(1 << 20, 1 << 30), "16mb",
              "Size of one preallocated file of the log, from the next one on"),
            D("wal-retention", BYTES, "0", "Bytes of log to keep although the tables hold them", later=True),
            D("checkpoint-lag", Memory(1 << 20), "32mb",
              "Log the tables may be behind by before writers are slowed: more of it makes recovery longer"),
            D("checkpoint-interval-ms", Int(10, INT_MAX, "<ms>"), "1000",
              "Longest wait until a change is folded into the tables too"),
        ),
    ),
    Group(
        "Memory",
        (
            D("maxmemory", Memory(0, ULONG_MAX), "0",
              "Memory for data held in RAM; beyond it, entries already in the tables leave RAM. 0 is no limit"),
            D("maxmemory-policy",
              Choice("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu",
                     "allkeys-random", "noeviction"), "noeviction",
              "`noeviction` loses nothing, data just lives on disk; the others delete keys as Redis does"),
            D("maxmemory-samples", Int(1), "5", "Keys looked at to choose one to evict"),
            D("lfu-log-factor", COUNT, "10", "How slowly the LFU counter of a key saturates"),
            D("lfu-decay-time", COUNT, "1", "Minutes after which the LFU counter of a key is lowered"),
            D("active-expire-effort", Int(1, 10), "1", "Share of time for deleting keys that are due, 1 to 10"),
            D("hz", Int(clamp=(1, 500)), "10", "Rounds of background work a second"),
        ),
    ),
    Group(
        "Process and logging",
        (
            D("daemonize", YES_NO, "no", "Go to the background; with systemd leave it off", change=STARTUP),
            D("pidfile", FILE, "", "File to write the process id to", change=STARTUP),
            D("logfile", FILE, "", "File for the server's messages; empty is standard output, or with port 0 standard error",
              change=STARTUP),
            D("loglevel", Choice("debug", "verbose", "notice", "warning"), "notice", "What is worth a message"),
            D("shutdown-timeout", SECONDS, "10", "Seconds a shutdown waits for clients to read their replies"),
        ),
    ),
    Group(
        "Introspection",
        (
            D("slowlog-log-slower-than", Int(-1, LONG_MAX, "<us>"), "10000",
              "Microseconds from which a command is slow; 0 logs all, -1 none"),
            D("slowlog-max-len", LONG, "128", "Slow commands kept"),
            D("latency-monitor-threshold", LONG, "0", "Milliseconds from which LATENCY keeps an event; 0 off"),
            D("latency-tracking", YES_NO, "yes", "Keep a histogram of latencies for each command"),
            D("latency-tracking-info-percentiles", Percentiles(), "50 99 99.9",
              "Percentiles of those histograms that INFO shows"),
        ),
    ),
    Group(
        "Scripts",
        (
            D("busy-reply-threshold", LONG, "5000", "Milliseconds after which a script makes others see BUSY",
              aliases=("lua-time-limit",)),
        ),
    ),
    Group(
        "Encodings that OBJECT ENCODING reports",
        (
            D("hash-max-listpack-entries", LONG, "512", "Fields up to which a hash is a `listpack`",
              aliases=("hash-max-ziplist-entries",)),
            D("hash-max-listpack-value", BYTES, "64", "Longest field or value of such a hash",
              aliases=("hash-max-ziplist-value",)),
            D("set-max-intset-entries", LONG, "512", "Members up to which a set of integers is an `intset`"),
            D("zset-max-listpack-entries", LONG, "128", "Members up to which a sorted set is a `listpack`",
              aliases=("zset-max-ziplist-entries",)),
            D("zset-max-listpack-value", BYTES, "64", "Longest member of such a sorted set",
              aliases=("zset-max-ziplist-value",)),
            D("stream-node-max-entries", LONG, "100", "Entries of a stream trimmed together by `~`"),
            D("stream-node-max-bytes", BYTES, "4096", "Bytes of a stream trimmed together by `~`"),
            D("hll-sparse-max-bytes", BYTES, "3000", "Bytes from which a HyperLogLog is dense"),
        ),
    ),
    Group(
        "Snapshots and the append-only file",
        (
            D("save", SaveRules(), "3600 1 300 100 60 10000",
              "Kept in any case: checkpoints follow `checkpoint-lag` and `checkpoint-interval-ms`, which is sooner; SAVE "
              "and BGSAVE make one at once"),
            D("appendonly", YES_NO, "yes", "The log is always written; `appendfsync no` is the cheapest it gets"),
            D("dbfilename", FileName("dbfilename"), "dump.rdb", change=PROTECTED),
            D("appendfilename", FileName("appendfilename"), "appendonly.aof", change=STARTUP),
            D("appenddirname", FileName("appenddirname"), "appendonlydir", change=STARTUP),
            D("no-appendfsync-on-rewrite", YES_NO, "no", "Checkpoints never make a sync unnecessary"),
            D("stop-writes-on-bgsave-error", YES_NO, "yes", "A disk that fails or is full always stops writes"),
            D("shutdown-on-sigint", EXIT_FLAGS, "default", "Every shutdown answers what it has begun and keeps all data"),
            D("shutdown-on-sigterm", EXIT_FLAGS, "default", "As above"),
            D("rdbcompression", YES_NO, "yes"),
            D("rdbchecksum", YES_NO, "yes", "Every record and row always has a checksum", change=STARTUP),
            D("rdb-del-sync-files", YES_NO, "no"),
            D("rdb-save-incremental-fsync", YES_NO, "yes"),
            D("rdb-key-save-delay", Int(-INT_MAX - 1), "0", hidden=True),
            D("aof-load-truncated", YES_NO, "yes", "A torn end of the log is always cut and reported"),
            D("aof-use-rdb-preamble", YES_NO, "yes"),
            D("aof-timestamp-enabled", YES_NO, "no"),
            D("aof-rewrite-incremental-fsync", YES_NO, "yes"),
            D("aof-disable-auto-gc", YES_NO, "no", "`wal-retention` keeps old log"),
            D("auto-aof-rewrite-percentage", COUNT, "100"),
            D("auto-aof-rewrite-min-size", BYTES, "64mb"),
            D("sanitize-dump-payload", Choice("no", "yes", "clients"), "no", "RESTORE always checks what it is given"),
            D("key-load-delay", Int(-INT_MAX - 1), "0", hidden=True),
            D("loading-process-events-interval-bytes", Int(1024), "2097152", hidden=True),
        ),
        "The write-ahead log and the tables take the place of both files.",
    ),
    Group(
        "Memory of the process",
        (
            D("activedefrag", YES_NO, "no", only=NO_DEFRAG),
            D("active-defrag-ignore-bytes", Memory(1), "100mb"),
            D("active-defrag-threshold-lower", Int(0, 1000), "10"),
            D("active-defrag-threshold-upper", Int(0, 1000), "100"),
            D("active-defrag-cycle-min", Int(1, 99), "1"),
            D("active-defrag-cycle-max", Int(1, 99), "25"),
            D("active-defrag-max-scan-fields", Int(1, LONG_MAX), "1000"),
            D("activerehashing", YES_NO, "yes"),
            D("disable-thp", YES_NO, "yes", change=STARTUP),
            D("jemalloc-bg-thread", YES_NO, "yes"),
            D("list-compress-depth", COUNT, "0"),
            D("list-max-listpack-size", Int(-INT_MAX - 1), "-2", "Every list is a `quicklist`",
              aliases=("list-max-ziplist-size",)),
            D("set-max-listpack-entries", LONG, "128", "Of 7.2; a set is an `intset` or a `hashtable`"),
            D("set-max-listpack-value", BYTES, "64", "As above"),
            D("maxmemory-eviction-tenacity", Int(0, 100), "10"),
            D("lazyfree-lazy-eviction", YES_NO, "no", "Deleting a key of any size takes the same short time"),
            D("lazyfree-lazy-expire", YES_NO, "no", "As above"),
            D("lazyfree-lazy-server-del", YES_NO, "no", "As above"),
            D("lazyfree-lazy-user-del", YES_NO, "no", "As above"),
            D("lazyfree-lazy-user-flush", YES_NO, "no", "As above"),
            D("oom-score-adj", Choice("no", "yes", "relative", "absolute"), "no", "systemd: `OOMScoreAdjust=`"),
            D("oom-score-adj-values", WORDS, "0 200 800"),
        ),
        "Python's allocator and cache have no such knobs.",
    ),
    Group(
        "Replication",
        (
            D("replicaof", MasterAddress(), "", change=STARTUP, aliases=("slaveof",), only=NO_REPLICATION),
            D("masteruser", TEXT, ""),
            D("masterauth", TEXT, ""),
            D("min-replicas-to-write", COUNT, "0", "There are no replicas: anything but 0 refuses writes",
              aliases=("min-slaves-to-write",)),
            D("min-replicas-max-lag", COUNT, "10", aliases=("min-slaves-max-lag",)),
            D("repl-backlog-size", Memory(1), "1mb"),
            D("repl-backlog-ttl", LONG, "3600"),
            D("repl-disable-tcp-nodelay", YES_NO, "no"),
            D("repl-diskless-load", Choice("disabled", "on-empty-db", "swapdb"), "disabled"),
            D("repl-diskless-sync", YES_NO, "yes"),
            D("repl-diskless-sync-delay", COUNT, "5"),
            D("repl-diskless-sync-max-replicas", COUNT, "0"),
            D("repl-ping-replica-period", Int(1), "10", aliases=("repl-ping-slave-period",)),
            D("repl-timeout", Int(1), "60"),
            D("replica-announce-ip", TEXT, "", aliases=("slave-announce-ip",)),
            D("replica-announce-port", PORT, "0", aliases=("slave-announce-port",)),
            D("replica-announced", YES_NO, "yes"),
            D("replica-ignore-disk-write-errors", YES_NO, "no"),
            D("replica-ignore-maxmemory", YES_NO, "yes", aliases=("slave-ignore-maxmemory",)),
            D("replica-lazy-flush", YES_NO, "no", aliases=("slave-lazy-flush",)),
            D("replica-priority", COUNT, "100", aliases=("slave-priority",)),
            D("replica-read-only", YES_NO, "yes", aliases=("slave-read-only",)),
            D("replica-serve-stale-data", YES_NO, "yes", aliases=("slave-serve-stale-data",)),
            D("propagation-error-behavior", Choice("ignore", "panic", "panic-on-replicas"), "ignore"),
        ),
        "There are no replicas yet.",
    ),
    Group(
        "Cluster",
        (
            D("cluster-enabled", YES_NO, "no", change=STARTUP, only=NO_CLUSTER),
            D("cluster-config-file", TEXT, "nodes.conf", change=STARTUP),
            D("cluster-port", PORT, "0", change=STARTUP),
            D("cluster-node-timeout", LONG, "15000"),
            D("cluster-announce-ip", TEXT, ""),
            D("cluster-announce-hostname", TEXT, ""),
            D("cluster-announce-human-nodename", TEXT, ""),
            D("cluster-announce-port", PORT, "0"),
            D("cluster-announce-tls-port", PORT, "0"),
            D("cluster-announce-bus-port", PORT, "0"),
            D("cluster-allow-pubsubshard-when-down", YES_NO, "yes"),
            D("cluster-allow-reads-when-down", YES_NO, "no"),
            D("cluster-allow-replica-migration", YES_NO, "yes"),
            D("cluster-link-sendbuf-limit", Memory(0, ULONG_MAX), "0"),
            D("cluster-migration-barrier", COUNT, "1"),
            D("cluster-preferred-endpoint-type", Choice("ip", "hostname", "unknown-endpoint"), "ip"),
            D("cluster-replica-no-failover", YES_NO, "no", aliases=("cluster-slave-no-failover",)),
            D("cluster-replica-validity-factor", COUNT, "10", aliases=("cluster-slave-validity-factor",)),
            D("cluster-require-full-coverage", YES_NO, "yes"),
        ),
        "One server holds all keys.",
    ),
    Group(
        "TLS between servers, and what Python's `ssl` has no say in",
        (
            D("tls-client-cert-file", TEXT, ""),
            D("tls-client-key-file", TEXT, ""),
            D("tls-client-key-file-pass", TEXT, ""),
            D("tls-session-cache-size", COUNT, "20480"),
            D("tls-session-cache-timeout", COUNT, "300"),
            D("tls-cluster", YES_NO, "no"),
            D("tls-replication", YES_NO, "no"),
        ),
        "No server connects to another one.",
    ),
    Group(
        "The process and its machine",
        (
            D("always-show-logo", YES_NO, "no", change=STARTUP),
            D("aof_rewrite_cpulist", TEXT, "", change=STARTUP),
            D("bgsave_cpulist", TEXT, "", change=STARTUP),
            D("bio_cpulist", TEXT, "", change=STARTUP),
            D("server_cpulist", TEXT, "", "systemd: `CPUAffinity=`", change=STARTUP),
            D("bind-source-addr", TEXT, ""),
            D("crash-log-enabled", YES_NO, "yes"),
            D("crash-memcheck-enabled", YES_NO, "yes"),
            D("dynamic-hz", YES_NO, "yes"),
            D("enable-module-command", WHO_MAY, "no", "There are no modules", change=STARTUP),
            D("enable-protected-configs", WHO_MAY, "no", "`dir` cannot change under a running server, whatever it says",
              change=STARTUP),
            D("ignore-warnings", TEXT, ""),
            D("io-threads", Int(1, 128), "1", "One thread runs all commands and all sockets", change=STARTUP),
            D("io-threads-do-reads", YES_NO, "no", change=STARTUP),
            D("locale-collate", Locale("<locale>"), "", "SORT … ALPHA compares bytes"),
            D("proc-title-template", TEXT, "{title} {listen-addr} {server-mode}"),
            D("set-proc-title", YES_NO, "yes", change=STARTUP),
            D("socket-mark-id", Int(0, UINT_MAX), "0", change=STARTUP),
            D("supervised", Choice("upstart", "systemd", "auto", "no"), "auto",
              "systemd is told whenever it set NOTIFY_SOCKET", change=STARTUP),
            D("syslog-enabled", YES_NO, "no", "systemd keeps what the server prints", change=STARTUP),
            D("syslog-ident", TEXT, "redis", change=STARTUP),
            D("syslog-facility",
              Choice("user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"), "local0",
              change=STARTUP),
            D("use-exit-on-panic", YES_NO, "no", hidden=True),
        ),
        "Known so that files written for Redis load; the service manager does these better.",
    ),
)  # fmt: skip

DIRECTIVES: Final[tuple[Directive, ...]] = tuple(directive for group in GROUPS for directive in group.directives)

BY_NAME: Final[dict[str, Directive]] = {
    name: directive for directive in DIRECTIVES for name in (directive.name, *directive.aliases)
}

ELSEWHERE: Final = {
    "loadmodule": "modules cannot be loaded: the commands that exist are built in",
    "rename-command": "commands cannot be renamed: make users who may not run them (ACL SETUSER)",
    "sentinel": "there is no Sentinel: run one server and let systemd restart it",
}
"""Lines of a redis.conf that are no directives of the table and must not be skipped in silence: what to say instead."""

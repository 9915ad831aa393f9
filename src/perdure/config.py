"""The configuration of one server: a value for every directive of the table, typed where the server reads it.

Values are plain attributes (`config.maxmemory`), so that hot paths pay one attribute read. They change in two ways
only: `load` before the server runs (file, command line), `set` while it does (CONFIG SET), which changes all or nothing.
Whoever must act on a change registers with `on_change`; everybody else just reads the attribute each time.

`python -m perdure.config` prints `docs/directives.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from perdure.directives import (
    BY_NAME,
    DIRECTIVES,
    ELSEWHERE,
    GROUPS,
    PROTECTED,
    RUNTIME,
    STARTUP,
    ConfigError,
    Directive,
)
from perdure.globs import compile_glob
from perdure.value_kinds import BufferLimit, Choice, SavePoint

__all__ = ["BufferLimit", "Config", "ConfigError", "UnknownDirective", "directives_page"]

OnChange = Callable[[Any], None]
USER: Final = "user"
"""Starts a line that defines a user: no directive, as there may be many, and ACL SETUSER changes them."""


class UnknownDirective(ConfigError):
    """There is no directive of that name. The reason names the nearest one."""

    def __init__(self, name: str) -> None:
        from difflib import get_close_matches  # costs more to import than a whole good start; only errors pay

        near = get_close_matches(name.lower(), BY_NAME, n=1)
        super().__init__("", f"unknown directive '{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
        self.unknown = name


class Config:
    """What the server may ask. Attributes are the directives' names with underscores; the annotated ones are those
    that it does ask, with their types; all others exist too. Sizes are bytes, times are in the unit of the name or seconds.
    """

    bind: tuple[str, ...]
    port: int
    unixsocket: str
    unixsocketperm: int
    protected_mode: bool
    tcp_backlog: int
    tcp_keepalive: int
    timeout: int
    tls_port: int

    tls_cert_file: str
    tls_key_file: str
    tls_key_file_pass: str
    tls_ca_cert_file: str
    tls_ca_cert_dir: str
    tls_auth_clients: str
    tls_protocols: tuple[str, ...]
    tls_ciphers: str
    tls_ciphersuites: str
    tls_prefer_server_ciphers: bool
    tls_dh_params_file: str
    tls_session_caching: bool

    maxclients: int
    proto_max_bulk_len: int
    client_query_buffer_limit: int
    client_output_buffer_limit: dict[str, BufferLimit]
    maxmemory_clients: int
    tracking_table_max_keys: int
    notify_keyspace_events: str

    requirepass: str
    enable_debug_command: str
    enable_protected_configs: str
    acl_pubsub_default: str
    acllog_max_len: int
    aclfile: str

    dir: str
    databases: int
    appendfsync: str
    on_log_failure: str
    wal_segment_size: int
    wal_retention: int
    checkpoint_lag: int
    checkpoint_interval_ms: int
    save: tuple[SavePoint, ...]

    maxmemory: int
    maxmemory_policy: str
    maxmemory_samples: int
    lfu_log_factor: int
    lfu_decay_time: int
    active_expire_effort: int
    hz: int

    daemonize: bool
    pidfile: str
    logfile: str
    loglevel: str
    shutdown_timeout: int

    slowlog_log_slower_than: int
    slowlog_max_len: int
    latency_monitor_threshold: int
    latency_tracking: bool
    latency_tracking_info_percentiles: tuple[float, ...]
    busy_reply_threshold: int
    min_replicas_to_write: int

    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    set_max_intset_entries: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int
    stream_node_max_entries: int
    stream_node_max_bytes: int
    hll_sparse_max_bytes: int

    def __init__(self, **values: str) -> None:
        """All defaults, and `values` (attribute name → text) over them: `Config(port="0", appendfsync="no")`."""
        self.file = ""
        """The configuration file's absolute path, which CONFIG REWRITE rewrites; empty without one."""
        self.users: dict[str, list[str]] = {}
        """The rules of each `user name rules...` line; what they mean is perdure.acl's."""
        self._listeners: dict[str, list[OnChange]] = {}
        self._given: set[str] = set()
        for directive in DIRECTIVES:
            setattr(self, directive.attribute, directive.initial())
        for attribute, text in values.items():
            self.load(attribute.replace("_", "-"), [text])

    def value(self, directive: Directive) -> object:
        return getattr(self, directive.attribute)

    def text(self, directive: Directive) -> str:
        """The value as CONFIG GET shows it."""
        return directive.format(getattr(self, directive.attribute))

    # ---- before the server runs

    def load(self, name: str, words: Sequence[str]) -> None:
        """Take `name word [word ...]` from a file or the command line. Raises ConfigError, UnknownDirective."""
        if name.lower() == USER:
            self._load_user(words)
            return
        directive = BY_NAME.get(name.lower())
        if directive is None:
            raise ConfigError(name, ELSEWHERE[name]) if name in ELSEWHERE else UnknownDirective(name)
        if len(words) != 1 and not directive.kind.several:  # those that take several take none, too: `save` forgets all
            needs = f"needs one value ({directive.kind.shape}), got {len(words) or 'none'}"
            raise ConfigError(directive.name, f"wrong number of arguments: {needs}")
        first = directive.kind.adds_up and directive.name not in self._given
        value = directive.parse(" ".join(words), () if first else self.value(directive), startup=True)
        setattr(self, directive.attribute, value)
        self._given.add(directive.name)

    def _load_user(self, words: Sequence[str]) -> None:
        if not words:
            raise ConfigError(USER, "needs a name and rules")
        if words[0] in self.users:
            raise ConfigError(USER, f"Duplicate user '{words[0]}' found")
        self.users[words[0]] = list(words[1:])

    def is_set(self, name: str) -> bool:
        """Has somebody chosen a value (be it the default one), or is it just the default?"""
        return BY_NAME[name].name in self._given

    def at(self, path: str) -> str:
        """Where a file of the configuration is. Relative paths are seen from `dir`, if that is set: Redis goes there."""
        return os.path.abspath(os.path.join(self.dir if self.is_set("dir") else "", path)) if path else ""

    # ---- while it runs

    def get(self, patterns: Iterable[str]) -> list[tuple[str, str]]:
        """Names and values of all directives that match one of the glob `patterns`, each once."""
        found: dict[str, tuple[str, str]] = {}
        for pattern in patterns:
            for name, answered in self._matching(pattern):
                found.setdefault(name, (answered, self.text(BY_NAME[name])))
        return list(found.values())

    @staticmethod
    def _matching(pattern: str) -> Iterator[tuple[str, str]]:
        """(name, name as answered) of each match: a plain name is answered in the case it was asked for."""
        lowered = pattern.lower()
        if not set("*?[") & set(pattern):
            if lowered in BY_NAME:
                yield lowered, pattern
            return
        matches = compile_glob(lowered.encode(errors="surrogateescape"))
        for name, directive in BY_NAME.items():
            if not directive.hidden and matches(name.encode()):
                yield name, name

    def set(self, pairs: Iterable[tuple[str, str]], *, protected: bool = False) -> None:
        """Change all of `pairs` or, when one cannot, none. Raises UnknownDirective, ConfigError.

        `protected` ones are changed, too, if whoever asks may do that.
        Listeners run after all values have changed. One that raises ConfigError vetoes: everything is set back and
        the listeners that ran before it are called again, with the old values.
        """
        wanted = self._checked(pairs, protected)
        old = {directive: self.value(directive) for directive in wanted}
        changed = [directive for directive, value in wanted.items() if value != old[directive]]
        for directive, value in wanted.items():
            setattr(self, directive.attribute, value)
        self._given.update(directive.name for directive in wanted)
        told: list[tuple[OnChange, Directive]] = []
        for directive in changed:
            for listener in self._listeners.get(directive.name, ()):
                try:
                    listener(wanted[directive])
                except ConfigError as veto:
                    for back, value in old.items():
                        setattr(self, back.attribute, value)
                    for again, about in told:
                        again(old[about])
                    raise ConfigError(directive.name, veto.why) from None
                told.append((listener, directive))

    def _checked(self, pairs: Iterable[tuple[str, str]], protected: bool) -> dict[Directive, object]:
        """The new value of each directive, in order. Refuses in the order Redis does: names first, then values."""
        named: dict[str, tuple[Directive, str]] = {}
        for name, text in pairs:
            lowered = name.lower()
            directive = BY_NAME.get(lowered)
            if directive is None:
                raise UnknownDirective(name)
            if directive.change != RUNTIME and not (protected and directive.change == PROTECTED):
                what = "immutable" if directive.change == STARTUP else "protected"
                raise ConfigError(lowered, f"can't set {what} config")
            if lowered in named:
                raise ConfigError(name, "duplicate parameter")
            named[lowered] = directive, text
        wanted: dict[Directive, object] = {}
        for name, (directive, text) in named.items():
            try:
                wanted[directive] = directive.parse(text, wanted.get(directive, self.value(directive)))
            except ConfigError as bad:
                raise ConfigError(name, bad.why) from None
        return wanted

    def on_change(self, name: str, listener: OnChange) -> None:
        """Call `listener(value)` whenever CONFIG SET gives `name` another value; it may veto: ConfigError("", why)."""
        self._listeners.setdefault(BY_NAME[name].name, []).append(listener)


CHANGES: Final = {RUNTIME: "yes", STARTUP: "no", PROTECTED: "never"}


def directives_page() -> str:
    """`docs/directives.md`: every directive, by group."""
    lines = [
        "# Directives",
        "",
        "Generated by `python -m perdure.config` from `src/perdure/directives.py`; do not edit.",
        "",
        "Set them in the configuration file (`name value`), on the command line (`--name value`) or, where the third",
        "column says *yes*, while the server runs: `CONFIG SET name value`, and `CONFIG REWRITE` to keep it.",
        "Bytes take units: `1k` is 1000 and `1kb` is 1024, likewise `m`, `mb`, `g`, `gb`.",
    ]
    for group in GROUPS:
        lines += ["", f"## {group.title}", ""]
        if group.why:
            lines += [f"Accepted, remembered and answered, but without effect here. {group.why}", ""]
        lines += ["| directive | default | at run time | |", "|---|---|---|---|"]
        lines += [_row(directive) for directive in group.directives if not directive.hidden]
    return "\n".join(lines) + "\n"


def _row(directive: Directive) -> str:
    notes = [directive.note] if directive.note else []
    if isinstance(directive.kind, Choice):
        notes.append("One of " + ", ".join(f"`{choice}`" for choice in directive.kind.choices))
    if directive.aliases:
        notes.append("Also called " + ", ".join(f"`{alias}`" for alias in directive.aliases))
    if directive.only:
        notes.append(f"Refused: {directive.only}")
    if directive.later:
        notes.append("*Not obeyed yet*")
    default = f"`{directive.default}`" if directive.default else ""
    return f"| `{directive.name}` | {default} | {CHANGES[directive.change]} | {'. '.join(notes)} |"


if __name__ == "__main__":
    print(directives_page(), end="")

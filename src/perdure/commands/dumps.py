"""DUMP and RESTORE: values as bytes that any Redis can read. The formats are in `perdure_storage.rdb`."""

from __future__ import annotations

import logging

from perdure import errors, lfu
from perdure.args import INT_MAX, Words, integer
from perdure.errors import ReplyError
from perdure.registry import ASKING, DENYOOM, READ, RECORD_ONLY, WRITE, Args, Family
from perdure.resp import Reply
from perdure.session import Session
from perdure_storage.events import GENERIC
from perdure_storage.keyspace import Keyspace
from perdure_storage.portable import payload_of, place
from perdure_storage.rdb import BadChecksum, BadPayload, load

COMMANDS = Family("generic")
RESTORING = Family("generic", context=True)

log = logging.getLogger("perdure")


@COMMANDS.command(
    "DUMP key",
    READ,
    since="2.6.0",
    complexity="O(N), N being the elements of a collection",
    tips="nondeterministic_output",
)
def dump(db: Keyspace, args: Args) -> Reply:
    """Return what a key holds as bytes that RESTORE takes, here or in Redis."""
    entry = db.lookup(args[0])
    return None if entry is None else payload_of(entry)


class Wishes:
    """What RESTORE has been asked for besides."""

    def __init__(self, words: Words) -> None:
        self.replace = self.absolute = False
        self.idle = self.frequency = -1
        for word in words:
            if word == b"REPLACE":
                self.replace = True
            elif word == b"ABSTTL":
                self.absolute = True
            elif word == b"IDLETIME" and self.frequency < 0:
                self.idle = integer(words.take())
                if self.idle < 0:
                    raise ReplyError("ERR Invalid IDLETIME value, must be >= 0")
            elif word == b"FREQ" and self.idle < 0:
                self.frequency = integer(words.take())
                if not 0 <= self.frequency <= 255:
                    raise ReplyError("ERR Invalid FREQ value, must be >= 0 and <= 255")
            else:
                raise errors.syntax()


def restore(ctx: Session, args: Args) -> Reply:
    """Put a value in that DUMP has told of."""
    db, key, wishes = ctx.db, args[0], Wishes(Words(args, 3))
    if not wishes.replace and db.peek(key)[0]:
        raise errors.busy_key()
    expire = integer(args[1])
    if expire < 0:
        raise ReplyError("ERR Invalid TTL value, must be >= 0")
    if expire and not wishes.absolute:
        expire += db.ds.now
        if expire > INT_MAX:
            raise errors.invalid_expire("restore")
    try:
        value = load(args[2], check=not ctx.server.skip_checksums)
    except BadChecksum:
        raise ReplyError("ERR DUMP payload version or checksum are wrong") from None
    except BadPayload as error:
        log.info("RESTORE of a payload that is none: %s", error)
        raise ReplyError("ERR Bad data format") from None
    replaced = db.delete(key)
    if 0 < expire <= db.ds.now:
        if replaced:
            db.notify(GENERIC, b"del", key)
        return "OK"
    entry = place(db, key, value, expire)
    if lfu.is_lfu(ctx.server.config.maxmemory_policy):
        if wishes.frequency >= 0:
            entry.tick = lfu.word(wishes.frequency, db.ds.tick)
    elif wishes.idle >= 0:
        entry.tick = db.ds.tick - wishes.idle
    db.notify(GENERIC, b"restore", key)
    return "OK"


for _name, _flags, _since in (("RESTORE", 0, "2.6.0"), ("RESTORE-ASKING", ASKING, "3.0.0")):
    RESTORING.command(
        f"{_name} key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        WRITE | DENYOOM | RECORD_ONLY | _flags,
        since=_since,
        complexity="O(N), N being the elements of a collection; O(N*log(N)) for a sorted set",
        summary="Put a value in that DUMP has told of" if not _flags else "RESTORE, for keys of a slot being moved",
        acl="dangerous",
        key_flags=("OW update",),
        history=(
            ("3.0.0", "Added the `REPLACE` modifier."),
            ("5.0.0", "Added the `ABSTTL` modifier."),
            ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
        ),
    )(restore)

"""MIGRATE: keys to another server. How it goes is in `perdure.migrations`."""

from __future__ import annotations

from perdure import errors
from perdure.args import INT_MAX, INT_MIN, Words, integer_between
from perdure.errors import ReplyError
from perdure.key_uses import FINDERS
from perdure.migrations import Migration, Order, Parcel
from perdure.registry import WRITE, Args, Family
from perdure.resp import Reply
from perdure.session import Park, Session
from perdure.usage import KeySpec

COMMANDS = Family("generic", context=True)

DEFAULT_TIMEOUT_MS = 1000


def _order(args: Args) -> tuple[Order, list[bytes]]:
    """(what is wanted, of which keys)."""
    keys = [args[2]]
    copy = replace = False
    credentials: list[bytes] = []
    for word in (words := Words(args, 5)):
        if word == b"COPY":
            copy = True
        elif word == b"REPLACE":
            replace = True
        elif word == b"AUTH":
            credentials = words.take_many(1)
        elif word == b"AUTH2":
            credentials = words.take_many(2)
        elif word == b"KEYS":
            if args[2]:
                raise ReplyError(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                )
            keys = words.take_many(len(args) - words.at)
            break
        else:
            raise errors.syntax()
    timeout_ms, index = (integer_between(args[at], INT_MIN, INT_MAX) for at in (4, 3))
    try:
        port = int(args[1][:6])
    except ValueError:
        port = 0
    order = Order((args[0], port & 0xFFFF), index, timeout_ms if timeout_ms > 0 else DEFAULT_TIMEOUT_MS)
    order.copy, order.replace, order.credentials = copy, replace, credentials
    return order, keys


@COMMANDS.command(
    'MIGRATE host port <key | ""> destination-db timeout [COPY] [REPLACE] '
    "[AUTH password | AUTH2 username password] [KEYS key [key ...]]",
    WRITE,
    since="2.6.0",
    complexity="O(N) here and at the target, N being the elements of the keys",
    acl="dangerous",
    tips="nondeterministic_output",
    key_specs=(KeySpec(3), KeySpec(-2, "KEYS", last=-1)),
    key_flags=("RW access delete", "RW access delete incomplete"),
    keys=lambda argv: [use.key for use in FINDERS[b"migrate"](argv)],
    history=(
        ("3.0.0", "Added the `COPY` and `REPLACE` options."),
        ("3.0.6", "Added the `KEYS` option."),
        ("4.0.7", "Added the `AUTH` option."),
        ("6.0.0", "Added the `AUTH2` option."),
    ),
)
def migrate(ctx: Session, args: Args) -> Reply | Park:
    """Move keys to another server. The client waits meanwhile, and so do changes of these keys; nobody else does."""
    order, keys = _order(args)
    db = ctx.db
    found = [db.lookup(key) for key in keys]
    parcels = [Parcel(db, entry) for entry in found if entry is not None]
    if not parcels:
        return "NOKEY"
    migration = Migration(order, parcels, ctx.ds.now)
    migrations = ctx.server.migrations
    if ctx.in_exec:
        return migrations.run(migration)
    return migrations.start(ctx, migration)

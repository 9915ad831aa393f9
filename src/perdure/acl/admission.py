"""What access control means to connected clients: who is let in, what is refused, who has to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from perdure import errors
from perdure.acl.selectors import Denial
from perdure.clients import describe
from perdure.errors import ReplyError

if TYPE_CHECKING:
    from perdure.acl import User
    from perdure.registry import Command
    from perdure.server import Server
    from perdure.session import Argv, Session

TO_CLIENT: Final = {
    "command": "NOPERM this user has no permissions to run the '{}' command",
    "key": "NOPERM this user has no permissions to access one of the keys used as arguments",
    "channel": "NOPERM this user has no permissions to access one of the channels used as arguments",
}
NO_LONGER: Final = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
    "This command is no longer allowed for the following reason: "
)
IN_EXEC: Final = {
    "command": NO_LONGER + "no permission to execute the command or subcommand",
    "key": NO_LONGER + "no permission to touch the specified keys",
    "channel": NO_LONGER + "no permission to access one of the channels used as arguments to the command",
}
IN_SCRIPT: Final = {
    "command": "ERR The user executing the script can't run this command or subcommand",
    "key": "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
    "channel": "ERR The user executing the script can't publish to the channel mentioned in the command",
}
IN_FULL: Final = {
    "command": "This user has no permissions to run the '{}' command",
    "key": "This user has no permissions to access the '{}' key",
    "channel": "This user has no permissions to access the '{}' channel",
}
"""What ACL DRYRUN says, where names may be named."""


def in_full(denial: Denial) -> str:
    return IN_FULL[denial.reason].format(errors.whole(denial.object))


# -- logging in ----------------------------------------------------------------------------------------------------


def log_in(session: Session, name: bytes, password: bytes, command: bytes) -> None:
    """Let the client be the user `name`. `command`: what it has asked that with. Raises ReplyError."""
    user = session.server.acl.authenticate(name, password)
    if user is None:
        take_down(session, "auth", context_of(session), command, name)
        raise errors.wrong_pass()
    session.set_user(user, True)


# -- refusing ------------------------------------------------------------------------------------------------------


def refusal(session: Session, command: Command, argv: Argv) -> ReplyError | None:
    """Why the session's user may not run this now, taken down in ACL LOG; None when it may."""
    denial = session.user.denial(command, argv)
    if denial is None:
        return None
    session.last_command = command
    return _refusal(session, denial, context_of(session), TO_CLIENT)


def refusal_in_exec(session: Session, command: Command, argv: Argv) -> ReplyError | None:
    """The same, for a command that was allowed when MULTI queued it."""
    denial = session.user.denial(command, argv)
    return denial and _refusal(session, denial, "multi", IN_EXEC)


def refusal_in_script(caller: Session, command: Command, argv: Argv) -> ReplyError | None:
    """The same, for a command in a script."""
    denial = caller.user.denial(command, argv)
    return denial and _refusal(caller, denial, "lua", IN_SCRIPT)


def _refusal(session: Session, denial: Denial, context: str, texts: Mapping[str, str]) -> ReplyError:
    take_down(session, denial.reason, context, denial.object, session.user.name)
    return ReplyError(texts[denial.reason].format(errors.whole(denial.object)))


def context_of(session: Session) -> str:
    return "multi" if session.in_exec or session.multi is not None else "toplevel"


def take_down(session: Session, reason: str, context: str, object_: bytes, username: bytes) -> None:
    """An entry of ACL LOG."""
    acl = session.server.acl
    acl.denied[reason] += 1
    acl.log.add(reason, context, object_, username, describe(session), session.ds.now)


# -- when users change ---------------------------------------------------------------------------------------------


def changed(server: Server, user: User) -> None:
    """`user` is not what it was: its clients go on with the new rights, but for those who listen to what they may not."""
    for session in list(server.sessions.values()):
        if session.user is not user:
            continue
        if not keeps_subscriptions(session):
            server.kill(session)
        elif user.open and user is server.acl.default:
            session.set_user(user, True)
        else:
            session.update_gate()


def keeps_subscriptions(session: Session) -> bool:
    """May the client stay subscribed to all that it is?"""
    user = session.user
    return all(user.may_listen(channel) for channel in (*session.channels, *session.shard_channels)) and all(
        user.may_listen(pattern, pattern=True) for pattern in session.patterns
    )


def expel(server: Server, gone: Iterable[User], asker: Session) -> None:
    """These users are no more: their clients are closed, the one that asked for it after its reply."""
    for session in list(server.sessions.values()):
        if session.user in gone:
            session.set_user(server.acl.nobody, False)
            server.kill(session, after_reply=session is asker)

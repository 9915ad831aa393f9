"""Access control: the users of a server, where they are defined, and who logs in.

A user is made by rules (`users`), and what it may do is what one of its selectors allows (`selectors`). What that means
for connected clients is in `admission`. Unless something else is said there is one user, `default`, who needs no password
and may do everything.

Users are defined in the configuration file (`user name rules...`) or in a file of their own (`aclfile`), not in both:

    user alice on #3fc9b689… ~cache:* resetchannels -@all +@read
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from perdure.acl.log import AclLog
from perdure.acl.selectors import BadRule, Selector, Vocabulary, has_blank
from perdure.acl.users import UnmatchedParenthesis, User, follow, hashed
from perdure.directives import ConfigError

if TYPE_CHECKING:
    from perdure.config import Config
    from perdure.registry import Command

__all__ = ["DEFAULT", "Acl", "BadAclFile", "BadName", "BadRule", "UnmatchedParenthesis", "User"]

DEFAULT: Final = b"default"
OPEN_RULES: Final = (b"on", b"nopass", b"~*", b"&*", b"+@all")
"""What the default user is unless something else is said."""


class BadName(BadRule):
    """A user cannot be called so."""


class BadAclFile(Exception):
    """What is wrong with an ACL file, all of it in one line."""


class Acl:
    """All users, and what was refused to them. Raises ConfigError where the configuration's users make no sense."""

    def __init__(self, commands: Mapping[bytes, Command], config: Config) -> None:
        self.config = config
        self.vocabulary = Vocabulary(commands)
        self.default = self._new_default()
        self.users: dict[bytes, User] = {DEFAULT: self.default}
        self.nobody = self.new(DEFAULT)
        """Whom clients are whose user was deleted, until they are closed: no longer the user they were, not yet another."""
        self.log = AclLog(config.acllog_max_len)
        self.denied: dict[str, int] = {}
        """Refusals by reason, for INFO."""
        self.reset_stats()
        config.on_change("acllog-max-len", self.log.resize)
        self._take_configured()

    def _take_configured(self) -> None:
        if self.config.aclfile:
            if self.config.users:
                raise ConfigError("aclfile", "users are defined in the configuration file as well: choose one of the two")
            try:
                self.load(self.read_file())
            except BadAclFile as bad:
                raise ConfigError("aclfile", str(bad)) from None
            except OSError as error:
                raise ConfigError("aclfile", f"cannot read {error.filename}: {error.strerror}") from None
        for name, words in self.config.users.items():
            self.add(self.configured(name, words))

    def configured(self, name: str, words: Iterable[str]) -> User:
        """The user that a line of the configuration file defines. Raises ConfigError."""
        try:
            user = self.new(as_bytes(name))
            follow(user, map(as_bytes, words))
        except BadRule as bad:
            raise ConfigError("user", f"{name}: '{bad.rule.decode('latin-1')}': {bad}") from None
        except UnmatchedParenthesis:
            raise ConfigError("user", f"{name}: a parenthesis is not closed") from None
        return user

    def reset_stats(self) -> None:
        self.denied = dict.fromkeys(("auth", "command", "key", "channel"), 0)

    # -- users ---------------------------------------------------------------------------------------------------

    def _new_selector(self) -> Selector:
        return Selector(self.vocabulary, all_channels=self.config.acl_pubsub_default == "allchannels")

    def new(self, name: bytes) -> User:
        """A user who may do nothing, not among the others yet. Raises BadName."""
        if has_blank(name):
            raise BadName("Usernames can't contain spaces or null characters")
        return User(name, self._new_selector)

    def _new_default(self) -> User:
        """The default user as `requirepass` alone makes it."""
        user = self.new(DEFAULT)
        follow(user, OPEN_RULES)
        set_password(user, self.config.requirepass)
        return user

    def add(self, user: User) -> User:
        """Make `user` one of the users, or the one of its name what it is; returns that."""
        known = self.users.setdefault(user.name, user)
        if known is not user:
            known.become(user)
        return known

    def sorted(self) -> list[User]:
        return [user for _, user in sorted(self.users.items())]

    def require_password(self, password: str) -> None:
        """`requirepass` was set: it is the default user's only password, or it needs none."""
        set_password(self.default, password)

    def authenticate(self, name: bytes, password: bytes) -> User | None:
        """The user of this name, if it may log in so. Takes as long for one that does not exist."""
        user = self.users.get(name)
        right = (user or self.default).has_password(password)
        return user if user is not None and user.enabled and right else None

    # -- their file ----------------------------------------------------------------------------------------------

    def lines(self) -> list[bytes]:
        """What ACL LIST shows and the ACL file says: a line for each user."""
        return [b"user %b %b" % (user.name, user.rule_text()) for user in self.sorted()]

    def read_file(self) -> bytes:
        """Raises OSError."""
        with open(self.config.at(self.config.aclfile), "rb") as file:
            return file.read()

    def load(self, text: bytes) -> list[User]:
        """Have the users of an ACL file and no others; returns those that are no more. Raises BadAclFile.

        Without a line of its own the default user is what `requirepass` says.
        """
        users = self._parse(text)
        gone = [user for name, user in self.users.items() if name != DEFAULT]
        self.default.become(users.get(DEFAULT) or self._new_default())
        self.users = {**users, DEFAULT: self.default}
        return gone

    def _parse(self, text: bytes) -> dict[bytes, User]:
        users: dict[bytes, User] = {}
        problems = []
        for number, line in enumerate(text.split(b"\n"), 1):
            words = line.split()
            try:
                if words:
                    user = self._parse_line(words)
                    if user.name in users:
                        shown = user.name.decode("latin-1")
                        raise BadRule(f"Duplicate user '{shown}' found")
                    users[user.name] = user
            except BadRule as bad:
                problems.append(f"{self.config.aclfile}:{number}: {bad}.")
            except UnmatchedParenthesis:
                problems.append(f"{self.config.aclfile}:{number}: Unmatched parenthesis in selector definition.")
        if problems:
            raise BadAclFile(" ".join(problems))
        return users

    def _parse_line(self, words: list[bytes]) -> User:
        if words[0] != b"user" or len(words) < 2:
            raise BadRule("a line should start with user keyword followed by the username")
        user = self.new(words[1])
        follow(user, words[2:])
        return user

    # -- the configuration file ----------------------------------------------------------------------------------

    def tell_config(self) -> None:
        """Have CONFIG REWRITE write down the users as they are, a line that still says so as it was."""
        if self.config.aclfile:
            return
        told: dict[str, list[str]] = {}
        for user in self.sorted():
            name = as_text(user.name)
            words = self.config.users.get(name)
            if words is not None and self.configured(name, words).rule_text() == user.rule_text():
                told[name] = words
            elif user is not self.default or user.rule_text() != self._new_default().rule_text():
                told[name] = as_text(user.rule_text()).split(" ")
        self.config.users = told


def set_password(user: User, password: str) -> None:
    """`password` is the only one; empty: none is needed."""
    user.reset_passwords(no_password=not password)
    if password:
        user.add_password(hashed(as_bytes(password)))


def as_bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def as_text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")

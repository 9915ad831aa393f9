"""Users: whether they may log in, with what, and their selectors.

    on off nopass >password #hash <password !hash resetpass (rules ...) clearselectors reset

and, for the first selector, the rules of `perdure.acl.selectors`. Passwords are kept as SHA-256, in hexadecimal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from perdure.acl.selectors import BadRule, Denial, Selector
from perdure.registry import Args, Command

is_hash: Final = re.compile(rb"[0-9a-f]{64}").fullmatch

NO_HASH: Final = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
NO_SUCH_PASSWORD: Final = "The password you are trying to remove from the user does not exist"


def hashed(password: bytes) -> bytes:
    return sha256(password).hexdigest().encode()


class UnmatchedParenthesis(Exception):
    """A selector does not end. `opening` is the word it begins with."""

    def __init__(self, opening: bytes) -> None:
        super().__init__(opening)
        self.opening = opening


def whole_selectors(words: Iterable[bytes]) -> Iterator[bytes]:
    """`words`, the ones of each `(...)` put together. Raises UnmatchedParenthesis."""
    open_words: list[bytes] = []
    for word in words:
        if open_words or (word.startswith(b"(") and not word.endswith(b")")):
            open_words.append(word)
            if word.endswith(b")"):
                yield b" ".join(open_words)
                open_words = []
        else:
            yield word
    if open_words:
        raise UnmatchedParenthesis(open_words[0])


class User:
    """One user. Sessions hold on to it, so it changes in place: see `become`.

    `new_selector` makes an empty one.
    """

    __slots__ = (
        "_new_selector", "enabled", "name", "no_password", "passwords", "payload", "selectors", "unrestricted",
    )  # fmt: skip

    def __init__(self, name: bytes, new_selector: Callable[[], Selector]) -> None:
        self.name = name
        self._new_selector = new_selector
        self.enabled = False
        self.no_password = False
        self.passwords: dict[bytes, None] = {}
        self.payload = b""
        """sanitize-payload or skip-sanitize-payload, if that was said: it is remembered, RESTORE always checks."""
        self.selectors = [new_selector()]
        self.unrestricted = False
        """May the user do everything? What the hot path wants to know: see `Session.update_gate`."""

    def __repr__(self) -> str:
        return f"<User {self.name!r}>"

    @property
    def root(self) -> Selector:
        """What stands outside parentheses."""
        return self.selectors[0]

    @property
    def open(self) -> bool:
        """May anybody be this user?"""
        return self.enabled and self.no_password

    def copy(self) -> User:
        twin = User(self.name, self._new_selector)
        twin.become(self)
        return twin

    def become(self, other: User) -> None:
        """Take over everything but the name."""
        self.enabled, self.no_password, self.payload = other.enabled, other.no_password, other.payload
        self.passwords = other.passwords.copy()
        self.selectors = [selector.copy() for selector in other.selectors]
        self.unrestricted = other.unrestricted

    # -- rules ---------------------------------------------------------------------------------------------------

    def apply(self, word: bytes) -> None:
        """Follow one rule. Raises BadRule, and has changed nothing then."""
        keyword = KEYWORDS.get(word.lower())
        secret = SECRETS.get(word[:1])
        if keyword is not None:
            keyword(self)
        elif secret is not None:
            secret(self, word[1:])
        elif word.startswith(b"(") and word.endswith(b")"):
            self._add_selector(word[1:-1].split())
        elif word:
            self.root.apply(word)
        self.unrestricted = any(selector.unrestricted for selector in self.selectors)

    def _add_selector(self, words: list[bytes]) -> None:
        selector = self._new_selector()
        for word in words:
            selector.apply(word)
        self.selectors.append(selector)

    def switch(self, on: bool) -> None:
        self.enabled = on

    def set_payload(self, how: bytes) -> None:
        self.payload = how

    def reset_passwords(self, *, no_password: bool = False) -> None:
        """None is right any more; or, with `no_password`, all are."""
        self.no_password = no_password
        self.passwords = {}

    def add_password(self, hash_: bytes) -> None:
        if not is_hash(hash_):
            raise BadRule(NO_HASH)
        self.no_password = False
        self.passwords[hash_] = None

    def remove_password(self, hash_: bytes) -> None:
        if not is_hash(hash_):
            raise BadRule(NO_HASH)
        if hash_ not in self.passwords:
            raise BadRule(NO_SUCH_PASSWORD)
        del self.passwords[hash_]

    def clear_selectors(self) -> None:
        del self.selectors[1:]

    def reset(self) -> None:
        """Off, no passwords, no rights: what a new user is."""
        self.become(User(self.name, self._new_selector))
        self.payload = b"sanitize-payload"

    def flags(self) -> list[bytes]:
        """As ACL GETUSER shows them."""
        told = (b"on" if self.enabled else b"off", b"nopass" if self.no_password else b"", self.payload)
        return [flag for flag in told if flag]

    def rule_text(self) -> bytes:
        """The rules that make a new user what this one is."""
        passwords = [b"#" + hash_ for hash_ in self.passwords]
        further = [b"(%b)" % selector.rule_text() for selector in self.selectors[1:]]
        return b" ".join([*self.flags(), *passwords, self.root.rule_text(), *further])

    # -- what they allow -----------------------------------------------------------------------------------------

    def has_password(self, password: bytes) -> bool:
        """Takes the same time wherever the difference is."""
        wanted = hashed(password)
        same = [compare_digest(wanted, each) for each in self.passwords]
        return self.no_password or any(same)

    def denial(self, command: Command, argv: Args) -> Denial | None:
        """Why the user may not make this call; None when it may. Arguments need not be right."""
        if self.unrestricted:
            return None
        denials = []
        for selector in self.selectors:
            denial = selector.denial(command, argv)
            if denial is None:
                return None
            denials.append(denial)
        return max(denials, key=lambda denial: denial.weight)

    def reads_all_keys(self, command: Command, argv: Args) -> bool:
        """May this call read keys that it does not name, as those of SORT's BY and GET?"""
        return any(each.reads_all_keys() and each.denial(command, argv) is None for each in self.selectors)

    def may_listen(self, channel: bytes, *, pattern: bool = False) -> bool:
        """May it be, or stay, subscribed to this?"""
        return any(selector.allows_channel(channel, pattern=pattern) for selector in self.selectors)


KEYWORDS: Final[dict[bytes, Callable[[User], None]]] = {
    b"on": lambda user: user.switch(True),
    b"off": lambda user: user.switch(False),
    b"nopass": lambda user: user.reset_passwords(no_password=True),
    b"resetpass": lambda user: user.reset_passwords(),
    b"sanitize-payload": lambda user: user.set_payload(b"sanitize-payload"),
    b"skip-sanitize-payload": lambda user: user.set_payload(b"skip-sanitize-payload"),
    b"clearselectors": lambda user: user.clear_selectors(),
    b"reset": lambda user: user.reset(),
}
SECRETS: Final[dict[bytes, Callable[[User, bytes], None]]] = {
    b">": lambda user, password: user.add_password(hashed(password)),
    b"<": lambda user, password: user.remove_password(hashed(password)),
    b"#": User.add_password,
    b"!": User.remove_password,
}


def follow(user: User, words: Iterable[bytes]) -> None:
    """Make `user` what the rules say. Raises BadRule, UnmatchedParenthesis."""
    for word in [*whole_selectors(words)]:
        try:
            user.apply(word)
        except BadRule as bad:
            bad.rule = word
            raise

"""What tests of users stand on: a clock that is set by hand, and a sealer with a key of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from hub.core.accounts import UserStore
from hub.core.call import Grants
from hub.identity.oauth.asked import Login
from hub.identity.roles import Role, Roles
from hub.identity.users import Users
from hub.stores.memory.users import MemoryUsers

PASSWORD = "correct horse battery"
OTHER = "staple of another kind"
HERE, THERE = "192.0.2.1", "198.51.100.7"
ROLES = Roles({"ops": Role("ops", frozenset({"mcp"}), Grants(frozenset({"jira"}), ("jira__*",)))})


@dataclass
class Clock:
    at: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


class KeySealer:
    def __init__(self) -> None:
        self._key = AESGCM(AESGCM.generate_key(256))

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._key.encrypt(nonce, plain, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes | None:
        try:
            return self._key.decrypt(sealed[:12], sealed[12:], bound)
        except InvalidTag:
            return None


@dataclass
class People:
    """Users, and what those who watch them were told."""

    store: UserStore = field(default_factory=MemoryUsers)
    clock: Clock = field(default_factory=Clock)
    sealer: KeySealer = field(default_factory=KeySealer)
    told: list[str] = field(default_factory=list)
    users: Users = field(init=False)

    def __post_init__(self) -> None:
        self.users = self.anew()
        self.users.watch(self.told.append)

    def anew(self) -> Users:
        """Another process on the same store, before it loads."""
        return Users(self.store, ROLES, self.sealer, self.clock)

    async def login(self, name: str = "ada", password: str = PASSWORD, code: str | None = None, at: str = HERE) -> str:
        """ "password", "otp", or why not."""
        found = await self.users.check(name, password, code, at)
        return found.strength if isinstance(found, Login) else found.kind

    def code(self, secret: bytes, steps: int = 0) -> str:
        return TOTP(secret, 6, SHA1(), 30).generate(self.clock.at + steps * 30).decode()

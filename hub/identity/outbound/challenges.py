"""What servers said that they want, by the last one who was refused: kept in memory, until somebody logs in."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from hub.core.connections import SHARED
from hub.identity.outbound.challenge import Challenge

MOST: Final = 5000


class Challenges:
    """By server and account. One event loop uses it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._said: OrderedDict[tuple[str, str], Challenge] = OrderedDict()

    def said(self, server: str, account: str, challenge: Challenge) -> None:
        """The newest counts; where it does not say where the server describes itself, what was said before does."""
        before = self._said.pop((server, account), None)
        if challenge.metadata is None and before is not None and before.metadata is not None:
            challenge = Challenge(before.metadata, challenge.scopes, challenge.error)
        self._said[server, account] = challenge
        while len(self._said) > self._most:
            self._said.popitem(last=False)

    def of(self, server: str, account: str) -> Challenge:
        """What this account was told there, or else what everybody is; an empty one of a server that said nothing."""
        own, everybodys = self._said.get((server, account)), self._said.get((server, SHARED))
        if own is None or (own.metadata is None and everybodys is not None):
            found = own or everybodys or Challenge()
            metadata = None if everybodys is None else everybodys.metadata
            return Challenge(metadata, found.scopes, found.error)
        return own

    def met(self, server: str, account: str) -> None:
        """A login gave what was wanted: what is left is where the server describes itself."""
        before = self._said.pop((server, account), None)
        if before is not None and before.metadata is not None:
            self._said[server, account] = Challenge(before.metadata)

    def forget(self, server: str, account: str) -> None:
        self._said.pop((server, account), None)

    def __len__(self) -> int:
        return len(self._said)

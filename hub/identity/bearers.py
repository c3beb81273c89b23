"""Bearer tokens that were verified a moment ago, and what they may still be taken for.

Owns the one cache of verified tokens: by SHA-256, a minute at most, flushed by revocation. A token that is not in it
goes to the one verifier that claims it. Whatever goes wrong there, nobody is let in.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import time
from typing import Final

from hub.core.call import Principal
from hub.identity.issuers import Unanswered
from hub.identity.keys import token_hash
from hub.identity.verified import Verified, Verifier

log = logging.getLogger(__name__)

MAX_TOKEN: Final = 16_384  # characters; access tokens that list a person's groups take 10 KB
AT_ONCE: Final = 64  # verifications that callers wait for
BEHIND: Final = 8  # verifications that nobody waits for
DEADLINE_S: Final = 10.0
REFUSED_S: Final = 5.0  # a token that was refused is not looked at again for so long
REFUSED: Final = 2048
AGAIN_S: Final = 5.0  # least between two verifications of one token behind its callers
TRIES: Final = 3  # of one admission, when revocations keep overtaking it
REMEMBERED: Final = 1024  # revocations that a verification in flight is compared with
LOG_EVERY_S: Final = 60.0

Claims = Callable[[str], bool]


@dataclass(slots=True)
class _Entry:
    verified: Verified
    since: float  # when its verification began
    until: float
    fresh_until: float  # from then on it is verified again behind whoever asks


class Bearers:
    """One event loop uses it. `aclose` ends what it has under way."""

    def __init__(
        self,
        verifiers: Sequence[tuple[Claims, Verifier]],
        clock: Callable[[], float] = time,
        *,
        fresh_s: float = 30.0,
        stale_s: float = 60.0,
        most: int = 10_000,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """The first verifier that claims a token is the only one that sees it. `clock` gives seconds since 1970."""
        self._verifiers, self._clock = tuple(verifiers), clock
        self._fresh_s, self._stale_s, self._most, self._deadline_s = fresh_s, stale_s, most, deadline_s
        self._known: dict[str, _Entry] = {}  # by hash; whoever was verified longest ago first
        self._refused: dict[str, float] = {}  # until when, by hash; the oldest first
        self._waited: dict[str, asyncio.Task[None]] = {}
        self._behind: dict[str, asyncio.Task[None]] = {}
        self._forgotten: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)
        self._generation = 0  # how many were ever forgotten
        self._logged_at = float("-inf")

    def principal(self, digest: str, token: str) -> Principal | None:
        """Whom a token with this hash was verified to stand for, at most a minute ago. Never waits.

        The very same object as long as nothing about the caller changed.
        """
        entry = self._known.get(digest)
        if entry is None:
            return None
        now = self._clock()
        if entry.since <= now < entry.fresh_until:
            return entry.verified.principal
        if not entry.since <= now < entry.until:  # a clock that was put back makes nothing last longer
            return None
        if digest not in self._behind and digest not in self._waited and len(self._behind) < BEHIND:
            entry.fresh_until = min(now + AGAIN_S, entry.until)
            self._start(self._behind, digest, token)
        return entry.verified.principal

    async def admit(self, token: str) -> Principal | None:
        """Verify a token that `principal` did not know, once for all who ask at the same time; any doubt is None."""
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            return None
        digest = token_hash(token)
        if (found := self.principal(digest, token)) is not None:
            return found
        if self._is_refused(digest):
            return None
        task = self._waited.get(digest) or self._behind.get(digest)
        if task is None or task.done():
            if len(self._waited) >= AT_ONCE:
                self._complain("too many tokens are being verified at once; new ones are refused for now")
                return None
            task = self._start(self._waited, digest, token)
        await asyncio.wait({task})  # a caller who goes away leaves the others their answer
        return self.principal(digest, token)  # not the task's own: what was forgotten meanwhile stands there no more

    def forget(self, *, user: str | None = None, family: str | None = None, jti: str | None = None) -> int:
        """Take back what was verified for this user, grant or token, and what is being verified now. How many went.

        The next request is verified anew: whoever took the right away did so before this is called.
        """
        names = [(kind, name) for kind, name in (("user", user), ("family", family), ("jti", jti)) if name is not None]
        self._forgotten.extend(names)
        self._generation += len(names)
        gone = [digest for digest, entry in self._known.items() if _concerns(entry.verified, names)]
        for digest in gone:
            del self._known[digest]
        return len(gone)

    def forget_all(self) -> None:
        """As `forget`, of every token: what is made of verified claims has changed."""
        self._generation += len(self._forgotten) + 1
        self._known.clear()

    async def aclose(self) -> None:
        """End the verifications under way."""
        tasks = [*self._waited.values(), *self._behind.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, among: dict[str, asyncio.Task[None]], digest: str, token: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._verify(digest, token), name="verify a token")
        among[digest] = task

        def done(ended: asyncio.Task[None]) -> None:
            if among.get(digest) is ended:
                del among[digest]
            if not ended.cancelled():
                ended.exception()  # who waits for it finds no entry; nobody else has to be told

        task.add_done_callback(done)
        return task

    async def _verify(self, digest: str, token: str) -> None:
        """What comes of it stands in the cache, or among the refused."""
        try:
            async with asyncio.timeout(self._deadline_s):
                for _ in range(TRIES):
                    began, generation = self._clock(), self._generation
                    verified = await self._ask(token)
                    if verified is None or not self._overtaken(verified, generation):
                        break
                else:
                    verified = None
            if verified is not None:
                self._keep(digest, verified, began)
                return
            self._known.pop(digest, None)
        except Unanswered as exc:  # what was verified before stands until its minute is over
            self._complain(f"tokens cannot be verified, and nobody is let in with them: {exc}")
        except Exception as exc:  # an error anywhere denies; its words may quote the token
            self._complain(f"a token could not be verified ({type(exc).__name__}), and nobody is let in with it")
        self._refuse(digest)

    async def _ask(self, token: str) -> Verified | None:
        verifier = next((verifier for claims, verifier in self._verifiers if claims(token) is True), None)
        if verifier is None:
            return None
        verified = await verifier.verify(token)
        if verified is None:
            return None
        if type(verified) is not Verified or type(verified.principal) is not Principal:
            raise TypeError("a verifier gave something else than a verified principal")
        return verified if verified.expires_at > self._clock() else None  # NaN is greater than nothing

    def _keep(self, digest: str, verified: Verified, began: float) -> None:
        old = self._known.pop(digest, None)
        if old is not None and old.verified.principal == verified.principal:
            verified = replace(verified, principal=old.verified.principal)
        until = min(verified.expires_at, began + self._stale_s)
        fresh_s = max(min(self._fresh_s, (until - began) / 2), AGAIN_S)
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[digest] = _Entry(verified, began, until, min(began + fresh_s, until))
        self._refused.pop(digest, None)

    def _overtaken(self, verified: Verified, generation: int) -> bool:
        """Whether it was forgotten while it was being verified."""
        since = self._generation - generation
        if since > len(self._forgotten):
            return True  # more than are remembered: any of them may have been this one
        return since > 0 and _concerns(verified, list(self._forgotten)[-since:])

    def _is_refused(self, digest: str) -> bool:
        until, now = self._refused.get(digest), self._clock()
        return until is not None and until - REFUSED_S <= now < until

    def _refuse(self, digest: str) -> None:
        self._refused.pop(digest, None)
        while len(self._refused) >= REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[digest] = self._clock() + REFUSED_S

    def _complain(self, words: str) -> None:
        """At most once a minute: whoever sends tokens decides how often they fail."""
        now = self._clock()
        if not 0 <= now - self._logged_at < LOG_EVERY_S:
            self._logged_at = now
            with suppress(Exception):
                log.warning("%s", words)


def _concerns(verified: Verified, names: Sequence[tuple[str, str]]) -> bool:
    for kind, name in names:
        own = verified.principal.user if kind == "user" else verified.family if kind == "family" else verified.jti
        if own == name:
            return True
    return False

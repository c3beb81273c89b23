"""Tokens that the hub gets in its own name (client_credentials), as a connection that everybody shares."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from hub.core import errors
from hub.core.connections import SHARED
from hub.core.errors import HubError
from hub.identity.outbound.acts import HUB
from hub.identity.outbound.errors import OutboundFailed, Unavailable
from hub.identity.outbound.parts import Parts
from hub.identity.outbound.refresher import Granted, Unusable

log = logging.getLogger(__name__)

AGAIN_S: Final = 30.0  # after one that failed, nobody asks again so long
GET_S: Final = 60.0  # discovery and the token; each request of them has its own bound


@dataclass(frozen=True, slots=True)
class _Failed:
    error: errors.DownstreamError
    until: float  # by the steady clock


class OwnName:
    """One event loop uses it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, _Failed] = {}

    async def connect(self, server: str) -> None:
        """Have a connection there: one for all who wait. Raises NeedsLogin, where an admin has to look, or Unreachable.

        A waiting caller may be cancelled; what it waited for goes on for the others.
        """
        flight = self._flights.get(server)
        if flight is None:
            failed = self._failed.get(server)
            if failed is not None and self._parts.clocks.steady() < failed.until:
                raise type(failed.error)(server, failed.error.text)
            flight = asyncio.create_task(self._fly(server), name=f"tokens for {server}")
            self._flights[server] = flight
        await asyncio.wait({flight})
        failed = self._failed.get(server)
        if failed is not None:
            raise type(failed.error)(server, failed.error.text)

    async def aclose(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    async def _fly(self, server: str) -> None:
        failed: errors.DownstreamError | None = None
        try:
            async with asyncio.timeout(GET_S):
                await self._get(server)
        except (Unavailable, TimeoutError) as exc:
            failed = errors.Unreachable(server, f"its issuer gives no token now: {exc or 'it took too long'}")
        except (OutboundFailed, Unusable) as exc:
            failed = errors.NeedsLogin(server, f"the hub gets no token in its own name: {exc}")
        except HubError as exc:
            failed = errors.Unreachable(server, f"its token could not be stored or logged: {exc}")
        except Exception as exc:  # the outermost of this task
            log.exception("getting a token for %s broke", server)
            failed = errors.Unreachable(server, f"getting its token broke ({type(exc).__name__})")
        finally:
            del self._flights[server]
        self._failed.pop(server, None)
        if failed is not None:
            log.warning("%s", failed)
            self._failed[server] = _Failed(failed, self._parts.clocks.steady() + AGAIN_S)

    async def _get(self, server: str) -> None:
        parts, key = self._parts, (SHARED, server, "")
        challenge = parts.challenges.of(server, SHARED)
        parts.attempts.check(key, challenge)
        place, client, tokens = await parts.clients.own(server, challenge)
        issuer, scopes = place.issuers[0], tokens.scopes or ()
        row = await parts.connections.keep(
            Granted(SHARED, server, issuer, place.resource, client.id, tokens, scopes, grant="client_credentials")
        )
        parts.attempts.logged_in(key)
        try:
            await parts.acts.logged_in(HUB, row)
        except BaseException:  # what the log does not take is not given
            await parts.connections.remove(row.id)
            raise

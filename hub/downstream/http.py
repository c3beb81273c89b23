"""Opens a link to an MCP url: which era it speaks, and the link for that era.

It owns the order in which the ways of speaking are tried, and their time. What an answer means is read by
`negotiate.py`; the links themselves are `http_modern.py`, `http_legacy.py` and `sse.py`.
"""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import Final

from hub.core.errors import DownstreamError, Late, Unreachable
from hub.downstream.credential import Credential, Credentials
from hub.downstream.envelope import stamped
from hub.downstream.http_answer import Answer, Reply, Unheard
from hub.downstream.http_bearer import speaker
from hub.downstream.http_hop import NO_HEADERS, Hop
from hub.downstream.http_legacy import LegacyLink
from hub.downstream.http_modern import ModernLink
from hub.downstream.http_stream import FIRST_S
from hub.downstream.http_verdict import UNSUPPORTED_VERSION, error_code
from hub.downstream.link import Exchange, Link, LinkEvents, Peer, ServerSpec, as_dict
from hub.downstream.negotiate import (
    INITIALIZE,
    SSE_MAY_HELP,
    NotModern,
    better_error,
    read_discovery,
    read_initialized,
)
from hub.downstream.sse import connect_sse
from hub.wire import jsonrpc
from hub.wire.headers import routing_headers
from hub.wire.revisions import LATEST_MODERN

PROBE_S: Final = 5.0  # for `server/discover`, before `initialize` gets its turn
MUTE_S: Final = 3600.0  # how long a server that swallowed the probe is spoken to as legacy first


class HttpOpener:
    """An Opener for `http`, and of links for one account alone.

    It remembers which servers never answer a probe, so that a reconnect is quick.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        *,
        credentials: Credentials | None = None,
        probe_s: float = PROBE_S,
        reopen_s: float = FIRST_S,
    ) -> None:
        """`tls`: other trust than the system's. `reopen_s`: before an ended standing stream is opened again.

        `credentials`: whom links speak for that are opened for nobody.
        """
        self._tls, self._credentials, self._probe_s, self._reopen_s = tls, credentials, probe_s, reopen_s
        self._mute: dict[str, float] = {}  # by server: until when

    async def __call__(self, spec: ServerSpec, events: LinkEvents, /, credential: Credential | None = None) -> Link:
        """`credential`: of the account it is opened for; None: it is everybody's."""
        within_s = spec.timeouts.connect_s + spec.timeouts.initialize_s
        hop = Hop(spec, self._tls, credential=speaker(spec, credential, self._credentials))
        try:
            async with asyncio.timeout(within_s):
                await hop.token()  # one that has to be renewed first takes nothing from the probe's time
                return await self._open(spec, events, hop)
        except TimeoutError as exc:
            hop.connections.close()
            raise Unreachable(spec.id, f"did not finish its handshake in {within_s:g} s") from exc
        except BaseException:
            hop.connections.close()
            raise

    async def _open(self, spec: ServerSpec, events: LinkEvents, hop: Hop) -> Link:
        patience = spec.timeouts.initialize_s
        if spec.era == "modern":
            return await self._modern(spec, events, hop, await self._discover(spec, events, hop, patience))
        probe: DownstreamError | None = None
        mute_until = self._mute.pop(spec.id, 0.0)
        if spec.era == "auto" and mute_until < monotonic():
            found = await self._discover(spec, events, hop, min(self._probe_s, patience))
            if isinstance(found, Peer) or found.final:
                return await self._modern(spec, events, hop, found)
            probe = found.error
        reply = await _ask(hop, events, "initialize", patience)
        if spec.era == "auto" and error_code(reply) == UNSUPPORTED_VERSION:  # modern, and too slow for the probe
            return await self._modern(spec, events, hop, await self._discover(spec, events, hop, patience))
        try:
            peer, session = read_initialized(spec.id, reply)
        except Unreachable as exc:
            if reply.status not in SSE_MAY_HELP:
                raise better_error(probe, exc) from exc
            return await self._older(spec, events, hop, better_error(probe, exc))
        self._mute[spec.id] = monotonic() + MUTE_S if isinstance(probe, Late) else mute_until
        link = LegacyLink(spec, events, hop, peer, session)
        await link.start(self._reopen_s)
        return link

    async def _modern(self, spec: ServerSpec, events: LinkEvents, hop: Hop, found: Peer | NotModern) -> Link:
        if isinstance(found, NotModern):
            raise found.error
        link = ModernLink(spec, events, hop, found)
        await link.start(self._reopen_s)
        return link

    async def _older(self, spec: ServerSpec, events: LinkEvents, hop: Hop, otherwise: DownstreamError) -> Link:
        """HTTP+SSE, the last thing that an url may speak."""
        try:
            return await connect_sse(spec, events, hop)
        except DownstreamError as exc:
            raise otherwise from exc

    async def _discover(self, spec: ServerSpec, events: LinkEvents, hop: Hop, within_s: float) -> Peer | NotModern:
        """Raises Unreachable when nobody is there at all; every other failure is no evidence."""
        try:
            reply = await _ask(hop, events, "server/discover", within_s)
            if _refused_and_offered(reply):
                reply = await _ask(hop, events, "server/discover", within_s)
            return read_discovery(spec.id, reply)
        except Unreachable:
            raise
        except DownstreamError as exc:
            return NotModern(exc)


def _refused_and_offered(reply: Reply) -> bool:
    """Whether it refuses the hub's version and names that very version among its own: then it is asked again, once."""
    if error_code(reply) != UNSUPPORTED_VERSION:
        return False
    error = as_dict((as_dict(reply.message) or {}).get("error")) or {}
    supported = (as_dict(error.get("data")) or {}).get("supported")
    return isinstance(supported, list) and LATEST_MODERN in supported


async def open_http(spec: ServerSpec, events: LinkEvents) -> Link:
    """An Opener for `http` without memory."""
    return await HttpOpener()(spec, events)


async def _ask(hop: Hop, events: LinkEvents, method: str, within_s: float) -> Reply:
    exchange = Exchange(within_s, monotonic() + within_s, 4 * 1024 * 1024)
    if method == "initialize":
        params, headers = INITIALIZE, NO_HEADERS
    else:
        params = stamped({}, exchange, 0, LATEST_MODERN)
        headers = routing_headers(method, params, LATEST_MODERN)
    body = jsonrpc.dumps(jsonrpc.request(0, method, params))
    bystander = Unheard(events.noise)
    answer = await hop.post(
        body, headers, exchange, lambda: Answer(hop.server, 0, exchange, bystander), replayable=True
    )
    return answer.done.result()

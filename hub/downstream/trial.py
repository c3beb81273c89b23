"""Starts one server for a look, under the rules every server is started by, and ends it again. Keeps nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hub.core.call import Item, Kind
from hub.core.errors import DownstreamError
from hub.downstream.definitions import KINDS
from hub.downstream.health import Health, PoolEvents
from hub.downstream.link import Link, Opener, ServerSpec, Transport
from hub.downstream.listing import Fetched, fetch, offers
from hub.downstream.pool import Pool
from hub.downstream.shelf import Lists, Shelf, build

ATTEMPT_SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Tried:
    health: Health  # its reason says what went wrong
    shelf: Shelf  # what it would offer, under the names it would have

    def items(self, kind: Kind) -> tuple[Item, ...]:
        return self.shelf.items.get(kind, ())


async def try_out(
    spec: ServerSpec, openers: Mapping[Transport, Opener], stderr: Callable[[str], tuple[str, ...]]
) -> Tried:
    """The verdict of one attempt to connect, and its lists. Raises nothing of the server's making.

    Whatever it started is ended when this returns or is cancelled.
    """
    spec = replace(spec, enabled=True)
    pool = Pool((spec,), openers, _DEAF, stderr=stderr, drain_s=0.0)
    lists = Lists()
    try:
        await pool.start()
        try:
            link = await pool.started(spec.id, spec.timeouts.connect_s + spec.timeouts.initialize_s + ATTEMPT_SLACK_S)
            lists = await _listed(spec, link)
            health = pool.health()[0]
        except DownstreamError as exc:
            found = pool.health()[0]
            health = replace(found, state="down" if found.state == "ready" else found.state, reason=_reason(found, exc))
    finally:
        await pool.aclose()
    return Tried(health, build(spec, lists, {}))


async def _listed(spec: ServerSpec, link: Link) -> Lists:
    """Raises DownstreamError."""
    found: dict[Kind, Fetched] = {kind: await fetch(spec, link, kind) for kind in KINDS if offers(link.peer, kind)}
    cuts = {kind: fetched.cut for kind, fetched in found.items() if fetched.cut is not None}
    return Lists({kind: fetched.definitions for kind, fetched in found.items()}, link.peer, cuts)


def _reason(health: Health, exc: DownstreamError) -> str:
    return health.reason if health.state in ("down", "needs_login") and health.reason else exc.text


_DEAF = PoolEvents(
    up=lambda server, link: None, changed=lambda health: None, notified=lambda server, method, params: None
)

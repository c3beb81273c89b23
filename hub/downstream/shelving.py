"""How what was fetched becomes a shelf: the same for lists that everybody sees and for those of one account.

A definition stands on a shelf only when its approval is durable. Keeps nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hub.core.call import Kind
from hub.downstream.link import ServerSpec
from hub.downstream.pinbook import PinBook
from hub.downstream.refresher import Round
from hub.downstream.shelf import Lists, Shelf, build

log = logging.getLogger(__name__)

BUILT_INLINE: Final = 200  # items; longer lists are made into shelves off the loop

LIST_CHANGED: Final[Mapping[str, tuple[Kind, ...]]] = {
    "notifications/tools/list_changed": ("tool",),
    "notifications/prompts/list_changed": ("prompt",),
    "notifications/resources/list_changed": ("resource", "template"),
}


async def shelved(pins: PinBook, spec: ServerSpec, lists: Lists) -> Shelf:
    """The shelf of these lists, its first sights recorded."""
    async with pins.deciding(spec.id):  # else two lists of one server could both be the first to say what a tool is
        approved = pins.of(spec.id)
        if sum(len(listed) for listed in lists.by_kind.values()) > BUILT_INLINE:
            shelf = await asyncio.to_thread(build, spec, lists, approved)
        else:
            shelf = build(spec, lists, approved)
        await pins.record(spec.id, shelf.first_sights)
    return shelf


def merged(lists: Lists, round: Round) -> Lists:
    """The lists after one round: what was not fetched stays as it was."""
    cuts = {kind: cut for kind, cut in lists.cuts.items() if kind not in round.fetched}
    cuts.update({kind: fetched.cut for kind, fetched in round.fetched.items() if fetched.cut is not None})
    by_kind = {**lists.by_kind, **{kind: fetched.definitions for kind, fetched in round.fetched.items()}}
    return replace(lists, by_kind=by_kind, peer=round.peer, cuts=cuts)


def warned(shelf: Shelf, before: frozenset[str]) -> frozenset[str]:
    """Say what differs from what was approved, but for those (`Changed.sha256`) that were said before; all of them."""
    for changed in shelf.changed:
        if changed.sha256 not in before:
            log.warning(
                "%s of %s differs from what was approved%s; see `mcp-hub servers diff %s`",
                changed.public,
                changed.server,
                " and is hidden" if shelf.spec.pins == "quarantine" else "",
                changed.server,
            )
    return frozenset(changed.sha256 for changed in shelf.changed)

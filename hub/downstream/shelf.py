"""One server's items, made from what it listed and what was approved. Immutable; a pure function of its inputs.

Owns names, quarantine of malformed definitions, and the comparison with approved ones. Knows no endpoint and no link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from hub.core.call import Item, Json, Kind
from hub.core.names import public_name, public_uri, publish_definition
from hub.core.ports import Pin
from hub.downstream.definitions import KEY, KINDS, MAX_BYTES, canonical, digest, fault, steady, without_nulls
from hub.downstream.link import Peer, ServerSpec

MAX_PINS: Final = 20_000  # first sights trusted per server: a server that invents names for ever fills no disk
MAX_PROBLEMS: Final = 100

Approved = Mapping[tuple[Kind, str], Pin]


@dataclass(frozen=True, slots=True)
class Lists:
    """What one server listed, as it listed it."""

    by_kind: Mapping[Kind, tuple[Any, ...]] = field(default_factory=dict)
    peer: Peer | None = None
    cuts: Mapping[Kind, str] = field(default_factory=dict)  # lists that go on beyond what is kept

    def of(self, kind: Kind) -> tuple[Any, ...]:
        return self.by_kind.get(kind, ())


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of a list that is not shown, and why."""

    kind: Kind
    item: str  # the native name, shortened; or its place in the list
    text: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A definition that differs from the approved one."""

    server: str
    kind: Kind
    native: str
    public: str
    old: Json | None  # None: never seen before, and more first sights than are trusted
    new: Json
    sha256: str  # of what would be approved: names exactly this definition


@dataclass(frozen=True, slots=True)
class Shelf:
    spec: ServerSpec
    peer: Peer | None = None
    items: Mapping[Kind, tuple[Item, ...]] = field(default_factory=dict)  # under public names, in their order
    bare: Mapping[Kind, tuple[Item, ...]] = field(default_factory=dict)  # the same items under their own names
    problems: tuple[Problem, ...] = ()
    changed: tuple[Changed, ...] = ()
    first_sights: tuple[Pin, ...] = ()


def build(spec: ServerSpec, lists: Lists, approved: Approved) -> Shelf:
    """The shelf of one server. May be long (20 us an item and more): call it off the loop for long lists."""
    making = _Making(spec, approved)
    for kind in KINDS:
        making.add_all(kind, lists.of(kind))
        if kind in lists.cuts:
            making.report(kind, "the list", lists.cuts[kind])
    bare = {kind: tuple(sorted(found, key=_by_name)) for kind, found in making.items.items()}
    return Shelf(
        spec,
        lists.peer,
        items={kind: tuple(replace(item, shown=shown(item)) for item in found) for kind, found in bare.items()},
        bare=bare,
        problems=tuple(making.problems),
        changed=tuple(making.changed),
        first_sights=tuple(making.first_sights),
    )


def steadied(old_lists: Lists, old: Shelf | None, lists: Lists, shelf: Shelf) -> tuple[Lists, Shelf]:
    """The new lists and shelf of a server, with the very old items of each kind that has the same ones.

    Asked again, a server mostly says the same: what is remembered of its items by identity then stands, and its
    definitions are kept once.
    """
    if old is None or old.problems != shelf.problems:  # lists that are made into equal items may differ in what is none
        return lists, shelf
    same = {kind for kind in KINDS if _same(old.bare.get(kind, ()), shelf.bare.get(kind, ()))}
    by_kind = {kind: old_lists.of(kind) if kind in same else lists.of(kind) for kind in lists.by_kind}
    items = {kind: old.items[kind] if kind in same else found for kind, found in shelf.items.items()}
    bare = {kind: old.bare[kind] if kind in same else found for kind, found in shelf.bare.items()}
    return replace(lists, by_kind=by_kind), replace(shelf, items=items, bare=bare)


def _same(old: tuple[Item, ...], new: tuple[Item, ...]) -> bool:
    return len(old) == len(new) and all(
        (a.name, a.native, a.sha256, a.writes, a.changed) == (b.name, b.native, b.sha256, b.writes, b.changed)
        for a, b in zip(old, new, strict=True)
    )


def shown(item: Item) -> Json:
    """The definition of an item as clients of a prefixing endpoint read it."""
    rename: Callable[[str], str] = partial(public_uri, item.server)
    return publish_definition({**item.definition, KEY[item.kind]: item.name}, rename)


def _by_name(item: Item) -> str:
    return item.name


class _Making:
    """Work in progress of one `build`."""

    def __init__(self, spec: ServerSpec, approved: Approved) -> None:
        self.spec, self.approved = spec, approved
        self.items: dict[Kind, list[Item]] = {kind: [] for kind in KINDS}
        self.problems: list[Problem] = []
        self.changed: list[Changed] = []
        self.first_sights: list[Pin] = []

    def report(self, kind: Kind, item: str, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, item if len(item) <= 80 else f"{item[:79]}…", text))

    def add_all(self, kind: Kind, listed: tuple[Any, ...]) -> None:
        names: set[str] = set()
        for place, given in enumerate(listed):
            if not isinstance(given, Mapping):
                self.report(kind, f"entry {place}", "must be an object")
                continue
            definition = without_nulls(given)
            native = definition.get(KEY[kind])
            label = native if isinstance(native, str) and native else f"entry {place}"
            why = fault(kind, definition)
            if why is not None or not isinstance(native, str):
                self.report(kind, label, why or "has no name")
                continue
            data = canonical(definition)
            if len(data) > MAX_BYTES:
                self.report(kind, label, f"is larger than {MAX_BYTES} bytes")
                continue
            name = (public_name if KEY[kind] == "name" else public_uri)(self.spec.id, native)
            if name in names:  # by name also catches the same native name: names are a function of it
                self.report(kind, label, f"is listed twice, or shares the public name {name} with another")
                continue
            names.add(name)
            self.items[kind].append(self._item(kind, native, name, definition, data))

    def _item(self, kind: Kind, native: str, name: str, definition: Json, data: bytes) -> Item:
        sha = digest(data)
        hints = definition.get("annotations")
        reads = self.spec.trusted and isinstance(hints, Mapping) and hints.get("readOnlyHint") is True
        item = Item(kind, self.spec.id, name, native, definition, definition, sha, kind == "tool" and not reads)
        return replace(item, changed=True) if self._differs(item) else item

    def _differs(self, item: Item) -> bool:
        """Whether the item is to be hidden; notes first sights and changes."""
        if self.spec.pins == "off":
            return False
        kept = steady(item.kind, item.definition)
        sha = item.sha256 if kept is item.definition else digest(canonical(kept))
        pin = self.approved.get((item.kind, item.native))
        if pin is None and len(self.approved) + len(self.first_sights) < MAX_PINS:
            self.first_sights.append(Pin(item.server, item.kind, item.native, sha, item.definition))
            return False
        if pin is not None and pin.sha256 == sha:
            return False
        old = None if pin is None else pin.definition
        self.changed.append(Changed(item.server, item.kind, item.native, item.name, old, item.definition, sha))
        return self.spec.pins == "quarantine"

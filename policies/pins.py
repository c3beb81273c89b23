"""Hides an item whose definition differs from the approved one, on servers whose pins quarantine."""

from __future__ import annotations

from hub.core.call import AnyArguments, Call, Denied, Item, Json
from hub.core.ports import Allowed

_ALLOWED = Allowed()
_CHANGED = Denied("policy", "pins: the definition differs from the approved one")


class Pins:
    """The comparison is the catalogue's, made once per list: `Item.changed`."""

    name = "pins"
    steady = True

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied:
        return _CHANGED if item.changed else _ALLOWED

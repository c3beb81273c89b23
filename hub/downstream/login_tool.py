"""The tool that stands for a server which lists nothing to an account before it has logged in there.

It is the hub's own: no server is asked, and nothing that a server lists can be taken for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hub.core.call import Item, Json
from hub.core.names import public_name
from hub.downstream.definitions import canonical, digest
from hub.downstream.link import ServerSpec
from hub.downstream.shelf import Shelf, shown

NATIVE: Final = "log_in"

# The very object is in every definition made here, and can be in no other: those come from the wire.
_INPUT: Final[Json] = {"type": "object", "properties": {}, "additionalProperties": False}


def login_tool(spec: ServerSpec) -> Item:
    """The tool under its own name, for endpoints that leave names alone; its public name is `Item.name`."""
    definition: dict[str, Any] = {
        "name": NATIVE,
        "title": f"Connect {spec.id}",
        "description": (
            f"Connects the user's own account at the server '{spec.id}', whose tools are listed only after that. "
            f"Call this when something of '{spec.id}' is needed. The answer has the address of a page: ask the user to "
            "open it in a browser and to log in there, which nobody else can do for them. The server's tools then "
            "appear in the list of tools by themselves."
        ),
        "inputSchema": _INPUT,
        "annotations": {
            "title": f"Connect {spec.id}",
            "readOnlyHint": True,  # it changes nothing: the user does, at the page
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": True,
        },
    }
    name, sha = public_name(spec.id, NATIVE), digest(canonical(definition))
    return Item("tool", spec.id, name, NATIVE, definition, definition, sha, writes=False)


def is_login_tool(item: Item) -> bool:
    """Whether a call of it offers a login; a server's own tool of that name, or a copy of this one, never does."""
    return item.definition.get("inputSchema") is _INPUT


def login_shelf(spec: ServerSpec) -> Shelf:
    """What stands in the place of the server's list."""
    item = login_tool(spec)
    return Shelf(spec, items={"tool": (replace(item, shown=shown(item)),)}, bare={"tool": (item,)})

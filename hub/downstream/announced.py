"""Which of its lists a server says it reports changes of, and how it says so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hub.core.call import Json
from hub.downstream.link import as_dict

CHANGES: Final[Mapping[str, tuple[str, str]]] = {  # capability: (member of a listen's filter, notification)
    "tools": ("toolsListChanged", "notifications/tools/list_changed"),
    "prompts": ("promptsListChanged", "notifications/prompts/list_changed"),
    "resources": ("resourcesListChanged", "notifications/resources/list_changed"),
}


def announced(capabilities: Json) -> tuple[str, ...]:
    """The capabilities whose `listChanged` is declared."""
    return tuple(name for name in CHANGES if (as_dict(capabilities.get(name)) or {}).get("listChanged") is True)

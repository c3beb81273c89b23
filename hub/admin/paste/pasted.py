"""What a paste says of one server before anything is judged: its own words, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hub.core.call import Json


class Wrong(ValueError):
    """This server cannot be taken as it is pasted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Input:
    """A value that the paste leaves to whoever pastes it."""

    prompt: str = ""
    secret: bool | None = None  # None: as its name and its place say
    default: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pasted:
    """`entry` has the members of an `mcpServers` entry in any program's spelling; its texts may have holes."""

    name: str
    entry: Json
    inputs: Mapping[str, Input] = field(default_factory=dict)  # by the name of the hole
    warnings: tuple[str, ...] = ()
    fault: str | None = None  # why it cannot be taken

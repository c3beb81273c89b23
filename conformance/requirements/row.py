"""The shape of one requirement, and the three things that can be said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["tested", "divergence", "deferred"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that the specification asks of a hub.

    `section`: revision and page of the specification. `tests`: node ids from the root of the repository; together they
    prove the behaviour. `reason`: why the hub does otherwise, or does not do it yet.
    """

    id: str
    section: str
    behaviour: str
    status: Status
    tests: tuple[str, ...] = ()
    reason: str = ""


def tested(id: str, section: str, behaviour: str, *tests: str) -> Requirement:
    """The hub does this, and these tests show it."""
    return Requirement(id, section, behaviour, "tested", tests)


def divergence(id: str, section: str, behaviour: str, reason: str, *tests: str) -> Requirement:
    """The hub does something else on purpose; the tests show what."""
    return Requirement(id, section, behaviour, "divergence", tests, reason)


def deferred(id: str, section: str, behaviour: str, reason: str) -> Requirement:
    """The hub does not do this yet."""
    return Requirement(id, section, behaviour, "deferred", (), reason)

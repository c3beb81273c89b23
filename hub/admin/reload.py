"""Reading the configuration file anew because an administrator asks for it. The log's entry is the reload's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from hub.admin.operation import Answer, Asked, Operation, Refused
from hub.admin.schemas import TEXTS, answered

MAX_TOLD: Final = 100  # faults of one answer
RELOADED: Final = answered({"changed": TEXTS, "restart": TEXTS, "trouble": TEXTS})


class Fault(Protocol):
    @property
    def line(self) -> int | None: ...
    @property
    def where(self) -> str: ...
    @property
    def text(self) -> str: ...


class Reloaded(Protocol):
    @property
    def changed(self) -> Sequence[str]: ...
    @property
    def faults(self) -> Sequence[Fault]: ...
    @property
    def restart(self) -> Sequence[str]: ...


class Reloads(Protocol):
    """The configuration in force."""

    async def reload(self, who: str) -> Reloaded:
        """Whole or, with faults, not at all; logged either way."""

    def trouble(self) -> Sequence[str]:
        """What is stored or written, and not in force, in words."""


def operations(reloads: Reloads) -> tuple[Operation, ...]:
    async def reload(asked: Asked) -> Answer:
        done = await reloads.reload(asked.who.name)
        if done.faults:
            raise Refused(422, "invalid_configuration", _words(done.faults), faults=_shown(done.faults))
        told = {"changed": list(done.changed), "restart": list(done.restart), "trouble": list(reloads.trouble())}
        return Answer(told)

    return (
        Operation(
            "POST",
            "/reload",
            "config.reload",
            "read the configuration file anew, whole or not at all",
            reload,
            answer=RELOADED,
        ),
    )


def _words(faults: Sequence[Fault]) -> str:
    first = faults[0]
    place = f"line {first.line}: " if first.line is not None else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    where = f"{first.where}: " if first.where else ""
    return f"the file has a fault, and what was in force still is: {place}{where}{first.text}{more}"


def _shown(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    return [{"line": each.line, "where": each.where, "text": each.text} for each in faults[:MAX_TOLD]]

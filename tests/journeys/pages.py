"""What a page of the docs has people do, as steps in their order. Pure.

A comment before a block says what is done with it:

    <!-- run -->            each line is typed into a terminal and succeeds
    <!-- run: exits N -->   it ends with this exit status
    <!-- run: the hub -->   it is what starts the hub, which goes on running
    <!-- file: NAME -->     it is saved as this file
    <!-- prints -->         lines that the block before it printed, in this order; `…` stands for anything
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Act = Literal["run", "hub", "file", "prints"]

_STEP: Final = re.compile(
    r"^<!-- (run|run: exits \d|run: the hub|file: \S+|prints) -->\n\n?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Step:
    act: Act
    text: str
    name: str = ""  # of a file
    status: int = 0  # that it exits with


def steps(page: str) -> tuple[Step, ...]:
    return tuple(_step(found[1], found[3]) for found in _STEP.finditer(page))


def unmarked(page: str) -> list[str]:
    """Blocks of commands that nothing says what to do with."""
    marked = {found.start(3) for found in _STEP.finditer(page)}
    blocks = re.finditer(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [found[1] for found in blocks if found.start(1) not in marked]


def _step(mark: str, text: str) -> Step:
    kind, _, rest = mark.partition(": ")
    if kind == "file":
        return Step("file", text, rest)
    if kind == "prints":
        return Step("prints", text)
    if rest == "the hub":
        return Step("hub", text)
    return Step("run", text, status=int(rest.removeprefix("exits ") or 0))


def missing(wanted: str, printed: str) -> str | None:
    """The first line of `wanted` that was not printed behind those before it; None when all were."""
    lines = [_bare(line) for line in printed.splitlines()]
    at = 0
    for line in filter(str.strip, wanted.splitlines()):
        shape = re.compile(".*".join(re.escape(part.strip()) for part in _bare(line).split("…")))
        found = next((n for n in range(at, len(lines)) if shape.fullmatch(lines[n])), None)
        if found is None:
            return line
        at = found + 1
    return None


def _bare(line: str) -> str:
    """Columns are as wide as their widest cell, which differs from day to day."""
    return re.sub(r"\s+", " ", line).strip()

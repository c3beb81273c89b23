"""Output of the verbs: plain aligned text for people, JSON for scripts, progress on standard error.

What servers and callers wrote is never passed to a terminal as it came: control characters are spelled out.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

PATIENCE_S: Final = 2.0  # silence that people take for a hang


def out(text: str) -> None:
    print(text, flush=True)


def note(text: str) -> None:
    print(f"mcp-hub: {text}", file=sys.stderr, flush=True)


def out_json(value: Any, *, indent: int | None = 2) -> None:
    """ASCII only: safe for any terminal and any locale."""
    out(json.dumps(value, indent=indent))


def out_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for line in table(head, rows):
        out(line)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns as wide as their widest cell; the last one runs free."""
    cells = [list(head), *([plain("-" if cell in (None, "") else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def plain(text: str, keep: str = "") -> str:
    """The text with what is not printable spelled out, but for the characters of `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else f"\\u{ord(char):04x}" for char in text)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say what is being waited for, once it takes longer than people like."""
    timer = threading.Timer(PATIENCE_S, note, (f"{text} ...",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

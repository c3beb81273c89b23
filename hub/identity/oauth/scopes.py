"""Scopes as clients write them. Pure.

`mcp` is every server the user reaches; `mcp:server:ID` and `mcp:tool:GLOB` narrow that, as they narrow keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hub.core.names import SERVER_ID

MAX_SCOPES: Final = 32
MAX_LENGTH: Final = 1024  # of all together: they travel in every access token
ADMIN: Final = frozenset({"admin", "audit:read"})
SERVER, TOOL = "mcp:server:", "mcp:tool:"
_IGNORED: Final = frozenset({"offline_access"})  # refresh tokens come without asking
_GLOB: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749 §3.3: no blank, quote or backslash


def parse(text: str | None) -> tuple[str, ...] | None:
    """The scopes asked for, each once, in order; empty when there are none. None: one of them is not ours."""
    if text is None:
        return ()
    if len(text) > MAX_LENGTH:
        return None
    found = tuple(dict.fromkeys(scope for scope in text.split(" ") if scope and scope not in _IGNORED))
    return found if len(found) <= MAX_SCOPES and all(is_scope(scope) for scope in found) else None


def is_scope(scope: str) -> bool:
    if scope == "mcp" or scope in ADMIN:
        return True
    if scope.startswith(SERVER):
        id = scope.removeprefix(SERVER)
        return id == "*" or SERVER_ID.fullmatch(id) is not None
    return scope.startswith(TOOL) and _GLOB.fullmatch(scope.removeprefix(TOOL)) is not None


def is_within(asked: Iterable[str], granted: Iterable[str]) -> bool:
    """Whether nothing that `asked` reaches is beyond `granted`.

    A subset of strings is not enough: a scope that narrows, left out, would widen what the others reach.
    """
    asked, granted = frozenset(asked), frozenset(granted)
    if not asked & ADMIN <= granted or ("mcp" in asked and "mcp" not in granted):
        return False
    if not asked - ADMIN:
        return True
    return bool(granted - ADMIN) and _servers_within(asked, granted) and _tools_within(asked, granted)


def _servers_within(asked: frozenset[str], granted: frozenset[str]) -> bool:
    named, bound = _of(SERVER, asked), _of(SERVER, granted)
    if not bound:  # tools alone reach no prompt and no resource, and a server would
        return "mcp" in granted or not named
    return SERVER + "*" in bound or (bool(named) and named <= bound)


def _tools_within(asked: frozenset[str], granted: frozenset[str]) -> bool:
    named, bound = _of(TOOL, asked), _of(TOOL, granted)
    return not bound or (bool(named) and (named <= bound or TOOL + "*" in bound))


def _of(kind: str, scopes: frozenset[str]) -> frozenset[str]:
    return frozenset(scope for scope in scopes if scope.startswith(kind))

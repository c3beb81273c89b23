"""What a downstream says when it wants a token, or a better one: the Bearer challenge (RFC 9110 §11.6.1, RFC 6750 §3).

Read by the grammar and no other way: a header that does not fit it says nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hub.identity.outbound.parties import MAX_SCOPES, is_scope

MAX_HEADER: Final = 8192
MAX_URL: Final = 2048
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME: Final = re.compile(rf"({_WORD})(?= |\t|,|$)")
_SECRET: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")  # token68, of other schemes
_PARAMETER: Final = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~])*)"|({_WORD}))')
_BLANKS: Final = re.compile(r"[ \t]*")
_COMMAS: Final = re.compile(r"[ \t]*(?:,[ \t]*)*")
_QUOTED: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    metadata: str | None = None  # where the server describes itself (RFC 9728 §5.1); not looked at yet
    scopes: tuple[str, ...] = ()  # that the request needs
    error: str | None = None

    @property
    def is_step_up(self) -> bool:
        """The token is good, and not good enough."""
        return self.error == "insufficient_scope"


def challenge(header: str | None) -> Challenge:
    """The first Bearer challenge of a `WWW-Authenticate`; an empty one when there is none that can be read."""
    try:
        whole = list(_challenges(header or ""))
    except ValueError:
        return Challenge()
    found = next((fields for scheme, fields in whole if scheme.lower() == "bearer"), {})
    scopes, metadata = tuple(dict.fromkeys(found.get("scope", "").split(" "))), found.get("resource_metadata")
    scopes = tuple(scope for scope in scopes if scope)
    if len(scopes) > MAX_SCOPES or not all(map(is_scope, scopes)):
        return Challenge()
    return Challenge(metadata if metadata and len(metadata) <= MAX_URL else None, scopes, found.get("error"))


def _challenges(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Raises ValueError where the header ends to fit the grammar, and where a parameter stands twice."""
    if len(header) > MAX_HEADER:
        raise ValueError("too long")
    at = _end(_COMMAS, header, 0)
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            raise ValueError("no scheme")
        at, fields = _fields(header, _end(_BLANKS, header, scheme.end()))
        yield scheme[1], fields


def _fields(header: str, at: int) -> tuple[int, dict[str, str]]:
    """The parameters that start there, or the one secret (token68), and where the next challenge does."""
    fields: dict[str, str] = {}
    if _PARAMETER.match(header, at) is None:
        secret = _SECRET.match(header, at)
        end = at if secret is None else secret.end()
        if secret is None and at < len(header) and header[at] != ",":
            raise ValueError("no challenge")
        return _end(_COMMAS, header, end), fields
    while (found := _PARAMETER.match(header, at)) is not None:
        name = found[1].lower()
        if name in fields:
            raise ValueError("twice")
        fields[name] = found[3] if found[2] is None else _QUOTED.sub(r"\1", found[2])
        at = _end(_BLANKS, header, found.end())
        if at < len(header) and header[at] != ",":
            raise ValueError("no comma")
        at = _end(_COMMAS, header, at)
    return at, fields


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()

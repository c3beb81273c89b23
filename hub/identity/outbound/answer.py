"""The answer to an authorization request: whether it is one to ours, and the code in it (RFC 6749 §4.1.2, RFC 9207)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from hub.identity.outbound.asking import Begun
from hub.identity.outbound.errors import Refused, Unfit

MAX_CODE: Final = 4096
_KNOWN: Final = frozenset({"state", "iss", "code", "error"})


def code_in(begun: Begun, query: Sequence[tuple[str, str]]) -> str:
    """`query` is the answer's, decoded, in its order. Raises Unfit; Refused with the issuer's error.

    An error is looked at only after it is known to be this issuer's (RFC 9207 §2.4).
    """
    said: dict[str, str] = {}
    for name, value in query:
        if name in _KNOWN and name in said:  # RFC 6749 §3.1: one of the two is somebody else's
            raise Unfit(f"the answer says {name} twice")
        said[name] = value
    if not hmac.compare_digest(said.get("state", "").encode(errors="replace"), begun.state.encode()):
        raise Unfit("the answer is to another login (state)")
    check_issuer(begun, said.get("iss"))
    if "error" in said:
        raise Refused(said["error"], "the issuer")
    code = said.get("code", "")
    if not 0 < len(code) <= MAX_CODE or not code.isascii() or not code.isprintable():
        raise Unfit("the answer holds no code")
    return code


def check_issuer(begun: Begun, iss: str | None) -> None:
    """Byte for byte: a spelling that leads to the same place is another issuer (RFC 3986 §6.2.1). Raises Unfit."""
    if iss is None and begun.is_naming:
        raise Unfit("the issuer's answers name it, and this one does not: it is another's (iss)")
    if iss is not None and iss != begun.issuer:
        raise Unfit("the answer is another issuer's (iss)")

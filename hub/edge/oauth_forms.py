"""Queries and form bodies, within their bounds, and whether a form comes from a page of ours."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from hub.edge.body import Fault, read_body
from hub.edge.oauth_ports import Pairs

BODY_BYTES: Final = 64 * 1024
BODY_S: Final = 10.0
QUERY_BYTES: Final = 8 * 1024
FIELDS: Final = 64
FORM: Final = "application/x-www-form-urlencoded"


def query_of(request: Request) -> Pairs | None:
    """In the order they came, repeated ones too; None when it is no query, or too large."""
    raw: bytes = request.scope.get("query_string", b"")
    return _pairs(raw) if len(raw) <= QUERY_BYTES else None


async def body_of(request: Request) -> bytes | Fault:
    return await read_body(request.scope, request.receive, request.headers.get("content-length"), BODY_BYTES, BODY_S)


async def form_of(request: Request) -> Pairs | str:
    """The fields, or why there are none: "unsupported_media", "malformed", or what is wrong with the body."""
    if media_of(request) != FORM:
        return "unsupported_media"
    body = await body_of(request)
    if isinstance(body, str):
        return body
    found = _pairs(body)
    return "malformed" if found is None else found


def media_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def once(pairs: Pairs) -> dict[str, str] | None:
    """By name; None when one came twice, since nobody can say which was meant."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def is_from_here(request: Request, issuer: str) -> bool:
    """Whether a browser sent this form from a page of ours. What sends neither header is judged by the token alone."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None or origin == "null":  # "null" is what our pages send: they have a policy of no referrer
        return True
    return origin == issuer or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def address_of(request: Request) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""


def _pairs(raw: bytes) -> Pairs | None:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:  # not ASCII, not UTF-8 under its escapes, or too many
        return None

"""What an HTTP answer means: a result, an error about the call itself, or a failure of the hop. Pure.

A failure of the hop (credentials, sessions, headers, versions) is the hub's to deal with and is never told to a
client as if it were the hub's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hub.core.call import Era, Json
from hub.core.errors import DownstreamError, Garbled, Lost, NeedsLogin
from hub.downstream.correlate import read_result
from hub.downstream.http_answer import Reply
from hub.downstream.link import as_dict

CHALLENGE: Final = "www-authenticate"
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
_STEP_UP: Final = re.compile(r'\berror[ \t]*=[ \t]*"?insufficient_scope\b', re.IGNORECASE)
_SESSION_CODES: Final = frozenset({-32600, -32000, -32001})  # what servers say at HTTP 400 about a session


@dataclass(frozen=True, slots=True)
class Trouble:
    """The hop failed."""

    error: DownstreamError
    ends_link: bool = False  # what was negotiated no longer holds: connect anew
    stale: bool = False  # the server knows another definition than the hub: list again


def judge(server: str, reply: Reply, method: str, era: Era, session: bool) -> Json | Trouble:
    """The result, or what is wrong with the hop. Raises Refused and Garbled for what the server says of the call."""
    message = as_dict(reply.message)
    if reply.status == 200 and message is not None and "result" in message and "error" not in message:
        return read_result(server, message, method, modern=era == "modern")
    trouble = _hop(server, reply, era, session)
    if trouble is not None:
        return trouble
    if message is None or not ("error" in message or ("result" in message and reply.status < 300)):
        return Trouble(Garbled(server, refusal(reply.status)), ends_link=reply.status in (404, 405, 410))
    return read_result(server, message, method, modern=era == "modern")


def error_code(reply: Reply) -> int | None:
    """Of a JSON-RPC error, however it was delivered."""
    message = as_dict(reply.message) or {}
    code = (as_dict(message.get("error")) or {}).get("code")
    return code if type(code) is int else None


def refusal(status: int) -> str:
    """Words for an HTTP status that stands where an MCP message should."""
    if 300 <= status < 400:
        return (
            f"answers with HTTP {status}, a redirect, which the hub does not follow; put the final url into its entry"
        )
    if status < 300:
        return f"accepted the request with HTTP {status} and gave no answer"
    if status in (404, 405, 410):
        return f"answers with HTTP {status}; there is no MCP at its url (any more)"
    if status == 429:
        return "answers with HTTP 429; it wants fewer requests"
    return f"answers with HTTP {status} instead of MCP; look into its own log"


def wants_login(status: int, headers: Mapping[str, str]) -> bool:
    """Whether it did nothing for want of a token, or of one that may do more (RFC 6750 §3.1)."""
    return status == 401 or (status == 403 and _STEP_UP.search(headers.get(CHALLENGE, "")) is not None)


def login(server: str, status: int) -> NeedsLogin:
    if status == 401:
        return NeedsLogin(server, "answers with HTTP 401; set or renew its credential in `headers`")
    return NeedsLogin(server, "answers with HTTP 403; its credential in `headers` is not enough for this")


def _hop(server: str, reply: Reply, era: Era, session: bool) -> Trouble | None:
    status, code = reply.status, error_code(reply)
    if status in (401, 403):
        return Trouble(login(server, status), ends_link=status == 401)
    if session and (status == 404 or (status == 400 and code in _SESSION_CODES)):
        return Trouble(Lost(server, "has ended the hub's session; the hub starts another one"), ends_link=True)
    if code == UNSUPPORTED_VERSION or (era == "legacy" and code == HEADER_MISMATCH):
        text = "no longer speaks the protocol version it had agreed to; the hub negotiates anew"
        return Trouble(Garbled(server, text), ends_link=True)
    if code == HEADER_MISMATCH:
        text = "refused the request's headers; its definitions may have changed, list them again"
        return Trouble(Garbled(server, text), stale=True)
    if era == "modern" and status == 400 and code in _SESSION_CODES and not _about_the_call(reply):
        text = "asks for a session, which it did not need before; the hub negotiates anew"
        return Trouble(Garbled(server, text), ends_link=True)
    return None


def _about_the_call(reply: Reply) -> bool:
    """A server that wants a session refuses before it has read the request, so it cannot name its id."""
    message = as_dict(reply.message) or {}
    words = (as_dict(message.get("error")) or {}).get("message")
    return type(message.get("id")) is int and "session" not in str(words).lower()

"""What the answers to the first requests say about the other side: its era, its revision, what it offers. Pure.

Positive evidence makes a server modern, and nothing else does: every other answer to `server/discover` leaves the word
to `initialize`, because servers answer an unknown method in every way there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import DownstreamError, Garbled, NeedsLogin, Unreachable
from hub.downstream.envelope import CLIENT_INFO, SERVER_INFO_KEY
from hub.downstream.http_answer import Reply
from hub.downstream.http_verdict import UNSUPPORTED_VERSION, error_code, login, refusal
from hub.downstream.link import Peer, as_dict
from hub.wire.revisions import LATEST_LEGACY, LEGACY, MODERN

INITIALIZE: Final[Json] = {"protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
SSE_MAY_HELP: Final = frozenset({400, 404, 405, 406, 415})  # what HTTP+SSE servers answer a POST to their stream's url


@dataclass(frozen=True, slots=True)
class NotModern:
    """No evidence of a modern server."""

    error: DownstreamError  # in case nothing else works either
    final: bool = False  # it is modern, but shares no version with the hub


def read_discovery(server: str, reply: Reply) -> Peer | NotModern:
    """What an answer to `server/discover` says."""
    message = as_dict(reply.message) or {}
    result = as_dict(message.get("result"))
    if reply.status < 300 and result is not None:
        versions = result.get("supportedVersions")
        if isinstance(versions, list):
            return _chosen(server, versions, result)
    if reply.status in (401, 403):
        return NotModern(login(server, reply.status))
    code = error_code(reply)
    if code == UNSUPPORTED_VERSION:
        return _disjoint(server, (as_dict(as_dict(message["error"]).get("data")) or {}).get("supported"))  # type: ignore[union-attr]
    if code is not None:
        return NotModern(Unreachable(server, f"refuses server/discover with error {code}"))
    return NotModern(Unreachable(server, refusal(reply.status)))


def read_initialized(server: str, reply: Reply) -> tuple[Peer, str | None]:
    """The peer and its session id. Raises DownstreamError; Unreachable leaves other transports to be tried."""
    message = as_dict(reply.message) or {}
    result = as_dict(message.get("result"))
    if reply.status < 300 and result is not None:
        return legacy_peer(server, result), _session(server, reply)
    if reply.status in (401, 403):
        raise login(server, reply.status)
    code = error_code(reply)
    if code is not None:
        raise Unreachable(server, f"refuses initialize with error {code}")
    raise Unreachable(server, refusal(reply.status))


def legacy_peer(server: str, result: Json) -> Peer:
    """What the result of `initialize` says. Raises Garbled."""
    revision = result.get("protocolVersion")
    if revision not in LEGACY:
        shown = revision[:40] if isinstance(revision, str) else "nothing"
        raise Garbled(server, f"wants to speak MCP {shown!r}; the hub speaks {', '.join((*MODERN, *LEGACY))}")
    return _peer("legacy", revision, result, as_dict(result.get("serverInfo")))


def better_error(probe: DownstreamError | None, handshake: DownstreamError) -> DownstreamError:
    """Which of the two to tell: what an operator can act on goes first."""
    if isinstance(probe, NeedsLogin) and not isinstance(handshake, NeedsLogin):
        return probe
    return handshake


def _chosen(server: str, versions: list[Any], result: Json) -> Peer | NotModern:
    for revision in MODERN:
        if revision in versions:
            meta = as_dict(result.get("_meta")) or {}
            info = as_dict(meta.get(SERVER_INFO_KEY)) or as_dict(result.get("serverInfo"))
            return _peer("modern", revision, result, info)
    return _disjoint(server, versions)


def _disjoint(server: str, versions: Any) -> NotModern:
    named = [v for v in versions if isinstance(v, str)] if isinstance(versions, list) else []
    error = Unreachable(server, f"speaks only MCP {', '.join(v[:20] for v in named[:8]) or 'of other versions'}")
    return NotModern(error, final=bool(named) and not any(v in LEGACY or v in MODERN for v in named))


def _peer(era: Any, revision: str, result: Json, info: Json | None) -> Peer:
    instructions = result.get("instructions")
    return Peer(
        era,
        revision,
        as_dict(result.get("capabilities")) or {},
        info or {},
        instructions if isinstance(instructions, str) else None,
    )


def _session(server: str, reply: Reply) -> str | None:
    session = reply.headers.get("mcp-session-id")
    if session is not None and not (session.isascii() and session.isprintable() and " " not in session and session):
        raise Garbled(server, "its session id is none: it holds more than visible ASCII")
    return session

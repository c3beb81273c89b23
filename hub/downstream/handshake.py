"""The first words with a server on a stream of messages: is it modern, or does it want `initialize`?

Sends and judges; it starts and restarts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Any, Final

from hub.core.call import Json
from hub.core.errors import Garbled, Late, Refused, Unreachable
from hub.downstream.correlate import Correlator
from hub.downstream.envelope import CLIENT_INFO, SERVER_INFO_KEY
from hub.downstream.link import Exchange, Peer, as_dict
from hub.wire.revisions import LATEST_LEGACY, LATEST_MODERN, LEGACY, MODERN

MAX_HELLO_BYTES: Final = 1024 * 1024
_UNSUPPORTED_VERSION: Final = -32022
_REVISION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


async def discover(correlator: Correlator, server: str, timeout_s: float) -> Peer | None:
    """Ask `server/discover`. None when it answered and is not modern, so that `initialize` should decide.

    Raises `Late` when it did not answer and what else the connection raises; `Unreachable` when it is modern and
    shares no revision with the hub.
    """
    try:
        answer = await correlator.request("server/discover", {}, _hello(timeout_s))
    except Garbled:
        return None
    except Refused as exc:
        supported = _names(as_dict(exc.error.get("data")), "supported")
        if exc.error.get("code") == _UNSUPPORTED_VERSION and supported and not set(supported) & set(LEGACY):
            raise Unreachable(server, f"it speaks only {_shown(supported)}, and the hub does not") from exc
        return None
    if LATEST_MODERN not in _names(answer, "supportedVersions"):
        return None
    meta = as_dict(answer.get("_meta")) or {}
    return Peer(
        era="modern",
        revision=LATEST_MODERN,
        capabilities=as_dict(answer.get("capabilities")) or {},
        info=as_dict(meta.get(SERVER_INFO_KEY)) or {},
        instructions=_text(answer.get("instructions")),
    )


async def initialize(correlator: Correlator, server: str, timeout_s: float) -> Peer | None:
    """The legacy handshake, declaring no capability. None when the answer shows that the server is modern.

    Raises `Unreachable` when it is refused, late or speaks no revision of the hub.
    """
    offer = {"protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
    try:
        answer = await correlator.request("initialize", offer, _hello(timeout_s))
    except Refused as exc:
        code = exc.error.get("code")
        if code == _UNSUPPORTED_VERSION and set(_names(as_dict(exc.error.get("data")), "supported")) & set(MODERN):
            return None
        raise Unreachable(server, f"it refused to initialize (error {code})") from exc
    except Late as exc:
        raise Unreachable(server, f"it did not answer initialize within {timeout_s:g} s") from exc
    except Garbled as exc:
        raise Unreachable(server, f"it answered initialize with nothing the hub can read: {exc.text}") from exc
    revision = answer.get("protocolVersion")
    if revision not in LEGACY:
        raise Unreachable(server, f"it speaks {_shown([revision])}, and the hub does not")
    await correlator.notify("notifications/initialized", {})
    return Peer(
        era="legacy",
        revision=revision,
        capabilities=as_dict(answer.get("capabilities")) or {},
        info=as_dict(answer.get("serverInfo")) or {},
        instructions=_text(answer.get("instructions")),
    )


def _hello(timeout_s: float) -> Exchange:
    deadline = inf if timeout_s == inf else monotonic() + timeout_s
    return Exchange(timeout_s=timeout_s, hard_deadline=deadline, max_bytes=MAX_HELLO_BYTES)


def _names(holder: Json | None, key: str) -> list[str]:
    given = holder.get(key) if isinstance(holder, Mapping) else None
    return [name for name in given if isinstance(name, str)] if isinstance(given, list) else []


def _shown(revisions: list[Any]) -> str:
    """Revisions are dates; whatever else a server sends is not repeated."""
    dates = [r for r in revisions[:5] if isinstance(r, str) and _REVISION.fullmatch(r)]
    return "protocol " + ", ".join(dates) if dates else "an unknown protocol revision"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

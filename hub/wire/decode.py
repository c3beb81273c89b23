"""A JSON-RPC message into a `Call`, or into the error that it gets. Pure: no await, no socket, no look-up.

Only shapes are judged here. Whether anything of that name exists, and for whom, is the pipeline's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hub.core.call import EMPTY, Back, Call, Client, Json, Principal
from hub.wire.asking import MAY_ASK, RESPONSES, STATE, retry_fault
from hub.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, is_id
from hub.wire.revisions import MODERN, SUPPORTED, counter_offer

Transport = Literal["http", "sse", "stdio"]
ParamHeaders = tuple[tuple[str, str], ...]

PREFIX: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = PREFIX + "protocolVersion"
CAPABILITIES_KEY: Final = PREFIX + "clientCapabilities"
INFO_KEY: Final = PREFIX + "clientInfo"
LEVEL_KEY: Final = PREFIX + "logLevel"
SERVER_INFO_KEY: Final = PREFIX + "serverInfo"
SUBSCRIPTION_KEY: Final = PREFIX + "subscriptionId"

UNSUPPORTED_VERSION: Final = -32022
HEADER_MISMATCH: Final = -32020

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_TRACE_KEYS: Final = frozenset({"traceparent", "tracestate", "baggage"})
_TRACE_CAP: Final = 8192  # W3C baggage: at most 8192 bytes; longer values are left out, not cut
_SELF_CAP: Final = 1024  # of a client's own name and version in the log


@dataclass(frozen=True, slots=True)
class Refusal:
    """A JSON-RPC error given before the pipeline. `status` is its HTTP status in the modern era."""

    code: int
    message: str
    data: Json | None = None
    status: int = 400


def decode(
    message: Json,
    *,
    call_id: str,
    who: Principal,
    endpoint: str,
    client: Client,
    size_bytes: int,
    deadline: float,
) -> Call | Refusal:
    """The call that a request asks for. The message has the shape of a request (`jsonrpc.shape`)."""
    method = message["method"]
    check = _CHECKS.get(method)
    if check is None:
        return unknown_method()
    params: Json = message.get("params", EMPTY)
    fault = check(params)
    if fault is None and (STATE in params or RESPONSES in params) and client.era == "modern" and method in MAY_ASK:
        fault = retry_fault(params)
    if fault is not None:
        return Refusal(INVALID_PARAMS, fault)
    return Call(call_id, who, endpoint, method, params, client, deadline, size_bytes, trace(params))


def unknown_method() -> Refusal:
    return Refusal(
        METHOD_NOT_FOUND, "Method not found: the hub has no such method in this protocol revision", None, 404
    )


def trace(params: Json) -> Json:
    """What of the trace context a request carries, by its own keys."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or _TRACE_KEYS.isdisjoint(meta):
        return EMPTY
    found = {key: meta[key] for key in sorted(_TRACE_KEYS) if key in meta}
    return {k: v for k, v in found.items() if isinstance(v, str) and len(v) <= _TRACE_CAP} if found else EMPTY


def progress_token(params: Json) -> str | int | None:
    """The client's own token, when it asked for progress."""
    meta = params.get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if is_id(token) else None


def modern_client(
    params: Json, back: Back, transport: Transport, param_headers: ParamHeaders | None = None
) -> Client | Refusal:
    """Who calls, from the envelope that every modern request carries in `params._meta`."""
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        return Refusal(INVALID_PARAMS, f"params._meta must be an object with {VERSION_KEY} and {CAPABILITIES_KEY}")
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]
    if missing:
        return Refusal(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}")
    fault = _envelope_fault(meta)
    if fault is not None:
        return Refusal(INVALID_PARAMS, fault)
    revision = meta[VERSION_KEY]
    if revision not in MODERN:
        return unsupported_version(revision)
    return Client(
        era="modern",
        revision=revision,
        capabilities=meta[CAPABILITIES_KEY],
        info=_self_description(meta.get(INFO_KEY)),
        log_level=meta.get(LEVEL_KEY),
        wants_progress="progressToken" in meta,
        transport=transport,
        param_headers=param_headers,
        back=back,
    )


def legacy_client(initialize_params: Json, transport: Transport, back: Back) -> Client:
    """Who calls, as its `initialize` said, at the revision that the hub answers with."""
    requested = initialize_params.get("protocolVersion")
    capabilities = initialize_params.get("capabilities")
    return Client(
        era="legacy",
        revision=counter_offer(requested if isinstance(requested, str) else ""),
        capabilities=capabilities if isinstance(capabilities, dict) else EMPTY,
        info=_self_description(initialize_params.get("clientInfo")),
        transport=transport,
        back=back,
    )


def unsupported_version(requested: str) -> Refusal:
    """Names what the hub speaks in either era, so that a client can choose."""
    return Refusal(
        UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        {"supported": [*SUPPORTED], "requested": requested[:_SELF_CAP]},
    )


def _envelope_fault(meta: Json) -> str | None:
    if not isinstance(meta[VERSION_KEY], str):
        return f"{VERSION_KEY} must be a string"
    capabilities = meta[CAPABILITIES_KEY]
    if not isinstance(capabilities, dict):
        return f"{CAPABILITIES_KEY} must be an object"
    for name, settings in capabilities.items():
        if not isinstance(settings, dict):
            return f"{CAPABILITIES_KEY}: every capability must be an object"
        if name in ("extensions", "experimental") and not all(isinstance(v, dict) for v in settings.values()):
            return f"{CAPABILITIES_KEY}: every entry of {name} must be an object"
    if INFO_KEY in meta and not isinstance(meta[INFO_KEY], dict):
        return f"{INFO_KEY} must be an object"
    if LEVEL_KEY in meta and meta[LEVEL_KEY] not in LOG_LEVELS:
        return f"{LEVEL_KEY} must be one of {', '.join(LOG_LEVELS)}"
    if "progressToken" in meta and not is_id(meta["progressToken"]):
        return "progressToken must be a string or an integer"
    return None


def _self_description(info: Any) -> Json:
    """A client's name and version, bounded: they go into every log entry."""
    if not isinstance(info, dict):
        return EMPTY
    return {k: v for k, v in info.items() if k in ("name", "version", "title") and _short(v)}


def _short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _SELF_CAP


def _list(params: Json) -> str | None:
    return None if isinstance(params.get("cursor", ""), str) else "params.cursor must be a string"


def _named(params: Json) -> str | None:
    if not isinstance(params.get("name"), str):
        return "params.name must be a string"
    if "arguments" not in params or isinstance(params["arguments"], dict):
        return None
    return "params.arguments must be an object, or absent"


def _read(params: Json) -> str | None:
    return None if isinstance(params.get("uri"), str) else "params.uri must be a string"


def _complete(params: Json) -> str | None:
    ref = params.get("ref")
    kind = ref.get("type") if isinstance(ref, Mapping) else None
    key = _REFS.get(kind) if isinstance(kind, str) else None
    if ref is None or key is None or not isinstance(ref.get(key), str):
        return 'params.ref must be {"type": "ref/prompt", "name": ...} or {"type": "ref/resource", "uri": ...}'
    argument = params.get("argument")
    if not isinstance(argument, Mapping) or not all(isinstance(argument.get(k), str) for k in ("name", "value")):
        return "params.argument must be an object with the strings name and value"
    context = params.get("context", EMPTY)
    if not isinstance(context, Mapping) or not isinstance(context.get("arguments", EMPTY), Mapping):
        return "params.context must be an object whose arguments are an object"
    return None


_REFS: Final = {"ref/prompt": "name", "ref/resource": "uri"}

_CHECKS: Final[Mapping[str, Callable[[Json], str | None]]] = {
    "tools/call": _named,
    "tools/list": _list,
    "prompts/list": _list,
    "prompts/get": _named,
    "resources/list": _list,
    "resources/templates/list": _list,
    "resources/read": _read,
    "completion/complete": _complete,
}

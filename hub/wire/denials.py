"""The one table of what a refused caller reads: every `Denied.code` with its words, JSON-RPC code and form.

Owns the wording of refusals; decides none of them. A denial's `reason` is for the log and is never written here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from hub.core.call import EMPTY, READS, Call, Denied, Effect, Json, One
from hub.wire.asking import MISSING_CAPABILITY, URL_ELICITATION_REQUIRED, opens_pages
from hub.wire.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

CALL_KEY: Final = "io.mcp-hub/call"
CODE_KEY: Final = "io.mcp-hub/code"
RETRY_KEY: Final = "io.mcp-hub/retryAfterS"

HEADER_MISMATCH: Final = -32020
RESOURCE_NOT_FOUND: Final = -32002  # legacy eras only; the modern one forbids it

Form = Literal["tool", "error"]  # "tool": a tool result with isError where the method has one, else an error


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal: what happened, what to do next when repeating is safe, and its codes."""

    code: str
    what: str
    next: str
    rpc: int
    form: Form = "tool"
    status: int = 200  # HTTP status in the modern era


_ROWS: Final = (
    Row("unknown_item", "", "List again for the names that are available.", INVALID_PARAMS, "error"),
    Row("rate_limited", "Too many calls in a short time.", "Wait, then call again.", -31001),
    Row(
        "invalid_arguments", "The arguments do not fit what this item declares.", "Correct them and call again.", -31002
    ),
    Row("policy", "A rule of this hub does not allow this call.", "Ask the hub's operator if it should.", -31003),
    Row("screened", "The hub's content screening stopped this call.", "Ask the hub's operator what it found.", -31004),
    Row(
        "result_invalid",
        "The server's answer does not fit the output schema that it declares, so it was withheld.",
        "Tell the operator of that server.",
        -31005,
    ),
    Row(
        "too_large",
        "The answer is larger than the hub passes on.",
        "Ask for less, for example a page or a filter.",
        -31006,
    ),
    Row("deadline", "The call's time was over before it was answered.", "Try again later, or ask for less.", -31007),
    Row("cancelled", "The call was cancelled.", "Call again if it is still wanted.", -31008),
    Row("downstream_down", "The server behind this item cannot be reached.", "Try again later.", -31009),
    Row("downstream_late", "The server behind this item did not answer in time.", "Try again later.", -31010),
    Row("downstream_lost", "The connection to the server behind this item broke.", "Try again.", -31011),
    Row(
        "downstream_garbled",
        "The server behind this item answered with something that is not MCP.",
        "Tell the operator of that server.",
        -31012,
    ),
    Row(
        "downstream_error",
        "The server behind this item refused the call.",
        "Read its error before another try.",
        -31013,
    ),
    Row(
        "needs_login",
        "The server behind this item does not accept the hub's credential.",
        "Ask the hub's operator to renew it.",
        -31014,
    ),
    Row("unsupported", "The hub does not offer this method here.", "", METHOD_NOT_FOUND, "error", 404),
    Row("budget", "The budget for this call is used up.", "Ask the hub's operator to raise it.", -31015),
    Row("approval_pending", "A person has to approve this call first.", "Call again once it is approved.", -31016),
    Row(
        "audit_unavailable",
        "The hub could not write its log, and without an entry it gives no answer.",
        "Try again later; tell the hub's operator.",
        -31017,
    ),
    Row("internal", "The hub failed to handle this call.", "Report the call id to the hub's operator.", INTERNAL_ERROR),
    Row(
        "gone",
        "This cursor or session is not, or no longer, valid here.",
        "Start again without it.",
        INVALID_PARAMS,
        "error",
    ),
    Row(
        "header_mismatch",
        "The request's headers and its body disagree.",
        "List the tools again and send the headers their schemas ask for.",
        HEADER_MISMATCH,
        "error",
        400,
    ),
    Row(
        "input_required",
        "The server needs an answer from the user, and this client's protocol revision cannot carry the question.",
        "Use a client of a newer revision.",
        -31018,
    ),
    Row(
        "missing_capability",
        "The server needs something of the client that the client did not declare for this request.",
        "Call again with it, from a client that has it.",
        MISSING_CAPABILITY,
        "error",
        400,
    ),
    Row(
        "state_refused",
        "The requestState of this call is missing, or not valid for it.",
        "Call again without requestState and inputResponses, to be asked anew.",
        INVALID_PARAMS,
        "error",
    ),
)

CODES: Final[Mapping[str, Row]] = {row.code: row for row in _ROWS}

_UNKNOWN: Final = {
    "tools/call": "Unknown tool.",
    "prompts/get": "Unknown prompt.",
    "resources/read": "Unknown resource.",
    "resources/subscribe": "Unknown resource.",
    "resources/unsubscribe": "Unknown resource.",
}
_OWN_LOGIN: Final = "The server behind this item wants its caller to log in."
_HALTED_BY_PAGES: Final = frozenset({"tools/call", "prompts/get", "resources/read", "resources/subscribe"})
_OUTCOME_UNKNOWN: Final = (
    "Whether it was carried out is not known: do not repeat it blindly, check the state it would have changed first."
)
_CARRIED_OUT: Final = "It was carried out: do not repeat it to obtain the answer."

_REFUSED_CODES: Final = {  # of what is refused before the pipeline, by JSON-RPC code
    PARSE_ERROR: "parse_error",
    INVALID_REQUEST: "invalid_request",
    METHOD_NOT_FOUND: "unsupported",
    INVALID_PARAMS: "invalid_params",
    HEADER_MISMATCH: "header_mismatch",
    -32022: "unsupported_version",
}


def answer(call: Call, denied: Denied) -> tuple[Json | None, Json | None, int]:
    """(result, error, HTTP status in the modern era); exactly one of result and error is set."""
    relayed = _relayable(call, denied)
    if relayed is not None:
        return None, relayed, 200
    row = CODES.get(denied.code, CODES["internal"])
    if denied.code == "needs_login" and denied.relayed is not None:
        row, pages = _own_login(row, denied.relayed)
        if pages and call.client.era == "legacy" and call.method in _HALTED_BY_PAGES and opens_pages(call.client):
            data = {"elicitations": pages, "_meta": _meta(call, row, denied)}
            text = f"{_OWN_LOGIN} {denied.told or ''}".rstrip()
            return None, {"code": URL_ELICITATION_REQUIRED, "message": text, "data": data}, 200
    if row.form == "tool" and call.method == "tools/call":
        text = _text(call, row, denied)
        return (
            {"content": [{"type": "text", "text": text}], "isError": True, "_meta": _meta(call, row, denied)},
            None,
            200,
        )
    return None, _error(call, row, denied), row.status


def _own_login(row: Row, relayed: Json) -> tuple[Row, list[Json]]:
    """The row in the words of a login that is the caller's own to make, and the pages where he can, if any."""
    data = relayed.get("data", EMPTY)
    pages = [page for page in data.get("elicitations", ()) if isinstance(page.get("url"), str)]
    next = f"Open {pages[0]['url']} to log in, then call again." if pages else "Call again to be asked anew."
    return replace(row, what=_OWN_LOGIN, next=next), pages


def own_meta(call_id: str, code: str) -> dict[str, Any]:
    """What every word of the hub's own carries in its `_meta`."""
    return {CALL_KEY: call_id, CODE_KEY: code}


def refused_code(rpc: int) -> str:
    """The hub's own code for an error that was given before the pipeline."""
    return _REFUSED_CODES.get(rpc, "refused")


def _error(call: Call, row: Row, denied: Denied) -> Json:
    data: dict[str, Any] = {"_meta": _meta(call, row, denied)}
    rpc = row.rpc
    if row.code == "unknown_item" and call.method.startswith("resources/"):
        data["uri"] = call.params.get("uri")
        if call.client.era == "legacy":
            rpc = RESOURCE_NOT_FOUND
    elif row.code == "missing_capability" and denied.relayed is not None:
        data.update(denied.relayed.get("data", EMPTY))
    return {"code": rpc, "message": _text(call, row, denied), "data": data}


def _text(call: Call, row: Row, denied: Denied) -> str:
    """Never the call id: what is hidden and what never was must read the same."""
    if row.code == "unknown_item":
        return f"{_UNKNOWN.get(call.method, 'Unknown item.')} {row.next}"
    parts = [row.what]
    if denied.told:
        parts.append(denied.told)
    if denied.effect is Effect.UNKNOWN and _may_write(call):
        parts.append(_OUTCOME_UNKNOWN)
    elif denied.effect is Effect.DONE and _may_write(call):
        parts.append(_CARRIED_OUT)
    elif denied.retry_after_s is not None:
        parts.append(f"Call again in {_seconds(denied.retry_after_s)} s.")
    elif row.next:
        parts.append(row.next)
    return ("\n" if "\n" in (denied.told or "") else " ").join(parts)  # a list keeps its lines to itself


def _meta(call: Call, row: Row, denied: Denied) -> dict[str, Any]:
    meta = own_meta(call.id, row.code)
    if denied.retry_after_s is not None and row.code != "unknown_item":
        meta[RETRY_KEY] = _seconds(denied.retry_after_s)
    return meta


def _seconds(wait_s: float) -> int:
    """Rounded up, at least one: a client that waits so long is not too early."""
    return max(1, math.ceil(wait_s)) if math.isfinite(wait_s) else 3600


def _may_write(call: Call) -> bool:
    """Edges hold the call as it came in, before Resolve: there only its method speaks."""
    if isinstance(call.target, One):
        return call.writes
    return call.method not in READS and not call.method.endswith("/list")


def _relayable(call: Call, denied: Denied) -> Json | None:
    """A downstream's own error about the call itself, whole; None for one about its hop, which stays here."""
    relayed = denied.relayed
    if denied.code != "downstream_error" or relayed is None:
        return None
    code = relayed.get("code")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(relayed.get("message"), str):
        return None
    if code in (PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND) or -32099 <= code <= -32020:
        return None
    if call.client.era == "modern" and code in (
        RESOURCE_NOT_FOUND,
        URL_ELICITATION_REQUIRED,
    ):  # reserved: never emitted there
        return {**relayed, "code": INVALID_PARAMS} if code == RESOURCE_NOT_FOUND else None
    return relayed

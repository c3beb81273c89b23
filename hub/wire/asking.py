"""Questions instead of an answer (`input_required`): what a client can be asked, and what it may say back. Pure.

Both hops are judged by the same table of capabilities, so that nothing is declared to a server that the client did not
declare on this very request, and nothing reaches the client that it did not declare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hub.core.call import EMPTY, Client, Json
from hub.wire.revisions import at_least

MAY_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
RESPONSES, STATE = "inputResponses", "requestState"  # of a retry, beside the params of the call it repeats
MISSING_CAPABILITY: Final = -32021
URL_ELICITATION_REQUIRED: Final = -32042  # 2025-11-25 only

MAX_QUESTIONS: Final = 64  # in one result, and answers in one retry
MAX_KEY: Final = 512  # characters
MAX_STATE_BYTES: Final = 64 * 1024  # of a server's own state

_RELAYABLE: Final[Mapping[str, tuple[str, ...]]] = {
    "elicitation": ("form", "url"),
    "sampling": ("context", "tools"),
    "roots": (),
}
_WEB: Final = ("https://", "http://")  # a client opens what it is given: nothing but pages


@dataclass(frozen=True, slots=True)
class Questions:
    requests: Json  # by the server's own keys, whole; empty when it only wants to be asked again
    state: str | None


@dataclass(frozen=True, slots=True)
class Undeclared:
    """The client would have had to declare these capabilities: an object as in `clientCapabilities`."""

    required: Json


def relayable(declared: Json) -> Json:
    """What of a client's capabilities is declared to a server for its request, and nothing else."""
    found: dict[str, Json] = {}
    for name, parts in _RELAYABLE.items():
        given = declared.get(name)
        if not isinstance(given, dict):  # as JSON is decoded; asking for a Mapping would cost each call 3 us
            continue
        kept = {part: given[part] for part in parts if isinstance(given.get(part), dict)}
        if kept or not given or name != "elicitation":  # an empty one means forms, which odd members do not
            found[name] = kept
    return found


def opens_pages(client: Client) -> bool:
    """Whether the client can be asked to have its user open a page: elicitation of mode url, as it declared it."""
    given = client.capabilities.get("elicitation")
    declared = isinstance(given, Mapping) and isinstance(given.get("url"), Mapping)
    return declared and (client.era == "modern" or at_least(client.revision, "2025-11-25"))


def missing(required: Any, declared: Json) -> Json:
    """What of a server's `requiredCapabilities` could be relayed, and is not declared; empty when nothing is."""
    if not isinstance(required, Mapping):
        return EMPTY
    had = relayable(declared)
    wanted = {name: value for name, value in relayable(required).items() if not _covers(had, name, value)}
    return wanted if len(relayable(required)) == len(required) else EMPTY


def questions(result: Json, declared: Json) -> Questions | Undeclared | str:
    """What an `input_required` result asks, or why it may not, in words that quote nothing of it."""
    requests, state = result.get("inputRequests", EMPTY), result.get(STATE)
    if not isinstance(requests, Mapping):
        return "inputRequests is no object"
    if state is not None and not isinstance(state, str):
        return "requestState is no string"
    if state is not None and len(state.encode("utf-8", "surrogatepass")) > MAX_STATE_BYTES:
        return f"requestState is longer than {MAX_STATE_BYTES} bytes"
    if not requests and state is None:
        return "it has neither inputRequests nor a requestState"
    if len(requests) > MAX_QUESTIONS:
        return f"it asks more than {MAX_QUESTIONS} questions at once"
    lacking: dict[str, dict[str, Any]] = {}
    had = relayable(declared)
    for key, request in requests.items():
        need = _need(key, request)
        if isinstance(need, str):
            return need
        for name, value in need.items():
            if not _covers(had, name, value):
                lacking.setdefault(name, {}).update(value)
    return Undeclared(lacking) if lacking else Questions(requests, state)


def retry_fault(params: Json) -> str | None:
    """Why a retry's own members are malformed, in words. Whether they fit any question is the server's to say."""
    if STATE in params and not isinstance(params[STATE], str):
        return "params.requestState must be a string, or absent"
    if RESPONSES not in params:
        return None
    given = params[RESPONSES]
    if not isinstance(given, Mapping) or not all(isinstance(answer, Mapping) for answer in given.values()):
        return "params.inputResponses must be an object of objects, or absent"
    if len(given) > MAX_QUESTIONS:
        return f"params.inputResponses has more than {MAX_QUESTIONS} members"
    if any(not key or len(key) > MAX_KEY for key in given):
        return f"params.inputResponses: keys must have 1 to {MAX_KEY} characters"
    return None


def _covers(had: Json, name: str, wanted: Json) -> bool:
    if name not in had:
        return False
    if name != "elicitation":
        return all(part in had[name] for part in wanted)
    form = "form" in had[name] or "url" not in had[name]  # an empty elicitation is one of forms
    return all(form if part == "form" else part in had[name] for part in wanted or ("form",))


def _need(key: str, request: Any) -> Json | str:
    """The capability that one question needs, or what is wrong with it."""
    if not key or len(key) > MAX_KEY:
        return f"a key of inputRequests does not have 1 to {MAX_KEY} characters"
    if not isinstance(request, Mapping):
        return "one of inputRequests is no object"
    method, params = request.get("method"), request.get("params", EMPTY)
    read = _NEEDS.get(method) if isinstance(method, str) else None
    if read is None:
        return "one of inputRequests is of no method that may stand there"
    if not isinstance(params, Mapping):
        return f"the params of a {method} are no object"
    return read(params)


def _elicitation(params: Json) -> Json | str:
    mode, message = params.get("mode", "form"), params.get("message")
    if not isinstance(message, str):
        return "an elicitation has no message"
    if mode == "url":
        url = params.get("url")
        if not isinstance(url, str) or not url.lower().startswith(_WEB) or not url.isprintable() or " " in url:
            return "an elicitation's url is no address of a page"
        return {"elicitation": {"url": {}}}
    schema = params.get("requestedSchema")
    if mode != "form" or not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return "an elicitation has no form, or is of no known mode"
    return {"elicitation": {"form": {}}}


def _sampling(params: Json) -> Json | str:
    most = params.get("maxTokens")
    if not isinstance(params.get("messages"), list) or isinstance(most, bool) or not isinstance(most, int):
        return "a request for sampling lacks messages or maxTokens"
    return {"sampling": {"tools": {}} if "tools" in params or "toolChoice" in params else {}}


def _roots(params: Json) -> Json | str:
    return {"roots": {}}


_NEEDS: Final[Mapping[str, Callable[[Json], Json | str]]] = {
    "elicitation/create": _elicitation,
    "sampling/createMessage": _sampling,
    "roots/list": _roots,
}

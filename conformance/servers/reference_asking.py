"""What the modern reference server asks its client for before it answers: one plan an item, as plain JSON.

A plan is given the client's answers so far and the state that this server handed out (None in the first round), and
returns either what is still wanted (`requests`, and a `state` to be handed back) or the last words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from conformance.servers.reference_items import Json, text, tool

Answers = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requests for the client, and what it must hand back with the answers."""

    requests: Json
    state: str | None = None


Plan = Callable[[Answers, str | None, Json], Wanted | str]


def _form(message: str, field: str, kind: str) -> Json:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def _sample(question: str, tokens: int) -> Json:
    messages = [{"role": "user", "content": text(question)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": tokens}}


_NAME: Final = _form("What is your name?", "name", "string")
_ROOTS: Final[Json] = {"method": "roots/list", "params": {}}
_CONFIRM: Final = _form("Please confirm", "ok", "boolean")
_CONTEXT: Final = _form("What context should the prompt use?", "context", "string")


def _content(answer: Json, field: str) -> str:
    return str((answer.get("content") or {}).get(field, "nobody"))


def _elicitation(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    if "user_name" not in answers:
        return Wanted({"user_name": _NAME})
    return f"Hello, {_content(answers['user_name'], 'name')}!"


def _sampling(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    if "capital_question" not in answers:
        return Wanted({"capital_question": _sample("What is the capital of France?", 100)})
    return f"The model said: {_content(answers['capital_question'], 'text')}"


def _list_roots(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    if "client_roots" not in answers:
        return Wanted({"client_roots": _ROOTS})
    return f"{len(answers['client_roots'].get('roots', []))} roots"


def _request_state(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    if state is None or "confirm" not in answers:
        return Wanted({"confirm": _CONFIRM}, "first round")
    return "state-ok"


def _multiple(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    wanted = {"user_name": _NAME, "greeting": _sample("Generate a greeting", 50), "client_roots": _ROOTS}
    missing = {key: request for key, request in wanted.items() if key not in answers}
    return Wanted(missing, "several") if missing else "all there"


def _multi_round(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    before: Json = json.loads(state) if state is not None else {"round": 0}
    if before["round"] == 1 and "step1" in answers:
        after = {"round": 2, "name": _content(answers["step1"], "name")}
        return Wanted({"step2": _form("Step 2: What is your favorite color?", "color", "string")}, json.dumps(after))
    if before["round"] == 2 and "step2" in answers:
        return f"{before['name']} likes {_content(answers['step2'], 'color')}"
    return Wanted({"step1": _form("Step 1: What is your name?", "name", "string")}, json.dumps({"round": 1}))


def _by_capability(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    able = {"sample": (_sample("Say hello", 50), "sampling"), "ask": (_NAME, "elicitation")}
    wanted = {key: request for key, (request, capability) in able.items() if capability in capabilities}
    if not wanted or any(key in answers for key in wanted):
        return "nothing to ask"
    return Wanted(wanted)


def _prompt(answers: Answers, state: str | None, capabilities: Json) -> Wanted | str:
    if "user_context" not in answers:
        return Wanted({"user_context": _CONTEXT})
    return f"Use the following context: {_content(answers['user_context'], 'context')}"


PLANS: Final[Mapping[str, Plan]] = {
    "test_input_required_result_elicitation": _elicitation,
    "test_input_required_result_sampling": _sampling,
    "test_input_required_result_list_roots": _list_roots,
    "test_input_required_result_request_state": _request_state,
    "test_input_required_result_multiple_inputs": _multiple,
    "test_input_required_result_multi_round": _multi_round,
    "test_input_required_result_tampered_state": _request_state,
    "test_input_required_result_capabilities": _by_capability,
    "test_streaming_elicitation": _elicitation,
}
TOOLS: Final[list[Json]] = [tool(name, f"Asks its client before it answers: {name}") for name in PLANS]
PROMPT: Final[Json] = {"name": "test_input_required_result_prompt", "description": "Asks its client first"}
PROMPT_PLAN: Final[Plan] = _prompt

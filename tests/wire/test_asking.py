"""What a client can be asked, what is declared of it, and what its retry may look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Client
from hub.wire import asking
from hub.wire.asking import Questions, Undeclared, missing, opens_pages, questions, relayable, retry_fault

FORM = {"method": "elicitation/create", "params": {"message": "m", "requestedSchema": {"properties": {}}}}
WEB = {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://example.com/a?b=c"}}
SAMPLE = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}}
ROOTS = {"method": "roots/list"}
TOOLS = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5, "tools": []}}
ALL: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}, "context": {}}, "roots": {}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def with_params(request: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {**request, "params": {**request.get("params", {}), **params}}


@pytest.mark.parametrize(
    ("declared", "mirrored"),
    [
        ({}, {}),
        ({"elicitation": {}}, {"elicitation": {}}),
        ({"elicitation": {"form": {"x": 1}, "url": {}}}, {"elicitation": {"form": {"x": 1}, "url": {}}}),
        ({"elicitation": {"odd": {}}}, {}),
        ({"elicitation": {"url": True}}, {}),
        ({"sampling": {"tools": {}, "odd": {}}}, {"sampling": {"tools": {}}}),
        ({"roots": {"listChanged": True}}, {"roots": {}}),
        ({"roots": True, "sampling": None}, {}),
        ({"extensions": {"io.modelcontextprotocol/tasks": {}}, "experimental": {"a": {}}, "tasks": {}}, {}),
    ],
)
def test_only_what_can_be_relayed_is_declared_and_never_more_than_the_client_did(declared: Any, mirrored: Any) -> None:
    assert relayable(declared) == mirrored


@pytest.mark.parametrize(
    ("request_", "declared", "required"),
    [
        (FORM, {"elicitation": {}}, None),
        (FORM, {"elicitation": {"form": {}}}, None),
        (FORM, {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
        (FORM, {"sampling": {}}, {"elicitation": {"form": {}}}),
        (WEB, {"elicitation": {}}, {"elicitation": {"url": {}}}),
        (WEB, {"elicitation": {"url": {}}}, None),
        (SAMPLE, {"sampling": {}}, None),
        (SAMPLE, {}, {"sampling": {}}),
        (TOOLS, {"sampling": {}}, {"sampling": {"tools": {}}}),
        (TOOLS, {"sampling": {"tools": {}}}, None),
        (ROOTS, {"roots": {}}, None),
        (ROOTS, {"sampling": {}}, {"roots": {}}),
    ],
)
def test_a_question_needs_what_the_client_declared_for_it(request_: Any, declared: Any, required: Any) -> None:
    asked = questions({"inputRequests": {"k": request_}, "requestState": "s"}, declared)
    assert asked == (Questions({"k": request_}, "s") if required is None else Undeclared(required))


def test_everything_that_lacks_is_named_at_once() -> None:
    asked = questions({"inputRequests": {"a": FORM, "b": WEB, "c": SAMPLE, "d": ROOTS}}, {"roots": {}})
    assert asked == Undeclared({"elicitation": {"form": {}, "url": {}}, "sampling": {}})


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({}, "neither"),
        ({"inputRequests": {}}, "neither"),
        ({"inputRequests": []}, "no object"),
        ({"requestState": 7}, "no string"),
        ({"requestState": "é" * 40_000}, "longer"),
        ({"inputRequests": {f"k{n}": ROOTS for n in range(65)}}, "more than 64"),
        ({"inputRequests": {"": ROOTS}}, "characters"),
        ({"inputRequests": {"k" * 513: ROOTS}}, "characters"),
        ({"inputRequests": {"k": 5}}, "no object"),
        ({"inputRequests": {"k": {}}}, "no method"),
        ({"inputRequests": {"k": {"method": ["roots/list"]}}}, "no method"),
        ({"inputRequests": {"k": {"method": "tools/call", "params": {}}}}, "no method"),
        ({"inputRequests": {"k": {"method": "roots/list", "params": []}}}, "params"),
        ({"inputRequests": {"k": with_params(FORM, message=None)}}, "message"),
        ({"inputRequests": {"k": with_params(FORM, requestedSchema=None)}}, "form"),
        ({"inputRequests": {"k": with_params(FORM, requestedSchema={"type": "object"})}}, "form"),
        ({"inputRequests": {"k": with_params(FORM, mode="voice")}}, "mode"),
        ({"inputRequests": {"k": with_params(WEB, url="javascript:alert(1)")}}, "page"),
        ({"inputRequests": {"k": with_params(WEB, url="file:///etc/passwd")}}, "page"),
        ({"inputRequests": {"k": with_params(WEB, url="https://a\nb")}}, "page"),
        ({"inputRequests": {"k": with_params(WEB, url="https://a b")}}, "page"),
        ({"inputRequests": {"k": with_params(WEB, url=None)}}, "page"),
        ({"inputRequests": {"k": with_params(SAMPLE, maxTokens=True)}}, "maxTokens"),
        ({"inputRequests": {"k": with_params(SAMPLE, maxTokens="9")}}, "maxTokens"),
        ({"inputRequests": {"k": with_params(SAMPLE, messages={})}}, "messages"),
    ],
)
def test_what_is_no_question_is_told_in_words(result: Any, words: str) -> None:
    asked = questions(result, ALL)
    assert isinstance(asked, str)
    assert words in asked


@given(json_values, json_values)
def test_whatever_a_server_sends_is_a_question_or_is_refused(requests: Any, state: Any) -> None:
    asked = questions({"inputRequests": requests, "requestState": state}, ALL)
    if isinstance(asked, Questions):
        assert asked.requests or asked.state is not None
    assert not isinstance(asked, Undeclared)


@pytest.mark.parametrize(
    ("required", "declared", "lacking"),
    [
        ({"sampling": {}}, {}, {"sampling": {}}),
        ({"sampling": {}}, {"sampling": {}}, {}),
        ({"elicitation": {"url": {}}}, {"elicitation": {}}, {"elicitation": {"url": {}}}),
        ({"elicitation": {}}, {"elicitation": {"url": {}}}, {"elicitation": {}}),
        ({"elicitation": {}, "roots": {}}, {"elicitation": {}}, {"roots": {}}),
        ({"sampling": {}, "extensions": {"a": {}}}, {}, {}),
        ({"extensions": {"a": {}}}, {}, {}),
        (["sampling"], {}, {}),
        (None, {}, {}),
    ],
)
def test_a_capability_that_a_server_wants_is_passed_on_only_where_the_hub_relays_it(
    required: Any, declared: Any, lacking: Any
) -> None:
    assert missing(required, declared) == lacking


@pytest.mark.parametrize(
    ("params", "fine"),
    [
        ({}, True),
        ({"requestState": "s"}, True),
        ({"inputResponses": {}}, True),
        ({"inputResponses": {"a": {"action": "accept"}}, "requestState": ""}, True),
        ({"requestState": None}, False),
        ({"requestState": 1}, False),
        ({"inputResponses": None}, False),
        ({"inputResponses": {"a": 12345}}, False),
        ({"inputResponses": {"": {}}}, False),
        ({"inputResponses": {"k" * 513: {}}}, False),
        ({"inputResponses": {f"k{n}": {} for n in range(asking.MAX_QUESTIONS + 1)}}, False),
    ],
)
def test_a_retry_has_a_string_and_an_object_of_objects(params: Any, fine: bool) -> None:
    assert (retry_fault(params) is None) is fine


@pytest.mark.parametrize(
    ("client", "opens"),
    [
        (Client("modern", "2026-07-28", {"elicitation": {"url": {}}}), True),
        (Client("modern", "2026-07-28", {"elicitation": {}}), False),  # means forms
        (Client("modern", "2026-07-28", {"elicitation": {"url": True}}), False),
        (Client("modern", "2026-07-28", {"elicitation": ["url"]}), False),
        (Client("modern", "2026-07-28"), False),
        (Client("legacy", "2025-11-25", {"elicitation": {"form": {}, "url": {}}}), True),
        (Client("legacy", "2025-06-18", {"elicitation": {"url": {}}}), False),  # pages came later
        (Client("legacy", "unheard-of", {"elicitation": {"url": {}}}), False),
    ],
)
def test_a_client_opens_pages_where_it_and_its_revision_say_so(client: Client, opens: bool) -> None:
    assert opens_pages(client) is opens

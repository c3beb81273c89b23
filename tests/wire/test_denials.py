from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.core.call import Call, Client, Denied, Effect, Json
from hub.wire import denials
from hub.wire.denials import CODES, answer
from tests.wire.samples import MODERN, about, call, legacy

USED = (
    "unknown_item",
    "rate_limited",
    "invalid_arguments",
    "policy",
    "screened",
    "result_invalid",
    "too_large",
    "deadline",
    "cancelled",
    "downstream_down",
    "downstream_late",
    "downstream_lost",
    "downstream_garbled",
    "downstream_error",
    "needs_login",
    "unsupported",
    "budget",
    "approval_pending",
    "audit_unavailable",
    "internal",
    "gone",
    "header_mismatch",
    "missing_capability",
    "state_refused",
)
READ = call("resources/read", {"uri": "demo+file:///x"})


def text_of(made: Call, denied: Denied) -> str:
    result, error, _ = answer(made, denied)
    if result is not None:
        return str(result["content"][0]["text"])
    assert error is not None
    return str(error["message"])


def meta_of(made: Call, denied: Denied) -> Any:
    result, error, _ = answer(made, denied)
    return result["_meta"] if result is not None else (error or {})["data"]["_meta"]


@pytest.mark.parametrize("code", USED)
@pytest.mark.parametrize("made", [call(), READ, call("tools/list", {}), call(client=legacy())])
def test_every_code_has_one_form_words_and_the_call_id(code: str, made: Call) -> None:
    denied = Denied(code, "secret reason")
    result, error, status = answer(made, denied)
    assert (result is None) is not (error is None)
    assert meta_of(made, denied) == {"io.mcp-hub/call": "id-1", "io.mcp-hub/code": code}
    assert len(text_of(made, denied)) > 10
    assert "secret" not in str((result, error))
    assert status in (200, 400, 404)


def test_every_row_has_a_code_of_its_own_outside_the_reserved_ranges() -> None:
    assert len({row.code for row in CODES.values()}) == len(CODES)
    own = [row.rpc for row in CODES.values() if row.form == "tool" and row.code != "internal"]
    assert len(set(own)) == len(own)
    assert not any(-32768 <= rpc <= -32000 for rpc in own)


def test_a_refused_tool_call_is_a_result_and_a_refused_read_is_an_error() -> None:
    result, error, status = answer(call(), Denied("policy", ""))
    assert result is not None
    assert (result["isError"], error, status) == (True, None, 200)
    result, error, status = answer(READ, Denied("policy", ""))
    assert error is not None
    assert (result, error["code"], status) == (None, -31003, 200)


@pytest.mark.parametrize(
    ("code", "rpc", "status"),
    [
        ("unknown_item", -32602, 200),
        ("unsupported", -32601, 404),
        ("header_mismatch", -32020, 400),
        ("gone", -32602, 200),
    ],
)
def test_some_refusals_of_tool_calls_are_errors(code: str, rpc: int, status: int) -> None:
    result, error, found = answer(call(), Denied(code, ""))
    assert error is not None
    assert (result, error["code"], found) == (None, rpc, status)


@pytest.mark.parametrize("client", [MODERN, legacy()])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read", "completion/complete"])
def test_hidden_and_never_existing_read_the_same(client: Any, method: str) -> None:
    made = call(method, {"name": "x", "uri": "x"}, client)
    never = answer(made, Denied("unknown_item", "no such item", effect=Effect.NONE))
    hidden = Denied("unknown_item", "policy", "you may not", Effect.UNKNOWN, 3.0, {"code": 1, "message": "m"})
    assert answer(made, hidden) == never


@pytest.mark.parametrize(("client", "rpc"), [(MODERN, -32602), (legacy(), -32002)])
def test_an_unknown_resource_is_named_in_the_code_of_its_era(client: Any, rpc: int) -> None:
    _, error, _ = answer(replace(READ, client=client), Denied("unknown_item", ""))
    assert error is not None
    assert (error["code"], error["data"]["uri"]) == (rpc, "demo+file:///x")


@pytest.mark.parametrize("made", [call(), about("x", writes=True)])
def test_a_write_of_unknown_outcome_says_so_and_never_says_try_again(made: Call) -> None:
    told = text_of(made, Denied("downstream_lost", "", "It is server 'demo'.", Effect.UNKNOWN, retry_after_s=1))
    assert "It is server 'demo'." in told
    assert "not known" in told
    assert "do not repeat" in told
    assert "try again" not in told.lower()
    assert "call again" not in told.lower()


def test_a_write_that_was_carried_out_says_so() -> None:
    told = text_of(call(), Denied("result_invalid", "", effect=Effect.DONE))
    assert "was carried out" in told


@pytest.mark.parametrize("made", [about("x", writes=False), READ, call("tools/list", {}), call("prompts/get", {})])
def test_a_read_may_be_tried_again(made: Call) -> None:
    assert "Try again" in text_of(made, Denied("downstream_late", "", effect=Effect.UNKNOWN))


def test_what_never_left_the_hub_may_be_tried_again() -> None:
    assert "Try again" in text_of(call(), Denied("downstream_down", "", effect=Effect.NONE))


@pytest.mark.parametrize(("wait_s", "said"), [(0.2, 1), (3.0, 3), (3.1, 4), (float("inf"), 3600)])
def test_the_wait_is_told_in_words_and_in_meta(wait_s: float, said: int) -> None:
    denied = Denied("rate_limited", "", effect=Effect.NONE, retry_after_s=wait_s)
    assert f"Call again in {said} s." in text_of(call(), denied)
    assert meta_of(call(), denied)["io.mcp-hub/retryAfterS"] == said


def test_the_next_step_does_not_run_into_a_list_of_problems() -> None:
    made = call("tools/call", {"name": "a"})
    lines = text_of(made, Denied("invalid_arguments", "r", told="It lacks:\n- text: must be a text")).splitlines()
    assert lines[-2:] == ["- text: must be a text", "Correct them and call again."]


def test_a_code_that_is_no_row_reads_as_a_failure_of_the_hub() -> None:
    assert meta_of(call(), Denied("no such code", ""))["io.mcp-hub/code"] == "internal"


@pytest.mark.parametrize("client", [MODERN, legacy()])
def test_an_error_about_the_call_itself_is_relayed_whole(client: Any) -> None:
    relayed = {"code": -32602, "message": "no such city", "data": {"x": 2**60}}
    assert answer(call(client=client), Denied("downstream_error", "", relayed=relayed)) == (None, relayed, 200)


@pytest.mark.parametrize(
    "relayed",
    [
        {"code": -32020, "message": "m"},
        {"code": -32021, "message": "m"},
        {"code": -32022, "message": "m"},
        {"code": -32601, "message": "m"},
        {"code": -32700, "message": "m"},
        {"code": -32600, "message": "m"},
        {"code": True, "message": "m"},
        {"code": "1", "message": "m"},
        {"code": 1},
        {"code": -32042, "message": "m"},
        None,
    ],
)
def test_an_error_of_the_hop_is_never_relayed(relayed: Any) -> None:
    result, error, _ = answer(call(), Denied("downstream_error", "", relayed=relayed))
    assert error is None
    assert result is not None
    assert result["isError"] is True


def test_a_relayed_error_is_only_relayed_under_its_own_code() -> None:
    _, error, _ = answer(READ, Denied("policy", "", relayed={"code": 1, "message": "m"}))
    assert error is not None
    assert error["code"] == -31003


def test_the_legacy_not_found_is_translated_for_a_modern_client() -> None:
    relayed = {"code": -32002, "message": "gone", "data": 1}
    assert answer(READ, Denied("downstream_error", "", relayed=relayed))[1] == {**relayed, "code": -32602}
    old = replace(READ, client=legacy())
    assert answer(old, Denied("downstream_error", "", relayed=relayed))[1] == relayed


@pytest.mark.parametrize(
    ("rpc", "code"), [(-32700, "parse_error"), (-32022, "unsupported_version"), (-32601, "unsupported"), (1, "refused")]
)
def test_errors_before_the_pipeline_have_codes_too(rpc: int, code: str) -> None:
    assert denials.refused_code(rpc) == code


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_a_capability_that_lacks_is_the_protocols_own_error_with_its_name(method: str) -> None:
    relayed = {"code": -32021, "message": "m", "data": {"requiredCapabilities": {"sampling": {}}}}
    result, error, status = answer(
        call(method), Denied("missing_capability", "r", "told", Effect.NONE, relayed=relayed)
    )
    assert (result, status) == (None, 400)
    assert error is not None
    assert error["code"] == -32021
    assert error["data"]["requiredCapabilities"] == {"sampling": {}}
    _, bare, _ = answer(call(method), Denied("missing_capability", "r", relayed={"code": -32021, "message": "m"}))
    assert bare is not None
    assert list(bare["data"]) == ["_meta"]


def test_a_state_that_is_refused_is_an_error_and_no_result_of_a_tool() -> None:
    result, error, status = answer(call(), Denied("state_refused", "r", "It has expired.", Effect.NONE))
    assert (result, status) == (None, 200)
    assert error is not None
    assert error["code"] == -32602
    assert "It has expired. Call again without requestState" in error["message"]


PAGE = {"mode": "url", "message": "m", "url": "https://hub.example/p", "elicitationId": "e-1"}
OPENS: Json = {"elicitation": {"url": {}}}


def own_login(*pages: object, **data: object) -> Denied:
    relayed = {"code": -32042, "message": "m", "data": {"elicitations": list(pages), **data}}
    return Denied("needs_login", "secret reason", "It is server 'demo'.", Effect.NONE, relayed=relayed)


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read", "resources/subscribe"])
def test_a_login_of_the_callers_own_is_the_error_of_the_one_revision_that_has_it(method: str) -> None:
    client = Client("legacy", "2025-11-25", OPENS)
    result, error, status = answer(call(method, client=client), own_login(PAGE))
    assert (result, status) == (None, 200)
    assert error is not None
    assert (error["code"], error["data"]["elicitations"]) == (-32042, [PAGE])
    assert error["data"]["_meta"] == {"io.mcp-hub/call": "id-1", "io.mcp-hub/code": "needs_login"}
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "made",
    [
        call(client=Client("modern", "2026-07-28", OPENS)),  # -32042 is never emitted there
        call(client=legacy()),
        call(client=Client("legacy", "2025-06-18", OPENS)),
        call("completion/complete", {}, Client("legacy", "2025-11-25", OPENS)),
    ],
)
def test_everybody_else_reads_the_page_of_his_login(made: Call) -> None:
    _, error, _ = answer(made, own_login(PAGE))
    assert error is None or error["code"] == -31014
    assert text_of(made, own_login(PAGE)).endswith("Open https://hub.example/p to log in, then call again.")
    assert meta_of(made, own_login(PAGE))["io.mcp-hub/code"] == "needs_login"


def test_a_login_without_a_page_says_how_to_get_one() -> None:
    nothing = Denied("needs_login", "", "It is server 'demo'.", relayed={"code": -32042, "message": "m"})
    for made in (call(), call(client=Client("legacy", "2025-11-25", OPENS))):
        for denied in (own_login(), nothing):
            assert text_of(made, denied).endswith("It is server 'demo'. Call again to be asked anew.")

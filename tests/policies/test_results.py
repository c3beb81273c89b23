"""Structured answers against the schema their server declares."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import Asked, Denied, Done, Listed, Listing
from policies.results import CheckResult, Mode
from policies.schemas import Schemas
from tests.policies.below import Below, a_call, a_tool, cancelled

OUT = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
PAY = a_tool({"name": "pay", "inputSchema": {"type": "object"}, "outputSchema": OUT}, sha256="out")


def stage(mode: Mode) -> CheckResult:
    return CheckResult(Schemas(), mode)


@pytest.mark.parametrize("mode", ["off", "warn", "strict"])
async def test_an_answer_that_fits_passes_untouched(mode: Mode) -> None:
    done = Done({"content": [], "structuredContent": {"id": 1, "more": None}}, 50)
    assert await stage(mode)(a_call(PAY), Below(done)) is done


BAD = [{"structuredContent": {"id": "one"}}, {"structuredContent": None}, {"content": []}]


@pytest.mark.parametrize("result", BAD)
async def test_an_answer_that_does_not_fit_is_noted_refused_or_passed(result: Any) -> None:
    done = Done(result, 50, ("screen:x",))
    noted = await stage("warn")(a_call(PAY), Below(done))
    assert isinstance(noted, Done)
    assert noted.result is result
    assert noted.notes[0] == "screen:x"
    assert noted.notes[1].startswith("result:")
    denied = await stage("strict")(a_call(PAY), Below(done))
    assert isinstance(denied, Denied)
    assert (denied.code, denied.effect) == ("result_invalid", None)
    assert denied.told is not None
    assert "one" not in denied.told
    assert await stage("off")(a_call(PAY), Below(done)) is done


@pytest.mark.parametrize("value", [None, [1, 2], "text", 2**70, {"a": None}])
async def test_structured_content_may_be_any_json(value: Any) -> None:
    item = a_tool({"name": "x", "outputSchema": {"enum": [value]}}, sha256=repr(value))
    done = Done({"structuredContent": value})
    assert await stage("strict")(a_call(item), Below(done)) is done


async def test_an_error_result_is_never_held_against_the_schema() -> None:
    done = Done({"content": [], "isError": True})
    assert await stage("strict")(a_call(PAY), Below(done)) is done


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (a_call(a_tool()), Done({"structuredContent": 3})),
        (a_call(PAY, method="prompts/get"), Done({})),
        (a_call(PAY), Asked({}, None)),
        (a_call(PAY), Denied("downstream_down", "down")),
        (a_call(target=Listing("tool")), Listed(())),
    ],
)
async def test_what_has_no_output_schema_passes(call: Any, answer: Any) -> None:
    assert await stage("strict")(call, Below(answer)) is answer


async def test_a_schema_that_cannot_be_used_is_noted_and_in_strict_mode_refused() -> None:
    item = a_tool({"name": "x", "outputSchema": {"type": "strin"}}, sha256="bad")
    done = Done({"structuredContent": {}})
    noted = await stage("warn")(a_call(item), Below(done))
    assert isinstance(noted, Done)
    assert "not checked" in noted.notes[0]
    assert isinstance(await stage("strict")(a_call(item), Below(done)), Denied)


async def test_an_answer_too_large_for_its_schema_is_not_passed_as_checked() -> None:
    schema = {"items": {"anyOf": [{"const": i} for i in range(5000)]}}
    item = a_tool({"name": "x", "outputSchema": schema}, sha256="big")
    done = Done({"structuredContent": [1] * 300_000}, 600_000)
    noted = await stage("warn")(a_call(item), Below(done))
    assert isinstance(noted, Done)
    assert "not checked" in noted.notes[0]


async def test_an_answer_that_cannot_be_checked_is_a_fault() -> None:
    item = a_tool({"name": "x", "outputSchema": {"type": "string"}}, sha256="text")
    denied = await stage("strict")(a_call(item), Below(Done({"structuredContent": "\ud800"})))
    assert isinstance(denied, Denied)
    assert denied.reason == "cannot be checked"


async def test_a_failure_below_is_no_answer() -> None:
    with pytest.raises(OSError, match="down"):
        await stage("warn")(a_call(PAY), Below(OSError("down")))


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(stage("warn"), a_call(PAY))

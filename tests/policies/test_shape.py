"""The output budget and the obligations on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.core.call import Asked, Client, Denied, Done, Effect, Json, Listed, Listing, Mute, Obligation
from policies.shape import DISCHARGES, Shape
from tests.policies.below import Below, a_call, a_tool, cancelled


def done(result: Json) -> Done:
    return Done(result, len(json.dumps(result)))


async def shaped(result: Json, limit: int, call: Any = None) -> Done:
    answer = done(result)
    outcome = await Shape(limit)(call or a_call(), Below(answer))
    assert isinstance(outcome, Done), outcome
    return outcome


def text(*parts: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": part} for part in parts]}


async def test_an_answer_within_the_budget_is_not_touched() -> None:
    answer = done({**text("hello"), "unknown": {"kept": True}})
    assert await Shape(10_000)(a_call(), Below(answer)) is answer


async def test_a_long_text_is_cut_at_a_character_and_says_so() -> None:
    outcome = await shaped(text("ä€😀" * 1000), 1000)
    shown = outcome.result["content"][0]["text"]
    head, _, mark = shown.partition("\n[cut here: ")
    assert ("ä€😀" * 1000).startswith(head)
    assert 990 < len(head.encode()) <= 1000
    assert mark == f"9000 bytes in all, {len(head.encode())} shown]"
    assert outcome.result["_meta"]["io.mcp-hub/cut"] == {
        "limit_bytes": 1000,
        "size_bytes": outcome.size_bytes,
        "cuts": 1,
    }
    assert outcome.notes == ("shape:cut 1",)


async def test_what_stands_behind_the_cut_is_told_as_a_number() -> None:
    outcome = await shaped({**text("a" * 50, "b" * 5000, *["c" * 100] * 30), "_meta": {"kept": 1}}, 1000)
    texts = [block["text"] for block in outcome.result["content"]]
    assert texts[0] == "a" * 50
    assert "[cut here: 5000 bytes" in texts[1]
    assert texts[2:] == ["[left out: 30 more parts]"]
    assert outcome.result["_meta"]["kept"] == 1


async def test_an_image_stays_whole_or_gives_way_to_words() -> None:
    image = {"type": "image", "mimeType": "image/png", "data": "A" * 3000}
    kept = await shaped({"content": [image, {"type": "text", "text": "x" * 9000}]}, 5000)
    assert kept.result["content"][0] == image
    gone = await shaped({"content": [image, {"type": "text", "text": "short"}]}, 1000)
    assert "bytes of image/png" in gone.result["content"][0]["text"]
    assert gone.result["content"][1]["text"] == "short"


async def test_resources_are_cut_where_they_stand() -> None:
    contents = [
        {"uri": "a:1", "blob": "A" * 4000},
        {"uri": "a:2", "text": "t" * 4000},
        {"uri": "a:3", "text": "u" * 4000},
    ]
    read = await shaped({"contents": contents}, 1000)
    assert read.result["contents"][0] == {
        "uri": "a:1",
        "mimeType": "text/plain",
        "text": read.result["contents"][0]["text"],
    }
    assert read.result["contents"][1]["uri"] == "a:2"
    assert "[cut here" in read.result["contents"][1]["text"]
    assert len(read.result["contents"]) == 2
    embedded = await shaped({"content": [{"type": "resource", "resource": {"uri": "a:1", "text": "t" * 4000}}]}, 1000)
    assert "[cut here" in embedded.result["content"][0]["resource"]["text"]


async def test_prompt_messages_are_cut() -> None:
    messages = [
        {"role": "user", "content": {"type": "text", "text": "a" * 800}},
        {"role": "user", "content": [{"type": "text", "text": "b" * 800}]},
        "malformed",
    ]
    outcome = await shaped({"messages": messages}, 1000)
    assert outcome.result["messages"][0] == messages[0]
    assert "[cut here: 800 bytes in all, 200 shown]" in outcome.result["messages"][1]["content"][0]["text"]
    assert outcome.result["messages"][2] == "malformed"


async def test_structured_content_is_left_out_whole() -> None:
    result = {**text("short"), "structuredContent": {"rows": ["x" * 100] * 100}}
    outcome = await shaped(result, 1000)
    assert "structuredContent" not in outcome.result
    assert outcome.result["content"] == text("short")["content"]
    small = await shaped({**text("x" * 5000), "structuredContent": {"a": 1}}, 1000)
    assert small.result["structuredContent"] == {"a": 1}


async def test_structured_content_that_clients_check_is_refused_rather_than_left_out() -> None:
    item = a_tool({"name": "x", "outputSchema": {"type": "object"}})
    answer = done({"content": [], "structuredContent": {"rows": ["x" * 100] * 100}})
    denied = await Shape(1000)(a_call(item), Below(answer))
    assert isinstance(denied, Denied)
    assert (denied.code, denied.effect) == ("too_large", None)
    assert denied.told is not None
    assert "Ask for less" in denied.told


async def test_what_is_large_in_places_that_cannot_be_cut_is_refused() -> None:
    for result in (
        {"_meta": {"x": "y" * 50_000}},
        {**text("a" * 3000), "odd": "y" * 50_000},
        {"content": "y" * 50_000},
    ):
        assert isinstance(await Shape(1000)(a_call(), Below(done(result))), Denied)


async def test_blocks_nobody_knows_are_kept_while_they_fit() -> None:
    blocks: list[Any] = [{"type": "hologram", "x": "y" * 100}, 7, {"type": "hologram", "x": "y" * 5000}]
    outcome = await shaped({"content": blocks}, 1000)
    assert outcome.result["content"][:2] == blocks[:2]
    assert "bytes of hologram" in outcome.result["content"][2]["text"]


async def test_a_result_is_never_mutated() -> None:
    result = {**text("a" * 5000), "structuredContent": [1] * 5000, "_meta": {"a": 1}}
    before = json.dumps(result)
    await shaped(result, 1000)
    assert json.dumps(result) == before


async def test_a_question_larger_than_an_answer_may_be_is_refused_whole() -> None:
    question = Asked({"k": {"method": "roots/list", "params": {"_meta": {"x": "y" * 600}}}}, "s")
    assert await Shape(10_000)(a_call(), Below(question)) is question
    for shape, call in ((Shape(500), a_call()), (Shape(10_000), a_call(obligations=(CAP,)))):
        denied = await shape(call, Below(question))
        assert isinstance(denied, Denied)
        assert denied.code == "too_large"


CAP = Obligation("cap", {"bytes": 500})
MASK = Obligation("mask", {"pattern": r"\d{3}-\d{2}-\d{4}"})


async def test_a_cap_is_kept_and_the_smaller_one_wins() -> None:
    call = a_call(obligations=(CAP, Obligation("cap", {"bytes": 90_000})))
    outcome = await shaped(text("a" * 5000), 10_000, call)
    assert "5000 bytes in all, 500 shown" in outcome.result["content"][0]["text"]


async def test_a_mask_covers_every_text_and_key_and_leaves_no_bytes_unseen() -> None:
    ssn = "123-45-6789"
    result = {
        "content": [
            {"type": "text", "text": f"it is {ssn}."},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource", "resource": {"uri": f"a:{ssn}", "blob": "AAAA"}},
            {"type": ssn},
        ],
        "structuredContent": {ssn: [{"deep": ssn}, 5, None]},
        "_meta": {"x": ssn},
    }
    outcome = await shaped(result, 10_000, a_call(obligations=(MASK,)))
    assert ssn not in json.dumps(outcome.result)
    assert "AAAA" not in json.dumps(outcome.result)
    assert outcome.result["content"][0] == {"type": "text", "text": "it is [masked]."}
    assert outcome.result["structuredContent"] == {"[masked]": [{"deep": "[masked]"}, 5, None]}


async def test_a_mask_that_matches_everything_leaves_the_protocol_standing() -> None:
    call = a_call(obligations=(Obligation("mask", {"pattern": r"\w+", "with": "*"}),))
    outcome = await shaped(text("secret words"), 10_000, call)
    assert outcome.result == {"content": [{"type": "text", "text": "* *"}]}


async def test_a_servers_own_error_is_masked_and_bounded_like_its_answers() -> None:
    error = {"code": 4711, "message": "card 4111-1111", "data": {"card": "4111-1111", "more": "x" * 500}}
    refused = Denied("downstream_error", "r", effect=Effect.DONE, relayed=error)
    duties = (Obligation("mask", {"pattern": r"\d{4}-\d{4}", "with": "*"}),)
    masked = await Shape(10_000)(a_call(obligations=duties), Below(refused))
    assert isinstance(masked, Denied)
    assert "4111" not in str(masked.relayed)
    bounded = await Shape(100)(a_call(), Below(refused))
    assert isinstance(bounded, Denied)
    assert bounded.relayed == {"code": 4711, "message": "card 4111-1111"}
    assert await Shape(10_000)(a_call(), Below(refused)) is refused


async def test_a_question_is_masked_too_and_progress_is_not_passed_on() -> None:
    class Ear:
        def notify(self, method: str, params: Json) -> None:
            raise AssertionError("unmasked words came through")

    below = Below(Asked({"q": {"message": "is it 123-45-6789?"}}, "s"))
    call = a_call(obligations=(MASK,), client=Client("modern", "2026-07-28", wants_progress=True, back=Ear()))
    assert await Shape(1000)(call, below) == Asked({"q": {"message": "is it [masked]?"}}, "s")
    assert isinstance(below.seen[0].client.back, Mute)


@pytest.mark.parametrize(
    "obligation",
    [
        Obligation("step_up", {}),
        Obligation("cap", {}),
        Obligation("cap", {"bytes": True}),
        Obligation("cap", {"bytes": -1}),
        Obligation("mask", {}),
        Obligation("mask", {"pattern": ""}),
        Obligation("mask", {"pattern": "("}),
        Obligation("mask", {"pattern": "a", "with": 3}),
    ],
)
async def test_an_obligation_that_cannot_be_discharged_refuses_the_call(obligation: Obligation) -> None:
    below = Below()
    denied = await Shape(1000)(a_call(obligations=(CAP, obligation)), below)
    assert isinstance(denied, Denied)
    assert not below.seen


def test_the_obligations_it_discharges_are_told() -> None:
    assert {"cap", "mask"} == DISCHARGES


@pytest.mark.parametrize("answer", [Listed(()), Denied("downstream_down", "down"), Asked({}, None)])
async def test_what_is_no_answer_passes(answer: Any) -> None:
    assert await Shape(10)(a_call(target=Listing("tool")), Below(answer)) is answer
    assert await Shape(10)(a_call(obligations=(CAP, MASK)), Below(answer)) == answer


async def test_a_failure_below_is_no_answer() -> None:
    with pytest.raises(OSError, match="down"):
        await Shape(10)(a_call(), Below(OSError("down")))


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(Shape(10), a_call())

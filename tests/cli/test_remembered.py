from __future__ import annotations

import json
from typing import Any

import pytest

from hub.cli.remembered import Remembered


def line(message: Any) -> bytes:
    return json.dumps(message).encode()


def request(method: str, id: Any = 1, **params: Any) -> bytes:
    return line({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def note(method: str, **params: Any) -> bytes:
    return line({"jsonrpc": "2.0", "method": method, "params": params})


def result(id: Any = 1, **result: Any) -> bytes:
    return line({"jsonrpc": "2.0", "id": id, "result": result})


def read(lines: list[bytes]) -> list[Any]:
    return [json.loads(one) for one in lines]


def opened(capabilities: Any = None) -> Remembered:
    memory = Remembered()
    memory.sent(request("initialize", "init", protocolVersion="2025-11-25"))
    memory.received(result("init", capabilities=capabilities or {}))
    memory.sent(note("notifications/initialized"))
    return memory


def test_a_call_that_was_lost_is_answered_with_its_outcome_unknown() -> None:
    memory = Remembered()
    memory.sent(request("tools/call", 7, name="x"))
    (answer,) = read(memory.lost())
    assert answer["id"] == 7
    assert answer["error"]["code"] == -32603
    assert "unknown" in answer["error"]["message"]
    assert answer["error"]["data"]["_meta"]["io.mcp-hub/code"] == "hub_stopped"
    assert memory.lost() == []


def test_what_has_no_effect_is_answered_with_send_it_again() -> None:
    memory = Remembered()
    memory.sent(request("tools/list"))
    (answer,) = read(memory.lost())
    assert "again" in answer["error"]["message"]
    assert "unknown" not in answer["error"]["message"]


@pytest.mark.parametrize(
    "settled",
    [
        result(1),
        line({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "x"}}),
        line([{"jsonrpc": "2.0", "id": 1, "result": {}}]),
    ],
)
def test_what_was_answered_is_not_answered_again(settled: bytes) -> None:
    memory = Remembered()
    memory.sent(request("tools/call"))
    assert memory.received(settled) == settled
    assert not memory.waits
    assert memory.lost() == []


def test_what_was_cancelled_is_not_answered() -> None:
    memory = Remembered()
    memory.sent(request("tools/call"))
    memory.sent(note("notifications/cancelled", requestId=1))
    memory.sent(note("notifications/cancelled", requestId=[1]))
    memory.sent(line({"jsonrpc": "2.0", "method": "notifications/cancelled"}))
    assert memory.lost() == []


def test_every_request_of_a_batch_is_answered() -> None:
    memory = Remembered()
    memory.sent(b"[" + request("tools/call", 1) + b"," + request("ping", 2) + b"]")
    assert {answer["id"] for answer in read(memory.lost())} == {1, 2}


@pytest.mark.parametrize("garbage", [b"{", b"5", b"[5]", b'{"id": 1}', b'{"jsonrpc":"2.0","id":true,"method":"x"}'])
def test_garbage_is_nobodys_to_answer(garbage: bytes) -> None:
    memory = Remembered()
    memory.sent(garbage)
    assert memory.received(garbage) == garbage
    assert not memory.waits


def test_a_listen_is_not_waited_for_but_answered_when_lost() -> None:
    memory = Remembered()
    memory.sent(request("subscriptions/listen"))
    assert not memory.waits
    assert len(memory.lost()) == 1


def test_a_legacy_session_is_replayed_under_ids_of_the_bridge_and_its_answers_swallowed() -> None:
    memory = opened()
    memory.sent(request("logging/setLevel", 2, level="debug"))
    memory.received(result(2))
    memory.sent(request("logging/setLevel", 3, level="error"))
    memory.received(result(3))
    for id, uri in ((4, "a"), (5, "b")):
        memory.sent(request("resources/subscribe", id, uri=uri))
        memory.received(result(id))
    memory.sent(request("resources/unsubscribe", 6, uri="a"))
    memory.received(result(6))
    replayed = read(memory.replay())
    assert [m["method"] for m in replayed] == [
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe",
    ]
    assert replayed[0]["params"] == {"protocolVersion": "2025-11-25"}
    assert replayed[2]["params"] == {"level": "error"}
    assert replayed[3]["params"] == {"uri": "b"}
    ids = [m["id"] for m in replayed if "id" in m]
    assert len(set(ids)) == 3
    assert all(memory.received(result(id)) is None for id in ids)


def test_what_the_hub_refused_is_not_replayed() -> None:
    memory = opened()
    memory.sent(request("resources/subscribe", 4, uri="a"))
    memory.received(line({"jsonrpc": "2.0", "id": 4, "error": {"code": -32002, "message": "x"}}))
    assert len(memory.replay()) == 2


def test_an_initialize_without_an_answer_is_asked_again_as_it_was() -> None:
    memory = Remembered()
    memory.sent(request("initialize", "init", protocolVersion="x"))
    assert memory.lost() == []
    (again,) = read(memory.replay())
    assert again["id"] == "init"
    assert memory.received(result("init")) == result("init")


def test_a_client_that_has_not_said_initialized_is_not_spoken_for() -> None:
    memory = Remembered()
    memory.sent(request("initialize", "init", protocolVersion="x"))
    memory.received(result("init", capabilities={"tools": {"listChanged": True}}))
    assert [m["method"] for m in read(memory.replay())] == ["initialize"]
    assert memory.changed() == []


def test_a_modern_conversation_has_nothing_to_replay() -> None:
    memory = Remembered()
    memory.sent(request("server/discover"))
    memory.received(result(1))
    assert memory.replay() == []
    assert memory.changed() == []


def test_after_a_new_hub_the_client_hears_that_its_lists_may_have_changed() -> None:
    memory = opened({"tools": {"listChanged": True}, "prompts": {}, "resources": {"listChanged": True}})
    assert [m["method"] for m in read(memory.changed())] == [
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
    ]


def test_notifications_of_the_hub_pass() -> None:
    memory = Remembered()
    memory.sent(request("tools/call"))
    told = note("notifications/progress", progress=1)
    assert memory.received(told) == told
    assert memory.waits


def test_a_refusal_of_a_line_too_long_finds_the_request_it_was_for() -> None:
    memory = Remembered()
    memory.sent(request("tools/call", "small"))
    memory.sent(request("tools/call", "big", text="x" * 1000))
    meta = {"_meta": {"io.mcp-hub/code": "too_large"}}
    refusal = line({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "too long", "data": meta}})
    passed = memory.received(refusal)
    assert passed is not None
    assert json.loads(passed)["id"] == "big"
    assert [a["id"] for a in read(memory.lost())] == ["small"]
    assert memory.received(refusal) == refusal


@pytest.mark.parametrize("error", [None, "x", {}, {"data": 1}, {"data": {"_meta": {"io.mcp-hub/code": "parse_error"}}}])
def test_other_answers_without_an_id_pass_as_they_are(error: Any) -> None:
    memory = Remembered()
    memory.sent(request("tools/call"))
    refusal = line({"jsonrpc": "2.0", "id": None, "error": error})
    assert memory.received(refusal) == refusal
    assert memory.waits


def test_without_any_hub_everything_is_answered_as_never_sent() -> None:
    memory = Remembered()
    memory.sent(request("initialize", "init"))
    memory.sent(request("tools/call", 2))
    answers = read(memory.unanswered())
    assert [a["id"] for a in answers] == ["init", 2]
    assert all("nothing was sent" in a["error"]["message"] for a in answers)
    assert not memory.waits

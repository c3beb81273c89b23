"""A server that is hostile in its answers, over every transport at once: its own calls fail in time, nobody else's."""

from __future__ import annotations

import json
from functools import partial
from time import monotonic
from typing import Any, Final

import pytest

from conformance.servers.hostile_messages import POISON
from tests.e2e.hub_process import until
from tests.e2e.raw_http import Answer, Http, modern_message
from tests.faults.world import World, calm, endured, recovered, together

pytestmark = pytest.mark.e2e

EVERY: Final = ("modern", "legacy", "sse", "pipe", "oldpipe")
PIPES: Final = ("pipe", "oldpipe")
HTTP: Final = ("modern", "legacy")
_LATE: Final = "did not answer in time"  # on a busy machine
UNKNOWN: Final = "Whether it was carried out is not known"


def good(made: World, ids: tuple[str, ...], way: str, says: str) -> list[Answer]:
    """That way is answered well, whatever came beside the answer."""
    answers: list[Answer] = together([partial(made.call, f"{id}__{way}") for id in ids])
    assert [answer.text for answer in answers] == [says] * len(ids)
    assert [made.entry(answer)["outcome"] for answer in answers] == ["done"] * len(ids)
    recovered(made, *ids)
    return answers


def test_case_01_a_server_that_never_answers_is_late_at_its_deadline_and_holds_up_nobody(hostile: World) -> None:
    began = monotonic()
    for answer in endured(hostile, EVERY, "hangs", {"downstream_late"}):
        assert UNKNOWN in answer.text
    assert monotonic() - began > 1.4, "it was given up before its time"


@pytest.mark.parametrize("way", ["drips", "dripping_head", "dripping_body"])
def test_case_01_a_server_that_drips_is_late_at_its_deadline_and_holds_up_nobody(hostile: World, way: str) -> None:
    ids = EVERY if way == "drips" else HTTP
    endured(hostile, ids, way, {"downstream_late", "downstream_garbled"})


def test_case_02_a_server_that_dies_in_mid_answer_is_named_and_the_outcome_is_unknown(hostile: World) -> None:
    for answer in endured(hostile, EVERY, "dies", {"downstream_lost"}):
        assert UNKNOWN in answer.text
        assert [entry["kind"] for entry in hostile.entries(answer.call_id)] == ["intent", "call"]
        assert hostile.entry(answer)["outcome"] == "unknown"


@pytest.mark.parametrize("way", ["closes", "halved"])
def test_case_02_an_http_server_that_breaks_off_is_named_and_the_outcome_is_unknown(hostile: World, way: str) -> None:
    for answer in endured(hostile, HTTP, way, {"downstream_lost"}):
        assert UNKNOWN in answer.text


def test_case_06_lines_that_are_no_message_are_skipped_and_counted(hostile: World) -> None:
    before = {id: hostile.noise(id, "garbage") for id in EVERY}
    good(hostile, EVERY, "babbles", "well")
    assert {id: hostile.noise(id, "garbage") - before[id] for id in EVERY} == dict.fromkeys(EVERY, 4.0)


def test_case_06_a_process_that_says_nothing_but_garbage_is_started_anew(hostile: World) -> None:
    before = {id: hostile.server(id)["restarts"] for id in PIPES}
    endured(hostile, PIPES, "garbage", {"downstream_lost"})
    assert all(hostile.server(id)["restarts"] > before[id] for id in PIPES)


def test_case_06_a_stream_that_says_nothing_but_garbage_is_late(hostile: World) -> None:
    endured(hostile, ("modern", "legacy", "sse"), "garbage", {"downstream_late", "downstream_lost"})


@pytest.mark.parametrize("way", ["doubled", "doubled_inside"])
def test_case_07_of_two_members_of_one_name_the_one_that_was_not_judged_reaches_nobody(
    hostile: World, way: str
) -> None:
    answers: list[Answer] = together([partial(hostile.call, f"{id}__{way}") for id in EVERY])
    for answer in answers:
        assert POISON.encode() not in answer.body
        assert doubled_names(answer.body) == []
    recovered(hostile, *EVERY)


def test_case_07_a_member_in_another_case_is_not_taken_for_the_real_one(hostile: World) -> None:
    for answer in good(hostile, EVERY, "variant", "judged"):
        assert POISON.encode() not in answer.body
        assert not answer.result.get("isError")


def test_case_07_of_two_arguments_of_one_name_one_reaches_the_server(hostile: World) -> None:
    for id in EVERY:
        message, headers = modern_message("tools/call", {"name": f"{id}__repeats", "arguments": {"n": "|"}})
        body = json.dumps(message).replace('"n": "|"', '"n": "first", "n": "second"')
        answer = hostile.http.request("POST", "/mcp", body, headers)
        told = answer.text.encode()
        assert doubled_names(told) == []
        assert b"first" not in told


def doubled_names(data: bytes) -> list[str]:
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        found.extend(name for name in set(names) if names.count(name) > 1)
        return dict(pairs)

    json.loads(data, object_pairs_hook=look)
    return found


def test_case_08_a_second_answer_is_dropped(hostile: World) -> None:
    good(hostile, EVERY, "twice", "first")
    until(lambda: all(hostile.noise(id, "duplicate") for id in PIPES), "they are counted")


def test_case_08_an_answer_that_comes_too_late_is_dropped(hostile: World) -> None:
    endured(hostile, EVERY, "late", {"downstream_late"})
    until(lambda: all(hostile.noise(id, "late") for id in PIPES), "they are counted")
    good(hostile, EVERY, "well", "well")


def test_case_08_answers_that_nobody_asked_for_are_dropped(hostile: World) -> None:
    good(hostile, EVERY, "foreign", "own")
    assert all(hostile.noise(id, "foreign") for id in EVERY)


def test_case_09_an_answer_under_anothers_id_answers_neither(hostile: World) -> None:
    endured(hostile, EVERY, "stranger", {"downstream_late"})


@pytest.mark.parametrize(
    ("liar", "asked"), [("modern", "modern"), ("legacy", "legacy"), ("pipe", "oldpipe"), ("sse", "pipe")]
)
def test_case_09_calls_side_by_side_never_get_one_anothers_answer(hostile: World, liar: str, asked: str) -> None:
    """`foreign` answers under the ids that its neighbours are waiting with: on other streams, or of other servers."""

    own: list[str] = []

    def ask(mark: str) -> None:
        if mark.endswith(("3", "7")):
            said = hostile.call(f"{liar}__foreign").text
            assert said == "own" or liar != asked or _LATE in said  # one pipe lies to its own callers
            return
        text = hostile.call(f"{asked}__repeats", {"mark": mark}).text
        assert mark in text or _LATE in text
        own.extend([mark] * (mark in text))

    together([partial(ask, f"mark-{number}") for number in range(40)])
    assert len(own) >= 24
    recovered(hostile, liar, asked)


@pytest.mark.parametrize("way", ["huge", "huge_sized", "huge_chunks"])
def test_case_10_100_mb_are_cut_off_while_they_come_and_memory_stays(hostile: World, way: str) -> None:
    endured(hostile, EVERY if way == "huge" else HTTP, way, {"too_large"})


def test_case_10_a_gzip_bomb_is_not_unpacked(hostile: World) -> None:
    endured(hostile, HTTP, "gzip_bomb", {"downstream_garbled", "downstream_lost", "too_large"})


@pytest.mark.parametrize("way", ["deep", "not_a_number"])
def test_case_11_json_that_is_too_deep_or_none_is_refused_in_bounded_time(hostile: World, way: str) -> None:
    endured(hostile, EVERY, way, {"downstream_garbled", "downstream_lost", "downstream_late"})


def test_case_12_a_flood_of_notifications_costs_only_the_call_that_it_belongs_to(hostile: World) -> None:
    endured(hostile, EVERY, "floods", {"downstream_late", "downstream_lost", "too_large"})


@pytest.mark.parametrize("way", ["endless_headers", "endless_line"])
def test_headers_without_end_are_cut_off(hostile: World, way: str) -> None:
    endured(hostile, HTTP, way, {"downstream_garbled"})


@pytest.mark.parametrize(
    "way",
    [
        "two_lengths",
        "length_and_chunks",
        "huge_chunk_size",
        "bare_line_feeds",
        "null_in_header",
        "folded_header",
        "no_http",
        "no_json",
        "web_page",
        "no_type",
    ],
)
def test_an_answer_of_two_meanings_or_none_is_garbled_and_not_passed_on(hostile: World, way: str) -> None:
    for answer in endured(hostile, HTTP, way, {"downstream_garbled"}):
        assert POISON.encode() not in answer.body


def test_a_second_answer_on_a_connection_is_nobodys(hostile: World) -> None:
    for answer in good(hostile, HTTP, "two_answers", "own"):
        assert POISON.encode() not in answer.body
    for _ in range(5):
        good(hostile, HTTP, "well", "well")


def test_a_redirect_is_not_followed(hostile: World) -> None:
    endured(hostile, HTTP, "redirects", {"downstream_garbled"})
    for id in HTTP:
        assert requests_to(hostile, id) == []


def requests_to(made: World, id: str) -> list[str]:
    """What came to a path of this server that is not its own."""
    port = int(str(made.hub.servers[id]["url"]).split(":")[2].partition("/")[0])
    found: list[str] = Http(port, None).request("GET", "/requests").json
    return [one for one in found if not one.startswith("DELETE")]


def test_case_04_a_server_that_answers_500_is_refused_each_time_and_of_use_as_soon_as_it_is_well(
    hostile: World,
) -> None:
    with hostile.bystander() as seen:
        for _ in range(20):
            for id in HTTP:
                answer = hostile.call(f"{id}__server_error")
                assert answer.code == "downstream_garbled"
                assert b"Traceback" not in answer.body
                assert POISON.encode() not in answer.body
    calm(seen)
    recovered(hostile, *HTTP)

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.audit.record import call_entry, closing_entry, event_entry, intent_entry, outcome_word, printable
from hub.core.call import Asked, Client, Denied, Done, Effect, Listed, Listing, One, Outcome, Route
from tests.audit.records import DENIED, a_call, a_record, done, tool, unresolved

AT = "2026-11-24T07:00:00.000Z"


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (done(), "done"),
        (done(isError=False), "done"),
        (done(isError=True), "error"),
        (Asked({}, None), "asked"),
        (Listed(()), "done"),
        (DENIED, "denied:policy"),
        (Denied("downstream_error", "x", effect=Effect.DONE), "error"),
        (Denied("cancelled", "x", effect=Effect.UNKNOWN), "cancelled"),
        (Denied("downstream_late", "x", effect=Effect.UNKNOWN), "unknown"),
        (Denied("deadline", "x", effect=Effect.UNKNOWN), "unknown"),
        (Denied("deadline", "x", effect=Effect.NONE), "denied:deadline"),
        (Denied("too_large", "x", effect=Effect.UNKNOWN), "unknown"),
        (Denied("screened", "x", effect=Effect.UNKNOWN), "denied:screened"),
    ],
)
def test_outcome_of_a_write(outcome: Outcome, word: str) -> None:
    assert outcome_word(a_call(), outcome) == word


def test_a_read_that_was_lost_is_denied_not_unknown() -> None:
    lost = Denied("downstream_lost", "x", effect=Effect.UNKNOWN)
    assert outcome_word(a_call(target=One(tool(writes=False))), lost) == "denied:downstream_lost"


def test_an_answered_call_says_who_called_what_and_how_large_it_was() -> None:
    call = a_call()
    record = a_record(call, ("dispatch", done(), 0.002))
    entry = call_entry(record, replace(done(), notes=("screen:x",)), AT, record.started + 0.25, "p1")
    assert (entry.kind, entry.call, entry.who, entry.credential, entry.tenant) == (
        "call",
        "c-1",
        "key:ci",
        "key:k1",
        "local",
    )
    assert (entry.item, entry.server, entry.method, entry.endpoint) == ("crm__add", "crm", "tools/call", "")
    assert (entry.outcome, entry.ms, entry.request_bytes, entry.result_bytes) == ("done", 250.0, 120, 80)
    assert (entry.notes, entry.code, entry.reason, entry.effect) == (("screen:x",), None, None, None)
    assert entry.client is not None
    assert (entry.client.name, entry.client.version, entry.client.era) == ("ide", "2", "modern")


def test_a_denial_says_code_reason_and_effect() -> None:
    entry = call_entry(a_record(a_call(), effect=Effect.UNKNOWN), DENIED, AT, 0.0, "p1")
    assert (entry.outcome, entry.code, entry.reason, entry.effect) == (
        "denied:policy",
        "policy",
        "rule 7 says no",
        "unknown",
    )


def test_only_stages_that_made_the_answer_are_told() -> None:
    first, cut = done("long"), done("short")
    record = a_record(a_call(), ("dispatch", first, 0.1), ("cache", first, 0.1), ("shape", cut, 0.2), ("pins", cut, 1))
    entry = call_entry(record, cut, AT, 0.0, "p1")
    assert entry.verdicts == [("dispatch", "done", 100.0), ("shape", "done", 200.0)]


def test_what_was_found_in_a_question_is_told() -> None:
    entry = call_entry(a_record(a_call()), Asked({}, None, ("screen:result:x",)), AT, 0.0, "p1")
    assert (entry.outcome, entry.notes) == ("asked", ("screen:result:x",))


def test_a_route_is_told() -> None:
    call = replace(a_call(), route=Route("crm-eu", "region\neu"))
    assert call_entry(a_record(call), done(), AT, 0.0, "p1").route == {"server": "crm-eu", "reason": "region\\u000aeu"}


def test_lists_are_of_their_own_kind_denied_or_not() -> None:
    call = a_call(method="tools/list", params={}, target=Listing("tool"))
    for outcome in (Listed(()), DENIED):
        entry = call_entry(a_record(call), outcome, AT, 0.0, "p1")
        assert (entry.kind, entry.item) == ("list", None)


@pytest.mark.parametrize(
    ("params", "item"),
    [
        ({"name": "no__such"}, "no__such"),
        ({"uri": "crm+doc://x"}, "crm+doc://x"),
        ({"ref": {"type": "ref/prompt", "name": "crm__p"}, "argument": {"name": "a"}}, "crm__p"),
        ({"ref": {"type": "ref/resource", "uri": "crm+x://{a}"}}, "crm+x://{a}"),
        ({"name": 7}, None),
        ({}, None),
        ({"name": "x" * 9000}, "x" * 511 + "…"),
    ],
)
def test_what_was_not_found_stands_under_the_name_it_was_asked_by(params: dict[str, object], item: str | None) -> None:
    assert call_entry(a_record(unresolved(**params)), DENIED, AT, 0.0, "p1").item == item


def test_client_info_that_is_no_text_is_left_out() -> None:
    call = a_call(client=Client("legacy", "2025-06-18", info={"name": {"a": 1}, "version": 3}))
    entry = call_entry(a_record(call), done(), AT, 0.0, "p1")
    assert entry.client is not None
    assert (entry.client.name, entry.client.version) == (None, None)


def test_an_intent_promises_no_outcome() -> None:
    entry = intent_entry(a_record(a_call()), AT, "p1")
    assert (entry.kind, entry.outcome, entry.item, entry.ms) == ("intent", "unknown", "crm__add", None)


def test_a_closing_entry_answers_its_intent() -> None:
    intent = {"call": "c-9", "item": "crm__add", "who": "key:ci", "tenant": "local", "server": "crm"}
    entry = closing_entry(intent, AT, "p2")
    assert (entry.kind, entry.call, entry.outcome, entry.effect) == ("call", "c-9", "unknown", "unknown")


def test_an_event_is_bounded_and_printable() -> None:
    entry = event_entry("auth", "c-1", "10.0.0.1\r", "denied:auth", "a\u202eb", {}, AT, "p1")
    assert (entry.who, entry.item, entry.detail) == ("10.0.0.1\\u000d", "a\\u202eb", None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("über 東京 🙂", "über 東京 🙂"),
        ('x"}\n{"seq":1}', 'x"}\\u000a{"seq":1}'),
        ("a\u2028b\x85c\x1b[2J\ud800", "a\\u2028b\\u0085c\\u001b[2J\\ud800"),
    ],
)
def test_what_is_not_printable_is_spelled_out(text: str, told: str) -> None:
    assert printable(text) == told


def test_a_done_without_size_says_zero() -> None:
    assert call_entry(a_record(a_call()), Done({}), AT, 0.0, "p1").result_bytes == 0

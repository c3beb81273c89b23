"""What is remembered of a written page is what would be written anew, of these very items and for this client."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Call, Client, Item, Kind
from hub.wire import bridge, written
from hub.wire.jsonrpc import dumps, loads
from hub.wire.revisions import LEGACY
from hub.wire.written import Pen
from tests.wire.samples import MODERN, WHO, call, item, legacy

CLIENTS = [MODERN, *(legacy(revision) for revision in LEGACY)]
SCHEMAS = st.sampled_from([{"type": "object"}, {"type": "array"}, {"anyOf": [{"type": "string"}]}])
KINDS = st.sampled_from(list[Kind](["tool", "prompt"]))
DEFINITIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"title": st.text(max_size=5)},
    optional={"execution": st.just({"taskSupport": "optional"}), "outputSchema": SCHEMAS, "x": st.integers()},
)


def written_anew(client: Client, kind: Kind, items: tuple[Item, ...]) -> bytes:
    return dumps([bridge.definition(client, kind, item.shown) for item in items])


def bytes_of(page: written.Written) -> bytes:
    assert isinstance(page, msgspec.Raw)
    return bytes(page)


@given(st.data())
def test_a_remembered_page_is_the_page_written_anew(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(DEFINITIONS, min_size=1, max_size=5))
    items = tuple(item(f"demo__{n}", **definition) for n, definition in enumerate(drawn))
    pen = Pen(data.draw(st.sampled_from([0, 600, 1200, 1 << 20])))
    for _ in range(data.draw(st.integers(1, 12))):
        start, end = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
        client, kind = data.draw(st.sampled_from(CLIENTS)), data.draw(KINDS)
        page = pen.write(call("tools/list", {}, client), kind, items[start:end])
        assert bytes_of(page) == written_anew(client, kind, items[start:end])


def test_a_page_is_written_once_for_all_who_are_shown_the_same_items(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    monkeypatch.setattr(written, "dumps", counted)
    pen, items = Pen(), (item("demo__a"), item("demo__b"))
    other = call("tools/list", {}, who=replace(WHO, credential="cred-b"))
    first = pen.write(call("tools/list", {}), "tool", items)
    assert pen.write(other, "tool", tuple([*items])) is first
    assert counted.times == 1


class Counted:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self, value: Any) -> bytes:
        self.times += 1
        return dumps(value)


@pytest.mark.parametrize(
    "asks",
    [
        call("tools/list", {}, who=replace(WHO, tenant="other")),
        call("tools/list", {}, legacy()),
        call("tools/list", {}, Client("legacy", "2025-03-26")),
    ],
)
def test_tenants_eras_and_revisions_share_no_text(monkeypatch: pytest.MonkeyPatch, asks: Call) -> None:
    counted = Counted()
    monkeypatch.setattr(written, "dumps", counted)
    pen, items = Pen(), (item("demo__a"),)
    pen.write(call("tools/list", {}), "tool", items)
    pen.write(asks, "tool", items)
    assert counted.times == 2


def test_an_item_that_was_listed_anew_is_written_anew_though_it_has_the_same_name_and_hash() -> None:
    pen, old = Pen(), item("demo__a", title="old")
    new = replace(old, shown={"name": "demo__a", "title": "new"})
    pen.write(call("tools/list", {}), "tool", (old,))
    assert loads(bytes_of(pen.write(call("tools/list", {}), "tool", (new,)))) == [new.shown]


def test_what_is_remembered_stays_within_its_bytes_and_the_oldest_goes_first() -> None:
    pen = Pen(10_000)
    pages = [(item(f"demo__{n}", title="x" * 2_000),) for n in range(20)]
    for page in pages:
        pen.write(call("tools/list", {}), "tool", page)
        assert 0 < pen.held <= 10_000
    last = pen.write(call("tools/list", {}), "tool", pages[-1])
    assert pen.write(call("tools/list", {}), "tool", pages[-1]) is last
    first = pen.write(call("tools/list", {}), "tool", pages[0])
    assert loads(bytes_of(first)) == [pages[0][0].shown]
    assert pen.write(call("tools/list", {}), "tool", pages[0]) is first


def test_a_page_that_is_larger_than_all_that_may_be_kept_is_written_and_costs_the_others_nothing() -> None:
    pen, small = Pen(1_000), (item("demo__a"),)
    kept = pen.write(call("tools/list", {}), "tool", small)
    huge = (item("demo__b", title="x" * 5_000),)
    assert loads(bytes_of(pen.write(call("tools/list", {}), "tool", huge))) == [huge[0].shown]
    assert pen.held <= 1_000
    assert pen.write(call("tools/list", {}), "tool", small) is kept


def test_what_cannot_be_written_is_given_as_it_is_so_that_the_answer_says_so() -> None:
    broken = (item("demo__a", title="\ud800"),)
    assert Pen().write(call("tools/list", {}), "tool", broken) == [broken[0].shown]

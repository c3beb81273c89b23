from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Call, Item
from hub.wire.decode import Refusal
from hub.wire.pages import Pages
from tests.wire.samples import WHO, call, item

PAGES = Pages(b"k" * 32)
ITEMS = tuple(item(f"demo__{n:03}") for n in range(10))


def listing(cursor: str | None = None, **more: Any) -> Call:
    return call("tools/list", {} if cursor is None else {"cursor": cursor}, **more)


def cut(made: Call, items: tuple[Item, ...] = ITEMS, size: int = 4) -> tuple[tuple[Item, ...], str | None]:
    page = PAGES.cut(made, items, size)
    assert not isinstance(page, Refusal), page
    return page


def cursor_of(items: tuple[Item, ...] = ITEMS, **more: Any) -> str:
    cursor = cut(listing(**more), items)[1]
    assert cursor is not None
    return cursor


@given(st.sets(st.text(min_size=1, max_size=5)), st.integers(1, 7))
def test_all_pages_together_are_the_list_once(names: set[str], size: int) -> None:
    items = tuple(item(name) for name in sorted(names))
    seen: list[Item] = []
    cursor: str | None = None
    while True:
        page, cursor = cut(listing(cursor), items, size)
        assert len(page) <= size
        seen.extend(page)
        if cursor is None:
            break
    assert tuple(seen) == items


def test_a_list_that_fits_is_given_whole_without_a_cursor() -> None:
    assert cut(listing(), ITEMS, 10) == (ITEMS, None)
    assert cut(listing(), (), 10) == ((), None)


def test_a_cursor_resumes_where_its_item_stood_after_that_item_went() -> None:
    cursor = cursor_of()
    left = tuple(i for i in ITEMS if i.name != "demo__003")
    assert cut(listing(cursor), left)[0][0].name == "demo__004"


def test_a_cursor_gives_nothing_twice_when_items_were_added_before_it() -> None:
    cursor = cursor_of()
    more = (item("alpha__1"), *ITEMS)
    assert cut(listing(cursor), more)[0][0].name == "demo__004"


def test_a_cursor_behind_everything_that_is_left_ends_the_list() -> None:
    assert cut(listing(cursor_of()), ITEMS[:2]) == ((), None)


def test_a_cursor_survives_a_restart_with_the_same_key() -> None:
    page = Pages(b"k" * 32).cut(listing(cursor_of()), ITEMS, 4)
    assert not isinstance(page, Refusal)


BAD = ["", "x", "AAAA", "=", "!!!!", "ä", "a" * 100_000, base64.urlsafe_b64encode(b"\0" * 16 + b"demo__003").decode()]


@pytest.mark.parametrize("cursor", BAD)
def test_a_forged_cursor_is_refused(cursor: str) -> None:
    refused = PAGES.cut(listing(cursor), ITEMS, 4)
    assert isinstance(refused, Refusal)
    assert refused.code == -32602


@pytest.mark.parametrize(
    "thief",
    [
        listing(who=replace(WHO, credential="cred-b")),
        listing(who=replace(WHO, tenant="other")),
        listing(endpoint="team"),
        replace(listing(), method="prompts/list"),
        listing(who=replace(WHO, tenant="localcred", credential="-a")),
    ],
)
def test_a_cursor_of_another_caller_endpoint_or_list_is_refused(thief: Call) -> None:
    stolen = replace(thief, params={"cursor": cursor_of()})
    assert isinstance(PAGES.cut(stolen, ITEMS, 4), Refusal)


def test_a_cursor_under_another_key_is_refused() -> None:
    assert isinstance(Pages(b"x" * 32).cut(listing(cursor_of()), ITEMS, 4), Refusal)


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_cursor_is_refused(at: int, by: int) -> None:
    cursor = cursor_of()
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[at % len(raw)] ^= by
    forged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    assert isinstance(PAGES.cut(listing(forged), ITEMS, 4), Refusal)

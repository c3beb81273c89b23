"""Any change inside the log is found: an edit, a removal, a change of order, a forged hash."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.chain import canonical, hash_of
from hub.audit.read import check_chain
from hub.audit.record import call_entry, intent_entry
from hub.core.call import UNRESOLVED, Client, Denied, Done
from tests.audit.records import a_call, a_record, done, started

COUNT = 14
SEQS = st.integers(1, COUNT)
INNER = st.integers(1, COUNT - 1)  # what has an entry after it
ANY_TEXT = st.text(st.characters())  # lone surrogates too
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.db"
        anyio.run(fill, path)
        yield path


async def fill(path: Path) -> None:
    log = await started(path)
    for n in range(COUNT // 2 - 1):
        await log.intent(a_record(a_call(f"c-{n}")))
        await log.finish(a_record(a_call(f"c-{n}")), done())
    await log.aclose()


def holds_after(whole: Path, *statements: tuple[str, tuple[Any, ...]]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(whole, folder))
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            for statement, values in statements:
                connection.execute(statement, values)
        return check_chain(copy).ok


def row(whole: Path, seq: int) -> tuple[Any, ...]:
    with closing(sqlite3.connect(whole)) as connection:
        found = connection.execute("SELECT tenant, call, kind, line, hash FROM entries WHERE seq = ?", (seq,))
        values: tuple[Any, ...] = found.fetchone()
        return values


def test_an_untouched_log_holds(whole: Path) -> None:
    report = check_chain(whole)
    assert (report.ok, report.entries) == (True, COUNT)


@given(seq=SEQS, place=st.integers(0, 10_000), mark=st.characters(codec="utf-8"))
def test_an_edited_character_is_found(whole: Path, seq: int, place: int, mark: str) -> None:
    line = row(whole, seq)[3]
    place %= len(line)
    edited = line[:place] + mark + line[place + 1 :]
    if edited != line:
        assert not holds_after(whole, ("UPDATE entries SET line = ? WHERE seq = ?", (edited, seq)))


@given(seq=SEQS, column=st.sampled_from(["tenant", "call", "kind", "hash", "line"]), value=st.text() | st.binary())
def test_an_overwritten_column_is_found(whole: Path, seq: int, column: str, value: str | bytes) -> None:
    assert not holds_after(whole, (f"UPDATE entries SET {column} = ? WHERE seq = ?", (value, seq)))


@given(seq=INNER, who=st.text())
def test_an_edit_with_its_hash_made_anew_is_found(whole: Path, seq: int, who: str) -> None:
    line = canonical({"seq": seq, "who": who, "prev": "0" * 64}).decode()
    forged = ("UPDATE entries SET line = ?, hash = ? WHERE seq = ?", (line, hash_of(line.encode()), seq))
    assert not holds_after(whole, forged)


@given(first=INNER, length=st.integers(1, COUNT))
def test_a_removed_stretch_is_found(whole: Path, first: int, length: int) -> None:
    last = min(first + length - 1, COUNT - 1)
    assert not holds_after(whole, ("DELETE FROM entries WHERE seq BETWEEN ? AND ?", (first, last)))


@given(first=INNER)
def test_a_removed_entry_is_found_though_the_rest_moves_up(whole: Path, first: int) -> None:
    assert not holds_after(
        whole,
        ("DELETE FROM entries WHERE seq = ?", (first,)),
        ("UPDATE entries SET seq = -seq WHERE seq > ?", (first,)),
        ("UPDATE entries SET seq = -seq - 1 WHERE seq < 0", ()),
    )


@given(a=SEQS, b=SEQS)
def test_a_change_of_order_is_found(whole: Path, a: int, b: int) -> None:
    swap = "UPDATE entries SET tenant = ?, call = ?, kind = ?, line = ?, hash = ? WHERE seq = ?"
    if a != b:
        assert not holds_after(whole, (swap, (*row(whole, a), b)), (swap, (*row(whole, b), a)))


@given(name=ANY_JSON, info=st.dictionaries(ANY_TEXT, ANY_JSON), arguments=ANY_JSON, reason=ANY_TEXT)
def test_no_call_is_kept_out_of_the_log_by_its_content(name: Any, info: Any, arguments: Any, reason: str) -> None:
    params = {"name": name, "arguments": arguments, "ref": arguments}
    call = a_call(params=params, target=UNRESOLVED, client=Client("modern", "2026-07-28", info=info))
    for outcome in (Denied("unknown_item", reason), Done({"x": arguments}, notes=(reason,))):
        entry = call_entry(a_record(call), outcome, "2026-01-01T00:00:00.000Z", 0.0, "p1")
        line = canonical(entry).decode()
        assert "\n" not in line
        assert "\r" not in line
    assert canonical(intent_entry(a_record(call), "2026-01-01T00:00:00.000Z", "p1"))
    assert canonical({"arguments": arguments})

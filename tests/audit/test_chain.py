from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from hub.audit.chain import GENESIS, ChainReport, Row, canonical, check_rows, hash_of


def chain(count: int) -> list[Row]:
    rows, prev = [], GENESIS
    for seq in range(1, count + 1):
        line = canonical({"seq": seq, "prev": prev, "tenant": "local", "call": f"c{seq}", "kind": "call"})
        rows.append(Row(seq, "local", f"c{seq}", "call", line, hash_of(line)))
        prev = rows[-1].hash.hex()
    return rows


def forged(row: Row, **said: Any) -> Row:
    line = canonical({**json.loads(row.line), **said})
    return replace(row, line=line, hash=hash_of(line))


def test_canonical_sorts_keys_at_every_depth_and_leaves_no_blanks() -> None:
    assert canonical({"b": [{"z": 1, "a": 2}], "a": "é"}) == '{"a":"é","b":[{"a":2,"z":1}]}'.encode()


def test_canonical_keeps_integers_exact() -> None:
    assert canonical({"n": 2**80, "m": -(2**63) - 1}) == b'{"m":-9223372036854775809,"n":1208925819614629174706176}'


class Holder(msgspec.Struct):
    a: str
    b: str | None = None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": "\ud800"}, b'{"a":"\\ud800"}'),
        ({1: "x", "b": [True, None, 1.5]}, b'{"1":"x","b":[true,null,1.5]}'),
        ({"a": object()}, b'{"a":"<object>"}'),
        (Holder("\udfff"), b'{"a":"\\udfff"}'),
    ],
)
def test_canonical_refuses_nothing(value: object, written: bytes) -> None:
    assert canonical(value) == written


def test_a_whole_chain_holds() -> None:
    assert check_rows(chain(5)) == ChainReport(True, 5)
    assert check_rows([]) == ChainReport(True, 0)


def test_a_part_of_the_chain_holds_after_its_predecessor() -> None:
    rows = chain(5)
    assert check_rows(rows[2:], after_seq=2, prev=rows[1].hash.hex()).ok
    assert check_rows(rows[2:], after_seq=2, prev=None).ok
    assert not check_rows(rows[2:], after_seq=2, prev=rows[0].hash.hex()).ok


BREAKS: list[tuple[str, Callable[[list[Row]], list[Row]], int, str]] = [
    ("removed", lambda rows: rows[:1] + rows[2:], 2, "missing"),
    ("first removed", lambda rows: rows[1:], 1, "missing"),
    ("edited", lambda rows: [rows[0], replace(rows[1], line=rows[1].line + b" "), *rows[2:]], 2, "changed"),
    ("rehashed", lambda rows: [rows[0], forged(rows[1], who="eve"), *rows[2:]], 3, "continue"),
    ("wrong start", lambda rows: [forged(rows[0], prev="1" * 64)], 1, "continue"),
    ("not JSON", lambda rows: [replace(rows[0], line=b"{", hash=hash_of(b"{"))], 1, "not JSON"),
    ("no object", lambda rows: [replace(rows[0], line=b"[]", hash=hash_of(b"[]"))], 1, "not an object"),
    ("other seq", lambda rows: [forged(rows[0], seq=9)], 1, "another seq"),
    ("other call", lambda rows: [replace(rows[0], call="c9")], 1, "another call"),
    ("other kind", lambda rows: [replace(rows[0], kind="list")], 1, "another kind"),
    ("other tenant", lambda rows: [replace(rows[0], tenant="t2")], 1, "another tenant"),
]


@pytest.mark.parametrize(("change", "seq", "word"), [row[1:] for row in BREAKS], ids=[row[0] for row in BREAKS])
def test_a_change_is_found_at_its_place(change: Callable[[list[Row]], list[Row]], seq: int, word: str) -> None:
    report = check_rows(change(chain(4)))
    assert (report.ok, report.entries, report.first_bad_seq) == (False, seq - 1, seq)
    assert report.reason is not None
    assert word in report.reason

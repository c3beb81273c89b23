"""What is written quickly is written alike: the lines of entries, and their times."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.chain import canonical
from hub.audit.record import Caller, Entry, call_entry, line_of
from tests.audit.records import a_call, a_record, done

TEXT = st.text(max_size=8) | st.just("\ud800")
CALLER = st.builds(Caller, era=TEXT, name=st.none() | TEXT, revision=TEXT, transport=TEXT, version=st.none() | TEXT)
ENTRY = st.builds(
    Entry,
    args_hmac=st.none() | TEXT,
    at=TEXT,
    call=TEXT,
    client=st.none() | CALLER,
    code=st.none() | TEXT,
    credential=st.none() | TEXT,
    detail=st.none() | st.dictionaries(TEXT, st.integers() | TEXT, max_size=3),
    item=st.none() | TEXT,
    kind=TEXT,
    ms=st.none() | st.floats(0, 1e6),
    notes=st.none() | st.tuples(TEXT, TEXT),
    outcome=TEXT,
    policy_version=TEXT,
    prev=TEXT,
    request_bytes=st.none() | st.integers(0),
    route=st.none() | st.builds(lambda reason, server: {"reason": reason, "server": server}, TEXT, TEXT),
    seq=st.integers(0, 2**62),
    tenant=TEXT,
    verdicts=st.none() | st.lists(st.tuples(TEXT, TEXT, st.floats(0, 1e6)), max_size=3),
    who=TEXT,
)


@given(ENTRY)
def test_an_entry_is_written_as_canonical_json_whatever_it_holds(entry: Entry) -> None:
    assert line_of(entry) == canonical(entry)


def test_the_fields_of_an_entry_are_declared_in_the_order_of_their_names() -> None:
    kinds: tuple[Any, ...] = (Entry, Caller)
    for kind in kinds:
        names = [field.encode_name for field in msgspec.structs.fields(kind)]
        assert names == sorted(names)


@given(st.floats(0, 86_400))
def test_times_are_told_to_the_microsecond(seconds: float) -> None:
    record = a_record(a_call(), ("dispatch", done(), seconds))
    entry = call_entry(record, done(), "", record.started + seconds, "p1")
    assert entry.verdicts is not None
    told = entry.verdicts[0][2]
    assert abs(told - seconds * 1000) <= 0.000_501
    assert told == round(told, 3)

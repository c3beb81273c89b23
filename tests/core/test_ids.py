"""Call ids."""

from __future__ import annotations

from hub.core.ids import new_call_id


def test_call_ids_differ_and_stand_in_the_order_of_their_minting() -> None:
    ids = [new_call_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert len({i.split("-")[0] for i in ids}) == 1

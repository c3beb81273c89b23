"""A changed definition is hidden from lists and calls alike, whatever the arguments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.core.call import ANY, AnyArguments, Call, Client, Denied, Item, Json, Principal
from hub.core.ports import Allowed
from policies.pins import Pins

CALL = Call(
    "1", Principal("local", "u", "c", frozenset()), "", "tools/call", {}, Client("modern", "2026-07-28"), float("inf")
)
ITEM = Item("tool", "srv", "srv__t", "t", {}, {}, "sha")


@pytest.mark.parametrize("arguments", [ANY, {}, {"approved": True}])
def test_a_changed_item_is_denied_and_an_approved_one_allowed(arguments: Json | AnyArguments) -> None:
    assert isinstance(Pins().decide(CALL, replace(ITEM, changed=True), arguments), Denied)
    assert Pins().decide(CALL, ITEM, arguments) == Allowed()

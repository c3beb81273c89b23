"""The wall clock jumps under a running hub: limits and deadlines go on, and the log keeps its order."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from time import monotonic, time
from typing import Final

import pytest

from conformance.faults.layer import Layer, lacking
from hub.audit.read import check_chain, tail
from tests.e2e.lacking import lack
from tests.faults.world import CALL_S, World, stdio_server, world

pytestmark = pytest.mark.e2e

HOUR, DAY = 3600, 86_400
JUMPS: Final = {"an hour back": -HOUR, "a day on": DAY, "a second back": -1}


@pytest.mark.parametrize("jump", JUMPS)
def test_case_26_a_clock_that_jumps_changes_no_deadline_no_limit_no_token_and_no_order(
    tmp_path: Path, jump: str
) -> None:
    if (reason := lacking()) is not None:
        lack(reason)
    layer = Layer(tmp_path)
    limited = stdio_server("legacy", limit={"per_minute": 1, "burst": 2})
    servers = {"pipe": stdio_server("modern"), "limited": limited}
    with world(tmp_path, servers, layer.env) as made:
        made.listed("pipe__well", "limited__well")
        assert made.said("limited__well") == "well"
        layer.set(clock_s=JUMPS[jump])
        answer = made.call("limited__well")
        assert answer.text == "well"
        told = datetime.fromisoformat(made.entry(answer)["at"]).timestamp()
        assert abs(told - time() - JUMPS[jump]) < 30, "the clock did not jump"
        assert made.call("limited__well").code == "rate_limited", "the limit was refilled by the clock"
        began = monotonic()
        assert made.call("pipe__hangs").code == "downstream_late"
        assert CALL_S * 0.9 < monotonic() - began < 10
        order_holds(made)
        layer.set()
        assert made.said("pipe__well") == "well"
        order_holds(made)


def order_holds(made: World) -> None:
    log = made.hub.data_dir / "audit.db"
    assert check_chain(log).ok
    told = tail(log, 100_000)
    assert [entry["seq"] for entry in told] == list(range(told[0]["seq"], told[-1]["seq"] + 1))
    assert all(0 <= entry["ms"] < 60_000 for entry in told if entry["kind"] == "call")

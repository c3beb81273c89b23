"""The model-routing hook."""

from __future__ import annotations

import pytest

from hub.core.call import UNRESOLVED, Call, Denied, Done, Listing, One, Outcome
from hub.core.call import Route as Choice
from hub.core.pipeline import Pipeline
from hub.core.ports import Stage
from policies.route import Route
from tests.core.chain import Find, Log, Reach
from tests.policies.below import Below, a_call, a_tool, cancelled


class Canary:
    """A router that sends the calls of some callers to the variant of the item's server."""

    def __init__(self, callers: frozenset[str], failure: Exception | None = None) -> None:
        self.callers, self.failure = callers, failure

    async def route(self, call: Call) -> Choice | None:
        if self.failure is not None:
            raise self.failure
        return Choice("hr-canary", "one of the first") if call.who.name in self.callers else None


async def test_a_router_chooses_the_variant_that_dispatch_reaches() -> None:
    reach = Reach()
    stages: list[Stage] = [Find(One(a_tool())), Route(Canary(frozenset({"key:u"})))]
    outcome: Outcome = await Pipeline(stages, reach, Log()).handle(a_call(target=UNRESOLVED))
    assert outcome == Done({})
    assert reach.seen[0].route == Choice("hr-canary", "one of the first")


async def test_who_is_not_routed_goes_to_the_items_own_server() -> None:
    below, call = Below(), a_call()
    await Route(Canary(frozenset()))(call, below)
    assert below.seen == [call]
    assert call.route is None


@pytest.mark.parametrize("stage", [Route(None), Route(Canary(frozenset({"key:u"})))], ids=["no-router", "list"])
async def test_lists_and_hubs_without_a_router_pass(stage: Route) -> None:
    below = Below()
    await stage(a_call(target=Listing("tool")), below)
    assert below.seen[0].route is None


async def test_a_router_that_fails_refuses() -> None:
    reach = Reach()
    stages: list[Stage] = [Find(One(a_tool())), Route(Canary(frozenset(), OSError("no model")))]
    outcome = await Pipeline(stages, reach, Log()).handle(a_call(target=UNRESOLVED))
    assert isinstance(outcome, Denied)
    assert outcome.reason == "route: OSError"
    assert not reach.seen


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(Route(Canary(frozenset())), a_call())

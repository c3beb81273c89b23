"""Approvals as a stage."""

from __future__ import annotations

import pytest

from hub.core.call import Call, Denied, Done, Listing
from policies.approve import Approve
from tests.policies.below import Below, a_call, cancelled


class Judge:
    def __init__(self, verdict: Denied | None = None, failure: Exception | None = None) -> None:
        self.verdict, self.failure = verdict, failure
        self.asked: list[Call] = []

    async def judge(self, call: Call) -> Denied | None:
        self.asked.append(call)
        if self.failure is not None:
            raise self.failure
        return self.verdict


async def test_an_approved_call_passes_and_is_asked_about_once() -> None:
    judge = Judge()
    assert await Approve(judge)(a_call(), Below()) == Done({}, 2)
    assert len(judge.asked) == 1


async def test_without_approvals_every_call_passes() -> None:
    assert await Approve(None)(a_call(), Below()) == Done({}, 2)


async def test_a_list_needs_no_approval() -> None:
    judge = Judge(Denied("approval_pending", "asked the owner"))
    assert await Approve(judge)(a_call(target=Listing("tool")), Below()) == Done({}, 2)
    assert not judge.asked


async def test_what_waits_for_approval_is_refused() -> None:
    below, denied = Below(), Denied("approval_pending", "asked the owner")
    assert await Approve(Judge(denied))(a_call(), below) is denied
    assert not below.seen


async def test_approvals_that_fail_let_nothing_pass() -> None:
    below = Below()
    with pytest.raises(OSError, match="gone"):
        await Approve(Judge(failure=OSError("gone")))(a_call(), below)
    assert not below.seen


async def test_a_cancelled_call_stays_cancelled() -> None:
    await cancelled(Approve(Judge()), a_call())

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from hub.core.call import Json
from hub.core.ports import EventKind
from hub.edge.logins import BURST, FailedLogins, network_of
from tests.edge.fakes import FakeJournal, eventually


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def counts(journal: FakeJournal) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, _, _, _, detail in journal.events:
        found[detail["address"]] = found.get(detail["address"], 0) + detail["count"]
    return found


async def test_a_failure_is_logged_without_being_waited_for() -> None:
    journal = FakeJournal()
    failed = FailedLogins(journal, flush_s=0.01)
    assert failed.failed("10.0.0.1") == 0.0
    assert journal.events == []
    await eventually(lambda: len(journal.events) == 1)
    detail = {"address": "10.0.0.1", "count": 1}
    assert journal.events == [("auth", "anonymous", "denied:unauthenticated", None, detail)]
    await failed.aclose()


async def test_many_failures_of_one_address_are_few_entries_that_count_them_all() -> None:
    journal = FakeJournal()
    failed = FailedLogins(journal, flush_s=60.0)
    failed.failed("10.0.0.1")
    await eventually(lambda: len(journal.events) == 1)
    for _ in range(500):
        failed.failed("10.0.0.1")
    failed.failed("10.0.0.2")
    await failed.aclose()
    assert counts(journal) == {"10.0.0.1": 501, "10.0.0.2": 1}
    assert len(journal.events) == 3


async def test_an_address_is_limited_and_recovers_and_others_are_not_concerned() -> None:
    clock = Clock()
    failed = FailedLogins(FakeJournal(), clock, flush_s=60.0)
    assert [failed.failed("10.0.0.1") for _ in range(BURST)] == [0.0] * BURST
    wait_s = failed.failed("10.0.0.1")
    assert 0.9 < wait_s <= 1.0
    assert failed.failed("10.0.0.2") == 0.0
    clock.now += wait_s
    assert failed.failed("10.0.0.1") == 0.0
    assert failed.failed("10.0.0.1") > 0.0
    await failed.aclose()


async def test_addresses_are_bounded_and_the_rest_share_one() -> None:
    clock, journal = Clock(), FakeJournal()
    failed = FailedLogins(journal, clock, flush_s=60.0, addresses=3)
    for n in range(6):
        failed.failed(f"10.0.0.{n}")
    await failed.aclose()
    assert counts(journal) == {"10.0.0.0": 1, "10.0.0.1": 1, "10.0.0.2": 1, "other addresses": 3}
    clock.now += 3600
    failed.failed("10.0.0.9")
    await failed.aclose()
    assert counts(journal)["10.0.0.9"] == 1


class BrokenOnce(FakeJournal):
    broken: bool = True

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        if self.broken:
            self.broken = False
            raise OSError("disk full")
        return await super().event(kind, who, outcome, item, detail)


async def test_a_log_that_fails_is_tried_again_and_loses_no_count() -> None:
    journal = BrokenOnce()
    failed = FailedLogins(journal, flush_s=0.01)
    failed.failed("10.0.0.1")
    failed.failed("10.0.0.1")
    await eventually(lambda: bool(journal.events))
    assert counts(journal) == {"10.0.0.1": 2}
    await failed.aclose()


async def test_closing_without_a_failure_writes_nothing() -> None:
    journal = FakeJournal()
    await FailedLogins(journal).aclose()
    assert journal.events == []


async def test_the_writer_ends_when_nothing_is_left_and_starts_anew() -> None:
    journal = FakeJournal()
    failed = FailedLogins(journal, flush_s=0.001)
    failed.failed("10.0.0.1")
    await eventually(lambda: all(t.get_name() != "failed logins" for t in asyncio.all_tasks()))
    failed.failed("10.0.0.1")
    await eventually(lambda: counts(journal) == {"10.0.0.1": 2})
    await failed.aclose()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_an_ipv6_subscriber_is_one_address(address: str, network: str) -> None:
    assert network_of(address).replace("::ffff:a00:1", "::ffff:10.0.0.1") == network

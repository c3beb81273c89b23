from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from hub.admin.events import MAX_SERIES, CountedJournal
from hub.core.errors import HubError
from tests.edge.fakes import FakeJournal


def scraped(journal: CountedJournal) -> list[str]:
    registry = CollectorRegistry()
    registry.register(journal)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


async def test_logins_are_counted_by_act_and_outcome() -> None:
    journal = CountedJournal(FakeJournal())
    await journal.event("auth", "user:ann", "done", None, {"act": "login"})
    await journal.event("auth", "user:bob", "done", None, {"act": "login"})
    await journal.event("auth", "anonymous", "denied:unauthenticated", None, {"act": "login"})
    assert scraped(journal) == [
        'mcp_hub_events_total{act="login",kind="auth",outcome="done"} 2.0',
        'mcp_hub_events_total{act="login",kind="auth",outcome="denied"} 1.0',
    ]


async def test_what_the_log_did_not_take_is_not_counted() -> None:
    class Full(FakeJournal):
        async def event(self, *entry: object, **more: object) -> str:
            raise HubError("the disk is full")

    journal = CountedJournal(Full())
    with pytest.raises(HubError):
        await journal.event("auth", "user:ann", "done", None, {"act": "login"})
    assert scraped(journal) == []


async def test_no_text_of_a_caller_becomes_a_label_and_series_are_bounded() -> None:
    journal = CountedJournal(FakeJournal())
    await journal.event("auth", "user:ann", "done", None, {"act": 'x"} 1\nfake 2'})
    await journal.event("auth", "user:ann", "done", None, {})
    assert scraped(journal) == ['mcp_hub_events_total{act="other",kind="auth",outcome="done"} 2.0']
    for number in range(MAX_SERIES + 50):
        await journal.event("auth", "user:ann", "done", None, {"act": f"act.n{number}"})
    assert len(scraped(journal)) == MAX_SERIES

"""A modern server is listened to as long as it lets the hub, and a gap counts as a change of everything."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from hub.core.call import Json
from hub.core.errors import Lost, Refused
from hub.downstream.link import Exchange
from hub.downstream.listen import keep_listening, wanted
from tests.downstream.heard import Heard

CAPABILITIES = {"tools": {"listChanged": True}, "prompts": {"listChanged": False}, "resources": {"listChanged": True}}


class Server:
    """Answers each listen with the next outcome; when there is none left it is lost."""

    def __init__(self, *outcomes: Json | Exception) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[str, Json]] = []

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        assert exchange.hard_deadline == exchange.timeout_s == inf
        self.asked.append((method, params))
        outcome = self.outcomes.pop(0) if self.outcomes else Lost("s", "over")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def listen(server: Server, capabilities: Json = CAPABILITIES) -> Heard:
    heard = Heard()
    async with asyncio.timeout(5):
        await keep_listening("s", server.request, capabilities, heard.events.notified, first_s=0.001)
    return heard


async def test_only_declared_changes_are_asked_for() -> None:
    server = Server()
    heard = await listen(server)
    notifications = {"toolsListChanged": True, "resourcesListChanged": True}
    assert server.asked == [("subscriptions/listen", {"notifications": notifications})]
    assert heard.notified == []


async def test_ended_listen_is_renewed_and_what_it_may_have_missed_counts_as_changed() -> None:
    server = Server({}, {})
    heard = await listen(server)
    assert len(server.asked) == 3
    methods = [method for method, _ in heard.notified]
    assert methods == ["notifications/tools/list_changed", "notifications/resources/list_changed"] * 2


async def test_server_that_refuses_is_left_alone() -> None:
    server = Server(Refused("s", {"code": -32601, "message": "no"}), {})
    await listen(server)
    assert len(server.asked) == 1


async def test_nothing_declared_nothing_asked() -> None:
    odd: list[Any] = [{}, {"tools": {}}, {"tools": {"listChanged": "yes"}}, {"tools": None}, {"tools": []}]
    for capabilities in odd:
        server = Server({})
        await listen(server, capabilities)
        assert server.asked == []
        assert wanted(capabilities) == {}

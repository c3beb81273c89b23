"""Resource subscriptions: asked once per link, asked again after a reconnect, bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.core.call import Item
from hub.core.errors import Late, Refused
from hub.downstream import subscriptions as subscriptions_module
from hub.downstream.subscriptions import Subscriptions
from tests.downstream.catalog_fakes import FakeLink, Hub, link, spec, until

CAN: dict[str, Any] = {"resources": {"subscribe": True}}
ASK = "resources/subscribe"


def can(era: Any = "legacy") -> FakeLink:
    return link(capabilities=CAN, era=era)


def item(uri: str = "doc://r") -> Item:
    return Item("resource", "srv", f"srv+{uri}", uri, {}, {"uri": f"srv+{uri}"}, "sha", writes=False)


def asked(up: FakeLink) -> list[str]:
    return [params["uri"] for method, params in up.asked if method == ASK]


async def test_a_resource_is_subscribed_once_per_link() -> None:
    held, up = Subscriptions({"srv": spec()}), can()
    assert await held.hold(item(), up)
    assert await held.hold(item(), up)
    assert await held.hold(item("doc://s"), up)
    assert asked(up) == ["doc://r", "doc://s"]


@pytest.mark.parametrize("up", [link(), can("modern"), link(capabilities={"resources": {"subscribe": "yes"}})])
async def test_a_server_that_does_not_report_is_not_asked(up: FakeLink) -> None:
    assert not await Subscriptions({"srv": spec()}).hold(item(), up)
    assert up.asked == []


async def test_a_failed_subscription_is_not_held() -> None:
    held, up = Subscriptions({"srv": spec()}), can()
    up.answers[ASK] = [Late("srv", "no answer")]
    with pytest.raises(Late):
        await held.hold(item(), up)
    assert await held.hold(item(), up)
    assert len(asked(up)) == 2


async def test_a_new_link_is_told_of_every_subscription() -> None:
    async with Hub() as hub:
        first, second = can(), can()
        hub.catalog.on_up("srv", first)
        await hub.catalog.subscribe(item("a://1"), first)
        await hub.catalog.subscribe(item("a://2"), first)
        hub.catalog.on_up("srv", second)
        await until(lambda: asked(second) == ["a://1", "a://2"])
        assert await hub.catalog.subscribe(item("a://1"), second)
        assert len(asked(second)) == 2


async def test_what_a_new_link_refuses_is_given_up_and_the_rest_is_asked() -> None:
    held, first, second = Subscriptions({"srv": spec()}), can(), can()
    await held.hold(item("a://1"), first)
    await held.hold(item("a://2"), first)
    second.answers[ASK] = [Refused("srv", {"code": -32002, "message": "gone"})]
    held.renew("srv", second)
    await until(lambda: asked(second) == ["a://1", "a://2"])
    third = can()
    held.renew("srv", third)
    await until(lambda: asked(third) == ["a://2"])
    await held.aclose()


async def test_a_new_link_that_fails_is_left_alone() -> None:
    held, first, second = Subscriptions({"srv": spec()}), can(), can()
    await held.hold(item("a://1"), first)
    await held.hold(item("a://2"), first)
    second.answers[ASK] = [Late("srv", "no answer")]
    held.renew("srv", second)
    await until(lambda: bool(asked(second)))
    await asyncio.sleep(0.01)
    assert asked(second) == ["a://1"]
    assert await held.hold(item("a://1"), second)
    await held.aclose()


async def test_a_resource_that_was_asked_for_meanwhile_is_not_asked_twice() -> None:
    held, first, second = Subscriptions({"srv": spec()}), can(), can()
    await held.hold(item("a://1"), first)
    await held.hold(item("a://2"), first)
    second.gates[ASK] = gate = asyncio.Event()
    held.renew("srv", second)
    await until(lambda: len(asked(second)) == 1)
    del second.gates[ASK]
    assert await held.hold(item("a://2"), second)
    gate.set()
    await asyncio.sleep(0.01)
    assert asked(second) == ["a://1", "a://2"]
    await held.aclose()


async def test_subscriptions_are_bounded_and_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions_module, "MAX_HELD", 2)
    held, first, second = Subscriptions({"srv": spec()}), can(), can()
    for n in range(3):
        await held.hold(item(f"a://{n}"), first)
    held.renew("srv", second)
    await until(lambda: asked(second) == ["a://1", "a://2"])
    await held.aclose()


async def test_a_second_reconnect_and_a_close_end_the_renewal_under_way() -> None:
    before = len(asyncio.all_tasks())
    held, first, second, third = Subscriptions({"srv": spec()}), can(), can(), can()
    await held.hold(item("a://1"), first)
    for up in (second, third):
        up.gates[ASK] = asyncio.Event()
        held.renew("srv", up)
        await until(lambda up=up: len(asked(up)) == 1)  # type: ignore[misc]
    await held.aclose()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before

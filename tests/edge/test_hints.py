"""How long clients may keep lists and discovery: on every road of the modern era, and at the endpoint asked."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import Call, Client, Json, Kind, Outcome
from hub.core.ports import Endpoint
from hub.edge.hints import discovery_ttl_ms, list_ttl_ms
from tests.edge.fakes import CLIENT, FakeCatalog, FakePipeline, fake_ports
from tests.edge.harness import ask_modern, door
from tests.edge.test_conversation import MODERN, initialize, opened, request, talk

LISTS: list[tuple[str, Kind]] = [
    ("tools/list", "tool"),
    ("prompts/list", "prompt"),
    ("resources/list", "resource"),
    ("resources/templates/list", "template"),
]
KINDS: tuple[Kind, ...] = ("tool", "prompt", "resource", "template")


def timed(**ttls: int) -> FakeCatalog:
    """A catalogue whose lists at the default endpoint have so much left."""
    made = FakeCatalog()
    made.ttls = {("", kind): ttls.get(kind, 0) for kind in KINDS}
    return made


def asked(method: str) -> Call:
    return Call("1", CLIENT, "", method, {}, Client("modern", "2026-07-28"), 1e9)


@pytest.mark.parametrize(("method", "kind"), LISTS)
async def test_a_list_over_http_says_what_is_left_of_its_own_kind_at_its_own_endpoint(method: str, kind: Kind) -> None:
    app = door(fake_ports(catalog=timed(**{kind: 700}))).app
    result = (await ask_modern(app, method)).json["result"]
    assert (result["ttlMs"], result["cacheScope"]) == (700, "private")
    for other, _ in LISTS:
        if other != method:
            assert (await ask_modern(app, other)).json["result"]["ttlMs"] == 0
    assert (await ask_modern(app, method, path="/team/mcp")).json["result"]["ttlMs"] == 0


async def test_every_page_over_http_says_it() -> None:
    app = door(fake_ports(catalog=timed(tool=700), endpoints={"": Endpoint("", page_size=3)})).app
    first = (await ask_modern(app, "tools/list")).json["result"]
    second = (await ask_modern(app, "tools/list", cursor=first["nextCursor"])).json["result"]
    assert (first["ttlMs"], second["ttlMs"]) == (700, 700)


@pytest.mark.parametrize("transport", ["stdio", "sse"])
@pytest.mark.parametrize(("method", "kind"), LISTS)
async def test_a_list_over_a_channel_says_it_too(method: str, kind: Kind, transport: Any) -> None:
    async with talk(transport=transport, catalog=timed(**{kind: 700})) as t:
        result = (await t.ask(request(method, {"_meta": MODERN})))["result"]
        assert (result["ttlMs"], result["cacheScope"]) == (700, "private")


async def test_legacy_clients_are_told_no_times() -> None:
    async with talk(catalog=timed(tool=700)) as t:
        await opened(t)
        assert "ttlMs" not in (await t.ask(request("tools/list")))["result"]
    async with talk(catalog=timed(tool=700)) as t:
        assert "ttlMs" not in (await t.ask(initialize()))["result"]


@pytest.mark.parametrize(("template", "least"), [(400, 400), (900, 500), (0, 0)])
async def test_discovery_may_be_kept_as_long_as_every_list_it_declares(template: int, least: int) -> None:
    catalog = timed(tool=500, prompt=600, resource=700, template=template)
    assert (await ask_modern(door(fake_ports(catalog=catalog)).app, "server/discover")).json["result"]["ttlMs"] == least
    async with talk(catalog=catalog) as t:
        found = (await t.ask(request("server/discover", {"_meta": MODERN})))["result"]
        assert (found["ttlMs"], found["cacheScope"]) == (least, "private")


def test_a_list_that_is_not_declared_does_not_shorten_discovery() -> None:
    class Offering(FakeCatalog):
        def __init__(self, offered: Json) -> None:
            super().__init__()
            self.offered = offered
            self.ttls["", "tool"] = 500

        def capabilities(self, endpoint: str, account: str = "") -> Json:
            return self.offered

    assert discovery_ttl_ms(Offering({"tools": {"listChanged": True}, "completions": {}}), "", "") == 500
    assert discovery_ttl_ms(Offering({"completions": {}}), "", "") == 0


@pytest.mark.parametrize("method", ["tools/call", "resources/read", "prompts/get", "completion/complete"])
def test_what_is_no_list_has_no_time_of_a_list(method: str) -> None:
    assert list_ttl_ms(timed(tool=500, prompt=500, resource=500, template=500), asked(method)) == 0


@pytest.mark.parametrize(("before", "after", "told"), [(700, 0, 0), (100, 3600, 100), (0, 3600, 0)])
async def test_a_list_replaced_while_it_is_answered_passes_no_time_on_to_the_old_one(
    before: int, after: int, told: int
) -> None:
    catalog = timed(tool=before)
    pipeline = FakePipeline(catalog)

    async def replacing(call: Call) -> Outcome:
        outcome = await pipeline(call)
        catalog.ttls["", "tool"] = after
        return outcome

    app = door(fake_ports(replacing, catalog=catalog)).app
    assert (await ask_modern(app, "tools/list")).json["result"]["ttlMs"] == told
    catalog.ttls["", "tool"] = before
    async with talk(replacing, catalog=catalog) as t:
        assert (await t.ask(request("tools/list", {"_meta": MODERN})))["result"]["ttlMs"] == told

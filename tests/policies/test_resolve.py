"""What a call is about, found in the catalogue of its endpoint; what does not exist is unknown before anything else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.core.call import (
    Call,
    Client,
    Denied,
    Done,
    HubOwned,
    Item,
    Json,
    Kind,
    Listing,
    One,
    Outcome,
    Principal,
    Several,
    Target,
)
from policies.resolve import MAX_URIS, Resolve


def item(kind: Kind, name: str) -> Item:
    return Item(kind, "srv", name, name, {}, {}, "sha")


ITEMS = {
    ("", kind, name): item(kind, name)  # type: ignore[arg-type]
    for kind, name in (
        ("tool", "srv__t"),
        ("prompt", "srv__p"),
        ("resource", "srv+a://1"),
        ("resource", "srv+a://2"),
        ("template", "srv+a://{x}"),
    )
}


class FakeCatalog:
    def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
        return ITEMS.get((endpoint, kind, name))

    def items(self, endpoint: str, kind: Kind, account: str = "") -> tuple[Item, ...]:
        return ()

    async def settled(self, endpoint: str, timeout_s: float, account: str = "") -> None:
        return None

    def capabilities(self, endpoint: str, account: str = "") -> Json:
        return {}

    def ttl_ms(self, endpoint: str, kind: Kind, account: str = "") -> int:
        return 0


async def resolved(method: str, params: Json, endpoint: str = "") -> Target | Denied:
    """The target that the next stage sees, or the denial."""
    seen: list[Target] = []

    async def below(call: Call) -> Outcome:
        assert call.params is params
        seen.append(call.target)
        return Done({})

    who = Principal("local", "u", "c", frozenset({"mcp"}))
    call = Call("1", who, endpoint, method, params, Client("modern", "2026-07-28"), float("inf"))
    outcome = await Resolve(FakeCatalog())(call, below)
    if isinstance(outcome, Denied):
        assert not seen
        return outcome
    return seen[0]


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("tools/list", "tool"),
        ("prompts/list", "prompt"),
        ("resources/list", "resource"),
        ("resources/templates/list", "template"),
    ],
)
async def test_a_list_is_of_its_kind(method: str, kind: Kind) -> None:
    assert await resolved(method, {"cursor": "x"}) == Listing(kind)


@pytest.mark.parametrize(
    ("method", "params", "kind", "name"),
    [
        ("tools/call", {"name": "srv__t"}, "tool", "srv__t"),
        ("prompts/get", {"name": "srv__p"}, "prompt", "srv__p"),
        ("resources/read", {"uri": "srv+a://1"}, "resource", "srv+a://1"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "srv__p"}}, "prompt", "srv__p"),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "srv+a://{x}"}}, "template", "srv+a://{x}"),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "srv+a://1"}}, "resource", "srv+a://1"),
    ],
)
async def test_a_call_is_about_the_item_it_names(method: str, params: Json, kind: str, name: str) -> None:
    assert await resolved(method, params) == One(ITEMS["", kind, name])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "srv__gone"}),
        ("tools/call", {"name": "srv__p"}),
        ("tools/call", {"name": ["srv__t"]}),
        ("tools/call", {}),
        ("prompts/get", {"name": None}),
        ("resources/read", {"name": "srv+a://1"}),
        ("completion/complete", {}),
        ("completion/complete", {"ref": "srv__p"}),
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "srv__t"}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "srv__p"}}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": 5}}),
        ("subscriptions/listen", {"uris": "srv+a://1"}),
        ("subscriptions/listen", {}),
    ],
)
async def test_what_does_not_exist_is_unknown(method: str, params: Json) -> None:
    denied = await resolved(method, params)
    assert isinstance(denied, Denied)
    assert denied.code == "unknown_item"


async def test_an_item_of_another_endpoint_is_unknown() -> None:
    denied = await resolved("tools/call", {"name": "srv__t"}, endpoint="other")
    assert isinstance(denied, Denied)
    assert denied.code == "unknown_item"


@pytest.mark.parametrize("method", ["", "tools/delete", "initialize", "x" * 10_000])
async def test_any_other_method_is_unsupported(method: str) -> None:
    denied = await resolved(method, {})
    assert isinstance(denied, Denied)
    assert denied.code == "unsupported"
    assert len(denied.reason) < 200


@pytest.mark.parametrize(
    ("method", "params", "names"),
    [
        ("resources/subscribe", {"uri": "srv+a://1"}, ["srv+a://1"]),
        ("resources/unsubscribe", {"uri": "srv+a://1"}, ["srv+a://1"]),
        ("resources/subscribe", {"uri": "srv+gone://1"}, []),
        ("resources/subscribe", {}, []),
        ("subscriptions/listen", {"uris": ["srv+a://2", "x", 5, "srv+a://1", "srv+a://2"]}, ["srv+a://2", "srv+a://1"]),
        ("subscriptions/listen", {"uris": ["x"] * MAX_URIS + ["srv+a://1"]}, []),
    ],
)
async def test_a_subscription_is_about_those_that_exist(method: str, params: Any, names: list[str]) -> None:
    target = await resolved(method, params)
    assert isinstance(target, Several)
    assert [item.name for item in target.items] == names


async def test_a_listen_without_resources_is_the_hubs_own() -> None:
    assert await resolved("subscriptions/listen", {"uris": []}) == HubOwned()


@pytest.mark.parametrize(("transport", "patience_s"), [("http", 3.0), ("stdio", 10.0)])
async def test_a_name_of_a_server_in_its_first_start_is_waited_for(transport: Any, patience_s: float) -> None:
    """Else the first call after a start would be told that its tool does not exist."""
    waited: list[tuple[str, float, str]] = []

    class Starting(FakeCatalog):
        def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
            return super().resolve(endpoint, kind, name) if waited else None

        async def settled(self, endpoint: str, timeout_s: float, account: str = "") -> None:
            waited.append((endpoint, timeout_s, account))

    async def below(call: Call) -> Outcome:
        assert call.target == One(ITEMS["", "tool", "srv__t"])
        return Done({})

    who = Principal("local", "u", "c", frozenset({"mcp"}))
    client = Client("modern", "2026-07-28", transport=transport)
    call = Call("1", who, "", "tools/call", {"name": "srv__t"}, client, float("inf"))
    assert await Resolve(Starting())(call, below) == Done({})
    assert waited == [("", patience_s, "c")]


async def test_a_name_is_looked_up_among_what_the_caller_sees() -> None:
    class OfAccounts(FakeCatalog):
        def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
            return super().resolve(endpoint, kind, name) if account == "u1" else None

    async def below(call: Call) -> Outcome:
        return Done({"about": call.target})

    anna = Principal("local", "user:anna", "c1", frozenset({"mcp"}), user="u1")
    key = Principal("local", "key:k", "c2", frozenset({"mcp"}))
    client, resolve = Client("modern", "2026-07-28"), Resolve(OfAccounts())
    for method, params, found in (
        ("tools/call", {"name": "srv__t"}, One(ITEMS["", "tool", "srv__t"])),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "srv__p"}}, One(ITEMS["", "prompt", "srv__p"])),
        ("resources/subscribe", {"uri": "srv+a://1"}, Several((ITEMS["", "resource", "srv+a://1"],))),
    ):
        call = Call("1", anna, "", method, params, client, float("inf"))
        assert await resolve(call, below) == Done({"about": found})
        onward = resolve.forward(call)
        assert isinstance(onward, Call)
        assert onward.target == found
    call = Call("1", key, "", "tools/call", {"name": "srv__t"}, client, float("inf"))
    assert resolve.forward(call) is None  # it waits for what his servers may list yet
    assert isinstance(await resolve(call, below), Denied)


async def test_a_failing_catalogue_and_a_cancelled_call_pass_through() -> None:
    class Broken(FakeCatalog):
        def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
            raise LookupError("broken")

    who = Principal("local", "u", "c", frozenset())
    call = Call("1", who, "", "tools/call", {"name": "t"}, Client("modern", "2026-07-28"), float("inf"))

    async def hang(call: Call) -> Outcome:
        await asyncio.Event().wait()
        return Done({})

    with pytest.raises(LookupError):
        await Resolve(Broken())(call, hang)
    listing = Call("1", who, "", "tools/list", {}, Client("modern", "2026-07-28"), float("inf"))
    asking = asyncio.ensure_future(Resolve(FakeCatalog())(listing, hang))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

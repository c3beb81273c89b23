"""Whatever happens in whatever order, no account reads anything of another's."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.call import Item, Kind
from hub.downstream.link import ServerSpec
from hub.downstream.login_tool import is_login_tool
from tests.downstream.catalog_fakes import FakeLink, link, prompt, resource, spec, template, tool, until
from tests.downstream.own_fakes import ALL, ANNA, BEN, OwnHub, personal

ACCOUNTS = (ANNA, BEN)
SERVERS = ("one", "two")
CHANGED = {
    "tool": "notifications/tools/list_changed",
    "prompt": "notifications/prompts/list_changed",
    "resource": "notifications/resources/list_changed",
}
PLAIN = ("a", "b", "log_in")

Act = tuple[str, str, str, tuple[str, ...]]

ACTS = st.tuples(
    st.sampled_from(["begun", "ended", "changed", "settled", "silent", "public", "swept", "respec", "again"]),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(SERVERS),
    st.lists(st.sampled_from(PLAIN), max_size=3, unique=True).map(lambda names: tuple(sorted(names))),
)


def listing(whose: str, names: tuple[str, ...]) -> FakeLink:
    """The same names for everybody, and one of his own; whose they are is said in every definition."""
    own = (*names, f"of-{whose}")
    uris = [f"doc://{name}" for name in own]
    return link(
        [tool(name, description=whose) for name in own],
        [prompt(name, description=whose) for name in own],
        [resource(uri, description=whose) for uri in uris],
        [template(f"{uri}/{{x}}", description=whose) for uri in uris],
    )


class Story:
    """The hub, and who should see whose lists of which server."""

    def __init__(self, hub: OwnHub) -> None:
        self.hub = hub
        self.own: dict[tuple[str, str], tuple[str, ...]] = {}  # (account, server): what it lists now
        self.public: dict[str, tuple[str, ...]] = {}
        self.pins = "off"

    async def act(self, act: Act) -> None:
        what, account, server, names = act
        hub, key = self.hub, (account, server)
        if what == "begun":
            hub.connect(account, listing(account, names), server)
            hub.personal.drop(server, account, now=True)
            hub.own.begun(server, account)
            self.own[key] = names
        elif what == "ended":
            hub.log_out(account, server)
            self.own.pop(key, None)
        elif what == "changed" and key in self.own and hub.personal.link(server, account) is not None:
            kept = hub.links[server, account]
            assert isinstance(kept, FakeLink)
            kept.lists = listing(account, names).lists
            for method in CHANGED.values():
                hub.notify(account, method, server=server)
            self.own[key] = names
        elif what == "settled":
            await hub.own.settled("", 5.0, account)
        elif what == "silent":
            hub.silent(server)
        elif what == "public":
            hub.base.health(server, "ready")
            hub.base.catalog.on_up(server, listing("everybody", names))
            self.public[server] = names
        elif what == "swept":
            hub.clock.now += 4000.0
            hub.own.sweep()
        elif what == "respec":
            self.pins = "warn" if self.pins == "off" else "off"
            await hub.base.catalog.apply(specs(self.pins), hub.base.catalog.endpoints)
        else:
            await asyncio.sleep(0.002)

    def check(self) -> None:
        """At every moment: of oneself or of everybody, in lists and by name alike."""
        for account in (*ACCOUNTS, ""):
            others = {one for one in ACCOUNTS if one != account}
            for kind in ALL:
                for item in self.hub.own.items("", kind, account):
                    assert item.definition.get("description") not in others
                    assert f"of-{next(iter(others))}" not in item.native
                for name in names_of(kind):
                    found = self.hub.find(account, name, kind)
                    assert found is None or found.definition.get("description") not in others
                    if found is not None and kind in ("tool", "prompt", "template"):
                        assert not any(f"of-{other}" in found.native for other in others)

    async def check_rest(self) -> None:
        """Once nothing goes on any more: exactly what is theirs."""
        for account in ACCOUNTS:
            await self.hub.own.settled("", 5.0, account)
            for server in SERVERS:
                if (account, server) in self.own:
                    whose, names = account, self.own[account, server]
                elif server in self.public:
                    whose, names = "everybody", self.public[server]
                else:
                    continue
                expected = sorted(f"{server}__{name}" for name in (*names, f"of-{whose}"))
                await until(lambda a=account, s=server, e=expected: self._listed(a, s) == e)  # type: ignore[misc]

    def _listed(self, account: str, server: str) -> list[str]:
        items: tuple[Item, ...] = self.hub.own.items("", "tool", account)
        return sorted(item.name for item in items if item.server == server and not is_login_tool(item))


def names_of(kind: Kind) -> list[str]:
    every = (*PLAIN, *(f"of-{account}" for account in ACCOUNTS))
    if kind in ("tool", "prompt"):
        return [f"{server}__{name}" for server in SERVERS for name in every]
    return [f"{server}+doc://{name}{'' if kind == 'resource' else '/{x}'}" for server in SERVERS for name in every]


def specs(pins: Any) -> list[ServerSpec]:
    return [*(personal(server, pins=pins) for server in SERVERS), spec("other")]


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTS, max_size=14))
def test_no_account_ever_sees_what_is_anothers(acts: list[Act]) -> None:
    async def tell() -> None:
        async with OwnHub(*specs("off")) as hub:
            story = Story(hub)
            for act in acts:
                await story.act(act)
                story.check()
            await story.check_rest()
            story.check()

    asyncio.run(tell())

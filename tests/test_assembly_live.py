"""Changes of the configuration: checked whole, stored, in force; and nothing half-done, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hub.assembly_live import Live, NotThere, OfTheFile, Reloaded
from hub.assembly_parts import with_sandbox
from hub.config import Config, ConfigError, load
from hub.core.call import Json
from hub.core.ports import Conflict, EventKind, RegistryRow
from hub.stores.memory.registry import MemoryRegistry

FILE = """
mcpServers:
  wiki: {url: "http://h/mcp"}
  off: {command: x, enabled: false}
endpoints:
  /docs/mcp: {servers: [wiki]}
"""
ENTRY: Json = {"command": "x"}


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, Json]] = []
        self.broken = False

    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        if self.broken:
            raise OSError("the log is full")
        self.events.append((kind, who, outcome, detail))
        return "call"


@dataclass
class World:
    path: Path
    secrets: dict[str, str] = field(default_factory=dict)
    store: MemoryRegistry = field(default_factory=MemoryRegistry)
    log: Log = field(default_factory=Log)
    installed: list[Config] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    gate: asyncio.Event | None = None
    transform: Callable[[Config], Config] = lambda config: config

    def read(self) -> Config:
        return load(self.path, {}, secrets=self.secrets.get)

    async def install(self, config: Config) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise self.fails.pop(0)
        self.installed.append(config)

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.path.chmod(0o600)

    async def live(self) -> Live:
        made = Live(
            self.transform(self.read()),
            self.store,
            self.log,
            self.install,
            environ={},
            secrets=self.secrets.get,
            reread=self.read,
        )
        await made.load()
        return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "hub.yaml")
    made.write(FILE)
    return made


def ids(live: Live) -> list[str]:
    return [spec.id for spec in live.config.servers]


async def stored(world: World) -> list[tuple[str, str, int]]:
    return [(row.kind, row.id, row.version) for row in await world.store.all("local")]


async def test_a_server_is_in_force_and_stored_when_it_was_put(world: World) -> None:
    live = await world.live()
    row = await live.put_server("jira", ENTRY, "ann", None)
    assert (row.version, row.updated_by, dict(row.body)) == (1, "ann", ENTRY)
    assert ids(live) == ["wiki", "off", "jira"]
    assert world.installed == [live.config]
    assert live.rows() == await world.store.all("local") == (row,)
    assert live.row("server", "jira") == row
    again = await live.put_server("jira", {"command": "y"}, "bob", 1)
    assert (again.version, again.created_at, again.updated_by) == (2, row.created_at, "bob")
    assert live.config.servers[-1].command == ("y",)
    assert ids(await world.live()) == ["wiki", "off", "jira"]


async def test_two_admins_who_change_one_entry_do_not_overwrite_one_another(world: World) -> None:
    live = await world.live()
    await live.put_server("jira", ENTRY, "ann", None)
    with pytest.raises(Conflict, match=r"at version 1, changed by ann; read it again"):
        await live.put_server("jira", {"command": "mine"}, "bob", None)
    both = await asyncio.gather(
        live.put_server("jira", {"command": "a"}, "ann", 1),
        live.put_server("jira", {"command": "b"}, "bob", 1),
        return_exceptions=True,
    )
    assert [type(each) for each in both] == [RegistryRow, Conflict]
    assert live.config.servers[-1].command == ("a",)
    with pytest.raises(Conflict, match="at version 2"):
        await live.remove_server("jira", "bob", 1)
    with pytest.raises(Conflict, match="not registered any more"):
        await live.put_server("gone", ENTRY, "bob", 3)
    await live.remove_server("jira", "ann", 2)
    assert ids(live) == ["wiki", "off"]
    assert await stored(world) == []


async def test_a_store_that_another_process_changed_refuses_too(world: World) -> None:
    live = await world.live()
    row = await live.put_server("jira", ENTRY, "ann", None)
    await world.store.put(replace(row, version=2), 1)
    with pytest.raises(Conflict):
        await live.put_server("jira", {"command": "y"}, "ann", 1)
    assert live.config.servers[-1].command == ("x",)


@pytest.mark.parametrize(
    ("entry", "where", "text"),
    [
        ({"command": "x", "env": {"K": "secret:no"}}, "mcpServers.jira.env.K", "run: mcp-hub secrets set no"),
        ({"command": "x", "comand": 1}, "mcpServers.jira.comand", "did you mean 'command'"),
        ({}, "mcpServers.jira", "needs exactly one of"),
        ({"command": "x", "variant_of": "nobody"}, "mcpServers.jira.variant_of", "no other server"),
        ({"command": "x", "env": [[[]]]}, "mcpServers.jira.env", "must be a mapping"),
    ],
)
async def test_a_wrong_entry_is_refused_whole(world: World, entry: Json, where: str, text: str) -> None:
    live = await world.live()
    with pytest.raises(ConfigError) as caught:
        await live.put_server("jira", entry, "ann", None)
    assert caught.value.faults[0].where == where
    assert text in caught.value.faults[0].text
    assert world.installed == []
    assert await stored(world) == []


@pytest.mark.parametrize("id", ["Jira", "a b", "x" * 25, "-a", ""])
async def test_an_id_is_written_as_tools_will_be_named(world: World, id: str) -> None:
    live = await world.live()
    with pytest.raises(ValueError, match=r"server id|no letter"):
        await live.put_server(id, ENTRY, "ann", None)
    assert await stored(world) == []


async def test_what_is_too_deep_is_refused_before_it_is_stored(world: World) -> None:
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    live = await world.live()
    with pytest.raises(ConfigError, match="nested too deeply"):
        await live.put_server("jira", {"command": "x", "args": deep}, "ann", None)


async def test_what_is_of_the_file_is_changed_in_the_file(world: World) -> None:
    world.transform = with_sandbox
    live = await world.live()
    for act in (live.put_server("wiki", ENTRY, "ann", None), live.remove_server("wiki", "ann", 1)):
        with pytest.raises(OfTheFile, match="'wiki' stands in the configuration file; change it there"):
            await act
    with pytest.raises(OfTheFile, match="comes with the hub"):
        await live.put_server("sandbox", ENTRY, "ann", None)
    for act in (live.put_endpoint("docs", {}, "ann", None), live.remove_endpoint("docs", "ann", 1)):
        with pytest.raises(OfTheFile, match="/docs/mcp stands in the configuration file"):
            await act


async def test_what_is_not_there_is_said_to_be_not_there(world: World) -> None:
    live = await world.live()
    with pytest.raises(NotThere, match="no server is registered as 'jira'"):
        await live.remove_server("jira", "ann", 1)
    with pytest.raises(NotThere, match="no endpoint is registered as 'x'"):
        await live.remove_endpoint("x", "ann", 1)
    with pytest.raises(NotThere, match="no server is called 'jira'") as caught:
        await live.set_enabled("jira", True, "ann")
    assert str(caught.value).startswith("no server")


async def test_servers_of_the_file_are_switched_apart_and_their_word_is_not_repeated(world: World) -> None:
    live = await world.live()
    await live.set_enabled("wiki", False, "ann")
    await live.set_enabled("wiki", False, "ann")
    await live.set_enabled("off", True, "ann")
    assert [(spec.id, spec.enabled) for spec in live.config.servers] == [("wiki", False), ("off", True)]
    assert await stored(world) == [("overlay", "off", 1), ("overlay", "wiki", 2)]
    await live.set_enabled("wiki", True, "ann")
    await live.set_enabled("wiki", True, "ann")
    await live.set_enabled("off", False, "ann")
    assert [(spec.id, spec.enabled) for spec in live.config.servers] == [("wiki", True), ("off", False)]
    assert await stored(world) == []


async def test_a_registered_server_is_switched_by_a_new_version(world: World) -> None:
    live = await world.live()
    await live.put_server("jira", {"command": "x", "disabled": True}, "ann", None)
    await live.set_enabled("jira", True, "bob")
    row = live.row("server", "jira")
    assert row is not None
    assert (dict(row.body), row.version, row.updated_by) == ({"command": "x"}, 2, "bob")
    await live.set_enabled("jira", False, "bob")
    assert not live.config.servers[-1].enabled


async def test_endpoints_come_change_and_go(world: World) -> None:
    live = await world.live()
    await live.put_endpoint("", {"servers": ["wiki"]}, "ann", None)
    row = await live.put_endpoint("team", {"servers": ["wiki"], "prefix": "none"}, "ann", None)
    assert live.config.endpoints["team"].prefix == "none"
    assert live.config.endpoints[""].servers == frozenset(("wiki",))
    await live.remove_endpoint("team", "ann", row.version)
    await live.remove_endpoint("", "ann", 1)
    assert set(live.config.endpoints) == {"", "docs"}
    assert live.config.endpoints[""].servers is None
    for name in ("Team", "a/b", "-", "x" * 41):
        with pytest.raises(ConfigError, match="no name of an endpoint"):
            await live.put_endpoint(name, {}, "ann", None)
    with pytest.raises(ConfigError, match="'nobody' is not in mcpServers"):
        await live.put_endpoint("team", {"servers": ["nobody"]}, "ann", None)


async def test_a_server_that_something_is_built_on_is_not_taken_out_below_it(world: World) -> None:
    live = await world.live()
    await live.put_server("jira", ENTRY, "ann", None)
    await live.put_endpoint("team", {"servers": ["jira"]}, "ann", None)
    with pytest.raises(ConfigError, match=r"endpoints./team/mcp.servers: .*change or remove that first"):
        await live.remove_server("jira", "ann", 1)
    assert "jira" in ids(live)
    await live.remove_endpoint("team", "ann", 1)
    await live.remove_server("jira", "ann", 1)


async def test_a_reload_takes_the_new_file_whole(world: World) -> None:
    live = await world.live()
    await live.put_server("jira", ENTRY, "ann", None)
    world.write("mcpServers: {wiki: {url: 'http://other/mcp'}, new: {command: y}}\nresults: strict\n")
    done = await live.reload("ann")
    assert done == Reloaded(
        (
            "server new: added",
            "server off: removed",
            "server wiki: changed",
            "endpoint /docs/mcp: removed",
            "results: changed",
        )
    )
    assert ids(live) == ["wiki", "new", "jira"]
    kind, who, outcome, detail = world.log.events[-1]
    assert (kind, who, outcome, detail["act"]) == ("admin", "ann", "done", "config.reload")
    assert detail["changed"] == list(done.changed)
    status = live.status()
    assert status["config_faults"] == []
    assert status["reloaded_at"] is not None


async def test_a_broken_file_changes_nothing_and_is_told_with_its_lines(world: World) -> None:
    live = await world.live()
    before = live.config
    world.write("mcpServers:\n  wiki: {url: 'ftp://h'}\n  x: {command: y, nonsense: 1}\n")
    done = await live.reload("file watch", "system")
    assert [(fault.line, fault.where) for fault in done.faults] == [
        (2, "mcpServers.wiki.url"),
        (3, "mcpServers.x.nonsense"),
    ]
    assert live.config == before
    kind, who, outcome, detail = world.log.events[-1]
    assert (kind, who, outcome) == ("system", "file watch", "error")
    assert detail["faults"][0].startswith("line 2: mcpServers.wiki.url: ")
    assert [fault["line"] for fault in live.status()["config_faults"]] == [2, 3]
    world.path.unlink()
    assert (await live.reload("ann")).faults[0].text == "there is no such file"
    world.write(FILE)
    assert (await live.reload("ann")) == Reloaded()
    assert live.status()["config_faults"] == []


async def test_what_waits_for_a_restart_is_said_and_the_hub_goes_on_as_it_is(world: World) -> None:
    live = await world.live()
    world.write(FILE + "listen: 127.0.0.1:1\ndata_dir: ./elsewhere\nedge: {sessions: 5, call_s: 7}\n")
    done = await live.reload("ann")
    assert done.restart == (
        "data_dir changes with a restart",
        "listen changes with a restart",
        "edge.sessions changes with a restart",
    )
    assert live.config.listen.port == 8700
    assert live.config.edge.sessions == 10_000
    assert live.config.edge.call_s == 7
    assert live.status()["restart_needed"] == list(done.restart)
    assert (await live.reload("ann")).restart == done.restart  # it is still not in force


async def test_roles_are_in_force_at_once_and_where_people_log_in_waits_for_a_restart(world: World) -> None:
    live = await world.live()
    auth = "auth: {access_s: 60, roles: {support: {servers: [wiki]}}}\n"
    world.write(FILE + f"public_url: https://hub.example.com\n{auth}")
    done = await live.reload("ann")
    assert "auth.roles: changed" in done.changed
    assert done.restart == ("public_url changes with a restart", "auth, but for its roles, changes with a restart")
    assert set(live.config.auth.roles) == {"support"}
    assert (live.config.auth.access_s, live.config.public_url) == (600, None)
    assert (await live.reload("ann")).restart == done.restart  # it is still not in force


async def test_an_id_that_the_file_takes_is_the_files_from_then_on(world: World) -> None:
    live = await world.live()
    await live.put_server("jira", ENTRY, "ann", None)
    world.write(FILE.replace("endpoints:", "  jira: {command: of-the-file}\nendpoints:"))
    await live.reload("ann")
    assert [spec.command for spec in live.config.servers if spec.id == "jira"] == [("of-the-file",)]
    assert [fault["where"] for fault in live.status()["set_aside"]] == ["mcpServers.jira"]
    await live.remove_server("jira", "ann", 1)  # what is set aside can still be taken out
    assert live.status()["set_aside"] == []
    assert "jira" in ids(live)


async def test_a_secret_that_is_set_brings_its_servers_and_one_that_is_gone_takes_them(world: World) -> None:
    world.secrets["k"] = "one"
    live = await world.live()
    await live.put_server("jira", {"command": "x", "env": {"K": "secret:k"}}, "ann", None)
    world.secrets["k"] = "two"
    assert await live.refresh("ann") == ()
    assert live.config.servers[-1].env == {"K": "two"}
    del world.secrets["k"]
    assert await live.refresh("ann") == ("mcpServers.jira.env.K: no secret is called k; run: mcp-hub secrets set k",)
    assert "jira" not in ids(live)
    assert "jira" not in ids(await world.live())
    world.secrets["k"] = "three"
    assert await live.refresh("ann") == ()
    assert live.config.servers[-1].env == {"K": "three"}


async def test_a_file_that_lost_a_secret_stays_in_force_and_says_so(world: World) -> None:
    world.secrets["k"] = "one"
    world.write("mcpServers: {a: {command: x, env: {K: 'secret:k'}}}")
    live = await world.live()
    del world.secrets["k"]
    (told,) = await live.refresh("ann")
    assert told.startswith("line 1: mcpServers.a.env.K: no secret is called k")
    assert live.config.servers[0].env == {"K": "one"}


async def test_a_broken_file_keeps_no_secret_from_what_was_registered(world: World) -> None:
    live = await world.live()
    world.secrets["k"] = "one"
    await live.put_server("jira", {"command": "x", "env": {"K": "secret:k"}}, "ann", None)
    world.write("mcpServers: [")
    world.secrets["k"] = "two"
    (told,) = await live.refresh("ann")
    assert told.startswith("line 1: ")
    assert live.config.servers[-1].env == {"K": "two"}
    assert ids(live) == ["wiki", "off", "jira"]


async def test_what_was_stored_and_not_put_in_force_is_tried_again(world: World) -> None:
    live = await world.live()
    world.fails.append(OSError("hub.db cannot be written"))
    with pytest.raises(OSError, match=r"hub\.db"):
        await live.put_server("jira", ENTRY, "ann", None)
    assert "jira" not in ids(live)
    await live.catch_up()
    assert "jira" in ids(live)
    assert len(world.installed) == 1
    await live.catch_up()
    assert len(world.installed) == 1


async def test_a_reload_that_cannot_be_logged_is_not_done(world: World) -> None:
    live = await world.live()
    world.write("mcpServers: {}")
    world.log.broken = True
    with pytest.raises(OSError, match="log is full"):
        await live.reload("ann")
    assert ids(live) == ["wiki", "off"]


async def test_a_reload_that_fails_is_logged_as_failed(world: World) -> None:
    live = await world.live()
    world.write("mcpServers: {}")
    world.fails.append(OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        await live.reload("ann")
    assert [outcome for _, _, outcome, _ in world.log.events] == ["done", "error"]


async def test_who_goes_away_does_not_cut_a_change_short(world: World) -> None:
    live = await world.live()
    world.gate = asyncio.Event()
    asking = asyncio.create_task(live.put_server("jira", ENTRY, "ann", None))
    while not await stored(world):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    world.gate.set()
    await live.aclose()
    assert "jira" in ids(live)


async def test_changes_come_one_after_the_other(world: World) -> None:
    live = await world.live()
    await asyncio.gather(*(live.put_server(f"s{n}", ENTRY, "ann", None) for n in range(40)))
    assert len(live.config.servers) == 42
    assert [len(config.servers) for config in world.installed] == list(range(3, 43))


async def test_the_sandbox_stays_over_a_reload_until_the_file_has_its_id(world: World) -> None:
    world.transform = with_sandbox
    live = await world.live()
    assert (await live.reload("ann")).changed == ()
    assert ids(live)[0] == "sandbox"
    world.write("mcpServers: {sandbox: {command: own}}")
    await live.reload("ann")
    assert [(spec.id, spec.provenance) for spec in live.config.servers] == [("sandbox", "file")]


async def test_a_hub_without_a_file_reloads_to_what_it_has(tmp_path: Path) -> None:
    world = World(tmp_path / "none")
    live = Live(Config(tmp_path), world.store, world.log, world.install, environ={}, secrets=world.secrets.get)
    await live.load()
    assert await live.reload("ann") == Reloaded()
    assert await live.refresh("ann") == ()

"""A changed file is read anew by itself, half of one is not, and SIGHUP asks for it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from hub.assembly_live import Live
from hub.assembly_watch import Look, look, watched
from tests.downstream.catalog_fakes import until
from tests.test_assembly_live import FILE, World, ids

TICK = 0.02


def world_in(folder: Path) -> World:
    made = World(folder / "hub.yaml")
    made.write(FILE)
    return made


def events(world: World) -> list[tuple[str, str]]:
    return [(who, outcome) for _, who, outcome, _ in world.log.events]


async def has(live: Live, id: str) -> None:
    await until(lambda: id in ids(live))


async def test_an_edited_file_is_in_force_shortly_after(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    async with watched(live, world.path, TICK):
        world.write(FILE.replace("  off:", "  on: {command: y}\n  off:"))
        await has(live, "on")
        assert events(world) == [("file watch", "done")]
        draft = tmp_path / "draft"
        draft.write_text("mcpServers: {other: {command: y}}")
        draft.replace(world.path)  # as editors do
        await has(live, "other")


async def test_a_file_that_is_touched_and_not_changed_is_left_alone(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    async with watched(live, world.path, TICK):
        os.utime(world.path, (1, 1))
        os.utime(world.path, (2, 2))
        world.write(FILE + "results: strict\n")
        await until(lambda: live.config.results == "strict")
    assert events(world) == [("file watch", "done")]


async def test_a_broken_file_is_told_once_and_a_mended_one_is_taken(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    async with watched(live, world.path, TICK):
        world.write("mcpServers: [")
        await until(lambda: events(world) == [("file watch", "error")])
        await asyncio.sleep(5 * TICK)
        assert len(world.log.events) == 1
        assert ids(live) == ["wiki", "off"]
        world.write(FILE.replace("wiki", "wikis"))
        await has(live, "wikis")


async def test_a_hangup_reads_the_file_anew_even_if_it_is_the_same(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    async with watched(live, world.path, 30):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: events(world) == [("SIGHUP", "done")])
        world.write("mcpServers: {}")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: ids(live) == [])


async def test_a_hangup_is_harmless_where_there_is_no_file(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    async with watched(live, None, TICK):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: events(world) == [("SIGHUP", "done")])


async def test_what_goes_wrong_does_not_end_the_watch(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    async with watched(live, world.path, TICK):
        world.log.broken = True
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(3 * TICK)
        world.log.broken = False
        world.write("mcpServers: {other: {command: y}}")
        await has(live, "other")


async def test_what_was_left_behind_is_caught_up(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    live = await world.live()
    world.fails.append(OSError("disk"))
    async with watched(live, world.path, TICK):
        await asyncio.gather(live.put_server("jira", {"command": "x"}, "ann", None), return_exceptions=True)
        await has(live, "jira")


def test_a_look_reads_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert look(path) == Look(())
    path.write_text("a")
    first = look(path)
    assert look(path, first) is first
    path.write_text("ab")
    assert look(path, first).sha256 != first.sha256
    assert look(tmp_path) == Look(())

"""Every fault of a data directory is found and comes with what to do; a sound one has none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.admin import checkup
from hub.admin.finding import Finding
from tests.admin import data


def problems(found: Iterator[Finding] | list[Finding]) -> list[str]:
    every = list(found)
    assert all(each.next for each in every if each.level == "problem")
    return [each.said for each in every if each.level == "problem"]


async def test_a_sound_directory_has_no_problem(tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d")
    store, modes = list(checkup.store(folder)), list(checkup.modes(folder))
    assert {each.level for each in (*store, *modes)} == {"ok"}
    assert [each.check for each in store] == ["store", "store", "vault", "log", "log"]
    assert "over the newest 7 entries" in store[3].said
    assert store[1].shown() == {"check": "store", "level": "ok", "said": "audit.db is whole, schema 1", "next": ""}


def test_a_directory_that_no_hub_ever_used_is_no_problem(tmp_path: Path) -> None:
    assert [each.level for each in checkup.store(tmp_path / "no")] == ["note"]
    assert list(checkup.modes(tmp_path / "no")) == []
    assert checkup.disk(tmp_path / "no" / "such").level in ("ok", "note")


async def test_a_hub_that_runs_is_looked_at_without_disturbing_it(tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d", entries=0)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    list(checkup.store(folder))
    checkup.clock(folder, sleep=lambda seconds: None)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("name", "statement", "words"),
    [
        ("hub.db", "PRAGMA user_version = 99", "hub.db has schema 99"),
        ("audit.db", "PRAGMA user_version = 99", "audit.db has schema 99"),
        ("audit.db", "UPDATE entries SET line = '{}' WHERE seq = 3", "the log was changed: entry 3"),
        ("audit.db", "DELETE FROM entries WHERE seq = 3", "entry 3 is missing"),
        ("hub.db", "UPDATE secrets SET kek = 'another'", r"1 of 1 secrets do not open"),
    ],
)
async def test_what_was_changed_in_the_databases_is_found(
    name: str, statement: str, words: str, tmp_path: Path
) -> None:
    folder = await data.made(tmp_path / "d")
    data.change(folder / name, statement)
    [said] = problems(checkup.store(folder))
    assert words in said


async def test_the_end_of_a_long_log_is_checked_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = await data.made(tmp_path / "d")
    monkeypatch.setattr(checkup, "CHAIN", 3)
    assert "newest 3 entries" in list(checkup.store(folder))[3].said
    data.change(folder / "audit.db", "UPDATE entries SET line = '{}' WHERE seq = 6")
    assert problems(checkup.store(folder)) == [
        "the log was changed: entry 6 was changed: its hash does not fit its content"
    ]


async def test_an_older_schema_is_noted_with_advice(tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d")
    data.change(folder / "hub.db", "PRAGMA user_version = 1")
    found = next(iter(checkup.store(folder)))
    assert (found.level, found.next) == ("note", "mcp-hub backup FILE, before that start")


@pytest.mark.parametrize("name", ["hub.db", "audit.db"])
@pytest.mark.parametrize("damage", ["page", "head"])
async def test_a_damaged_file_is_found(name: str, damage: str, tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d")
    whole = (folder / name).read_bytes()
    kept = 4096 if damage == "page" else 0
    (folder / name).write_bytes(whole[:kept] + b"\xff" * (len(whole) - kept))
    said = problems(checkup.store(folder))
    assert said[0].startswith((f"{name} is damaged", f"{name} cannot be read"))


async def test_a_reserve_that_is_gone_tells_of_a_full_disk(tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d")
    (folder / "audit.db.reserve").unlink()
    assert "the disk was full" in problems(checkup.store(folder))[0]


async def test_whatever_others_may_read_is_found_with_the_command_that_ends_it(tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d")
    for name, mode in (("hub.db", 0o644), ("kek", 0o640), ("tokens/client", 0o606)):
        (folder / name).chmod(mode)
    found = list(checkup.modes(folder))
    assert [each.next for each in found] == [
        f"chmod go= {folder / 'hub.db'}",
        f"chmod go= {folder / 'kek'}",
        f"chmod go= {folder / 'tokens/client'}",
    ]


async def test_a_file_of_another_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = await data.made(tmp_path / "d"), Path.stat

    def stat(path: Path, **more: Any) -> Any:
        state = real(path, **more)
        if path.name == "kek":
            return SimpleNamespace(st_mode=state.st_mode, st_uid=state.st_uid + 1)
        return state

    (folder / "tokens" / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(Path, "stat", stat)
    assert [said.partition(" belongs")[0] for said in problems(checkup.modes(folder))] == [str(folder / "kek")]


@pytest.mark.parametrize(("free", "level"), [(1024, "problem"), (1024**3, "note"), (1024**4, "ok")])
def test_a_disk_is_judged_by_what_is_free(free: int, level: str, tmp_path: Path) -> None:
    found = checkup.disk(tmp_path, lambda path: SimpleNamespace(free=free))
    assert found.level == level


def test_a_disk_without_inodes_is_full_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_files=10**6, f_favail=3))
    found = checkup.disk(tmp_path, lambda path: SimpleNamespace(free=1024**4))
    assert (found.level, found.said) == ("problem", f"3 inodes are left on the disk of {tmp_path}")


NOW = 1_800_000_000.0  # 2027


@pytest.mark.parametrize(
    ("walls", "steadies", "words"),
    [
        ((NOW, NOW + 0.2), (5.0, 5.2), None),
        ((0.0, 0.2), (5.0, 5.2), "it says 1970-01-01"),
        ((NOW * 3, NOW * 3 + 0.2), (5.0, 5.2), "it says 2141"),
        ((NOW, NOW + 3600), (5.0, 5.2), "it jumped by 3599.8 s"),
        ((NOW, NOW - 60), (5.0, 5.2), "it jumped by -60.2 s"),
    ],
)
def test_a_clock_that_lies_or_jumps_is_found(
    walls: tuple[float, ...], steadies: tuple[float, ...], words: str | None, tmp_path: Path
) -> None:
    wall, steady = iter(walls), iter(steadies)
    found = checkup.clock(tmp_path, lambda: next(wall), lambda: next(steady), lambda seconds: None)
    assert (found.level == "problem") is (words is not None)
    assert words is None or words in found.said


async def test_a_clock_that_was_set_back_behind_the_log_is_found(tmp_path: Path) -> None:
    folder = await data.made(tmp_path / "d")
    assert checkup.clock(folder, sleep=lambda seconds: None).level == "ok"
    behind = checkup.clock(folder, wall=lambda: time.time() - 3600, sleep=lambda seconds: None)
    assert "ahead: it was set back" in behind.said
    data.change(folder / "audit.db", 'UPDATE entries SET line = \'{"at": "2999-01-01T00:00:00"}\'')
    assert checkup.clock(folder, sleep=lambda seconds: None).level == "ok"  # no zone: no comparison

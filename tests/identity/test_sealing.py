"""The keys of open questions: kept, turned by themselves, and gone when nothing they sealed can be valid."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from pathlib import Path

import pytest

from hub.identity.sealing import KEPT_S, MOST, TURN_S, SealingFailed, SealingKeys, keep_turning
from hub.wire.seal import TTL_S, Opened, Seals
from tests.downstream.heard import until


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def loaded(path: Path, clock: Clock) -> SealingKeys:
    keys = SealingKeys(path, clock)
    keys.load()
    return keys


def test_the_first_start_makes_a_key_and_the_next_finds_it(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys" / "request-state", Clock()
    first = loaded(path, clock).secrets()
    assert [len(key) for key in first] == [32]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert loaded(path, clock).secrets() == first
    assert [name.name for name in path.parent.iterdir()] == ["request-state"]


def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path, clock = tmp_path / "k", Clock()
    loaded(path, clock)
    path.chmod(0o644)
    loaded(path, clock)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_turns_when_it_is_due_and_the_old_one_opens_until_its_seals_are_stale(tmp_path: Path) -> None:
    path, clock = tmp_path / "k", Clock()
    keys = loaded(path, clock)
    (old,) = keys.secrets()
    clock.now += TURN_S - 1
    assert keys.turn() is False
    sealed = Seals(keys.secrets, clock).seal(b"", "srv", "state")
    clock.now += 1
    assert keys.turn() is True
    new, kept = keys.secrets()
    assert kept == old != new
    assert loaded(path, clock).secrets() == (new, old)
    clock.now += TTL_S - 2
    assert isinstance(Seals(keys.secrets, clock).open(b"", sealed), Opened)
    clock.now += KEPT_S
    assert keys.turn() is True
    assert keys.secrets() == (new,)
    assert old not in path.read_bytes()
    assert loaded(path, clock).secrets() == (new,)


def test_a_start_long_after_turns_at_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "k", Clock()
    (old,) = loaded(path, clock).secrets()
    clock.now += 3 * TURN_S
    new = loaded(path, clock).secrets()
    assert (len(new), new[1]) == (2, old)


def test_a_clock_that_jumps_about_makes_no_endless_list(tmp_path: Path) -> None:
    path, clock = tmp_path / "k", Clock()
    keys = loaded(path, clock)
    for step in range(3 * MOST):
        clock.now += -1 if step % 2 else TURN_S
        keys.turn()
        clock.now -= 2 * TURN_S
        keys.turn()
    assert 1 <= len(keys.secrets()) <= MOST


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", '{"keys": 5}', '{"keys": [{"key": "AAAA", "made": 1}]}', '{"keys": [{"key": "?"}]}']
)
def test_a_damaged_file_costs_the_open_questions_and_no_start(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "k", Clock()
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        keys = loaded(path, clock)
    assert "damaged" in caplog.text
    assert len(keys.secrets()) == 1
    assert loaded(path, clock).secrets() == keys.secrets()


@pytest.mark.parametrize("made", [True, "1", None])
def test_a_key_of_no_known_age_is_none(tmp_path: Path, made: object) -> None:
    path, clock = tmp_path / "k", Clock()
    before = loaded(path, clock).secrets()
    rows = json.loads(path.read_bytes())
    rows["keys"][0]["made"] = made
    path.write_text(json.dumps(rows))
    after = loaded(path, clock).secrets()
    assert (len(after), after == before) == (1, False)


def test_keys_that_cannot_be_kept_are_told_in_words_and_the_old_ones_stay(tmp_path: Path) -> None:
    path, clock = tmp_path / "folder" / "k", Clock()
    keys = loaded(path, clock)
    before = keys.secrets()
    path.unlink()
    path.mkdir()
    clock.now += TURN_S
    with pytest.raises(SealingFailed, match="cannot be written"):
        keys.turn()
    assert keys.secrets() == before
    assert [name.name for name in path.parent.iterdir()] == ["k"]
    with pytest.raises(SealingFailed, match="cannot be read"):
        loaded(path, clock)


async def test_keys_turn_while_the_hub_runs_and_a_failure_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "k", Clock()
    keys = loaded(path, clock)
    task = asyncio.create_task(keep_turning(keys, look_s=0.001))
    try:
        path.unlink()
        path.mkdir()
        clock.now += TURN_S
        await until(lambda: "could not be kept" in caplog.text)
        assert len(keys.secrets()) == 1
        path.rmdir()
        await until(lambda: len(keys.secrets()) == 2)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})

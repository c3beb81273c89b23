"""The soak: that its judge can say no, a minute of it, and the ten minutes that CI runs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from conformance.soak.answers import Asked, Book, Outages
from conformance.soak.samples import Sample, thinned
from conformance.soak.verdict import POOL, back_to, flat
from tests import equipment
from tests.e2e.lacking import lack
from tests.generate_soak_table import kept

SAMPLE = Sample(0.0, 100_000, 40, 9, 4, 31, 0, 0, 8, 0.4, 1000.0, 10.0)


def series(sizes: Sequence[int]) -> list[Sample]:
    return [replace(SAMPLE, at_s=10.0 * number, rss_kb=size) for number, size in enumerate(sizes, 1)]


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": text}], **more}}


def refused(code: str, server: str = "m1") -> dict[str, Any]:
    return answer(f"It is server '{server}'.", isError=True, _meta={"io.mcp-hub/code": code})


def asked(tool: str = "echo") -> Asked:
    return Asked("m1", tool, "one", monotonic())


def book() -> Book:
    return Book(Outages(), random.Random(1))


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"jsonrpc": "2.0", "id": 7, "error": {"code": -32603, "message": "x"}}],
        [{**answer("m1: one"), "id": 8}],
        [answer("m1: two")],
        [answer("m2: one")],
        [answer("m1: one", isError=True)],
        [refused("downstream_down")],  # nobody had killed it
        [refused("internal")],
    ],
)
def test_a_wrong_answer_is_found(messages: list[dict[str, Any]]) -> None:
    kept = book()
    assert not kept.judge(asked(), 7, messages, "here")
    assert (kept.wrong, kept.answered) == (1, 0)


def test_the_right_answer_is_right() -> None:
    kept = book()
    assert kept.judge(asked(), 7, [answer("m1: one")], "here")
    assert (kept.wrong, kept.answered) == (0, 1)


def test_progress_that_is_missing_or_out_of_order_is_wrong() -> None:
    kept = book()
    for steps, wrong in (((1, 2, 3), 0), ((1, 3), 1), ((2, 1, 3), 2), ((), 3)):
        told = [{"method": "notifications/progress", "params": {"progress": step}} for step in steps]
        kept.judge(asked("steps"), 7, [*told, answer("m1: one")], "here")
        assert kept.wrong == wrong, steps


def test_a_kill_explains_the_failure_of_its_own_server_while_it_lasts_and_nothing_else() -> None:
    kept = book()
    kept.outages.begin("m1")
    kept.judge(asked(), 7, [refused("downstream_lost")], "here")
    assert (kept.wrong, kept.excused["downstream_lost"]) == (0, 1)
    kept.judge(asked(), 7, [refused("downstream_lost", "m2")], "here")
    kept.judge(asked(), 7, [refused("unknown_item")], "here")
    kept.judge(asked(), 7, [answer("m1: other")], "here")
    assert kept.wrong == 3
    kept.outages.end("m1")
    kept.judge(asked(), 7, [refused("downstream_down")], "here")
    assert kept.wrong == 4


def test_a_list_with_a_tool_too_few_or_too_many_is_wrong() -> None:
    kept = book()
    names = [f"m1__{tool}" for tool in ("echo", "note", "steps", "hold")]
    for listed, wrong in ((names, 0), (names[1:], 1), ([*names, "m2__echo"], 2)):
        kept.judge_list(["m1"], [{"id": 7, "result": {"tools": [{"name": name} for name in listed]}}], "here")
        assert kept.wrong == wrong


def test_growth_of_memory_is_found_and_its_warm_up_forgiven() -> None:
    warm = [50_000, 70_000, 90_000, 99_000] * 3
    steady = [100_000 + 400 * (number % 5) for number in range(60)]
    assert flat(series([*warm, *steady])).holds
    assert flat(series([*warm, *steady[:30], *(size - 20_000 for size in steady[30:])])).holds  # given back
    assert not flat(series([*warm, *(size + 150 * number for number, size in enumerate(steady))])).holds
    assert not flat(series([*warm, *steady[:40], *(size + 8_000 for size in steady[40:])])).holds


def test_a_slow_trend_is_found_in_a_long_run_and_one_step_is_none_in_a_short_one() -> None:
    step = [*([100_000] * 47), *([104_000] * 23)]
    assert flat(series(step)).holds
    assert not flat(series([100_000] * 180 + [100_000 + 11 * number for number in range(720)])).holds


@pytest.mark.parametrize("what", ["descriptors", "tasks", "children", "http", "sse"])
def test_one_thing_left_over_is_found(what: str) -> None:
    assert all(claim.holds for claim in back_to(SAMPLE, SAMPLE))
    more = back_to(SAMPLE, replace(SAMPLE, **{what: getattr(SAMPLE, what) + 1}))
    assert [claim.holds for claim in more].count(False) == 1


def test_a_thread_more_than_its_pool_has_is_found() -> None:
    most = SAMPLE.threads + POOL - 1  # one worker at least was there before
    assert all(claim.holds for claim in back_to(SAMPLE, replace(SAMPLE, threads=most)))
    assert not all(claim.holds for claim in back_to(SAMPLE, replace(SAMPLE, threads=most + 1)))


def test_a_figure_that_the_hub_does_not_tell_proves_nothing() -> None:
    missing = replace(SAMPLE, tasks=-1)
    assert not all(claim.holds for claim in back_to(missing, missing))


def test_thinned_samples_keep_both_ends() -> None:
    samples = series(range(1000))
    kept = thinned(samples)
    assert (len(kept), kept[0], kept[-1]) == (200, samples[0], samples[-1])


def soaked(folder: Path, minutes: float, *more: str) -> dict[str, Any]:
    found = folder / "soak.json"
    command = [sys.executable, "-m", "conformance.soak", "--minutes", str(minutes), "--json", str(found), *more]
    done = subprocess.run(
        command, cwd=equipment.ROOT, capture_output=True, text=True, check=False, timeout=minutes * 60 + 240
    )
    assert found.exists(), f"{done.stdout}\n{done.stderr[-3000:]}"
    report: dict[str, Any] = json.loads(found.read_text())
    assert (done.returncode == 0) == report["passed"], done.stdout
    return report


def failing(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [claim for claim in report["claims"] if not claim["holds"]]


def test_a_minute_of_it_leaves_nothing_over_and_answers_nothing_wrong(tmp_path: Path) -> None:
    report = soaked(tmp_path, 1.0, "--sessions", "60")
    # a minute is warm-up from end to end: that memory stays flat is for the longer run to show
    assert [claim for claim in failing(report) if "memory" not in claim["claim"]] == []
    assert report["counts"]["kills"] >= 3
    happened = report["counts"]["what_happened"]
    assert {"sessions abandoned", "sessions deleted", "HTTP+SSE sessions left", "modern calls left"} <= set(happened)


def test_ten_minutes_of_it_hold_every_claim(tmp_path: Path) -> None:
    if not equipment.REQUIRE_ALL:
        lack("takes ten minutes: run `python -m conformance.soak`, or all with MCP_HUB_REQUIRE_ALL=1")
    report = soaked(tmp_path, 10.0)
    assert failing(report) == []
    assert report["passed"]
    assert sorted(sample["http"] + sample["sse"] for sample in report["samples"])[len(report["samples"]) // 2] >= 200


def test_the_run_that_is_kept_held_every_claim() -> None:
    assert failing(kept()) == []
    assert kept()["passed"]
    assert (kept()["sessions"], kept()["minutes"] >= 10) == (200, True)

"""The bench measures what it says it does: every part runs with small numbers, and a wrong answer is no figure."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.bench import calls, controls, gateways, lists, memory, targets, waiting
from conformance.bench.__main__ import PARTS
from conformance.bench.equipment import FASTMCP, lacking, must_have
from conformance.bench.launch import LOG
from conformance.bench.processes import cores, cpu_ns, first_line, started, tree
from tests.e2e.lacking import lack
from tests.equipment import ROOT

ON = {"limit_caller", "definitions", "authorize", "arguments", "budget", "shape", "screen", "results", "dispatch"}
LITTLE = calls.Size(rounds=1, calls=32)


def _need(*names: str) -> None:
    for name in names:
        if (reason := lacking(name)) is not None:
            lack(reason)


@pytest.mark.parametrize("case", calls.CASES, ids=lambda case: case.name)
def test_a_row_has_every_gateway_every_stage_and_every_call_in_the_log(case: calls.Case, tmp_path: Path) -> None:
    _need("nginx")
    result = calls.measure(case, tmp_path, LITTLE)
    there = [peer for peer in case.peers if lacking(peer) is None]
    assert list(result["rows"]) == ["direct", *there, "hub"]
    assert len(result["left_out"]) == len(case.peers) - len(there)
    assert all(row["cpu_us"] > 0 and row["p99_ms"] >= row["p50_ms"] > 0 for row in result["rows"].values())
    assert result["rows"]["hub"]["client"] == case.client
    calls_made = max(LITTLE.calls or 0, case.concurrency)
    assert (result["proof"]["calls"], result["proof"]["logged"]) == (calls_made, calls_made)
    assert set(result["proof"]["stages"]) >= ON
    _has_its_targets(case.name, result)


def test_lists_are_whole_after_a_change_and_again(tmp_path: Path) -> None:
    result = lists.measure(tmp_path / "hub", changes=1, repeated=5)
    assert result["cold_ms"]["median"] > 0
    assert result["repeated_ms"] > 0
    assert set(result["proof"]["stages"]) >= ON
    _has_its_targets("lists", result)


def test_memory_is_read_before_and_after_calls_and_clients_of_both_eras(tmp_path: Path) -> None:
    result = memory.measure(tmp_path / "hub", calls=40, connects=4)
    assert min(result["idle_mb"], result["after_calls_mb"], result["after_connects_mb"]) > 10
    assert result["proof"]["logged"] == 44
    _has_its_targets("memory", result)


def test_start_up_and_slow_tools_have_their_targets(tmp_path: Path) -> None:
    _has_its_targets("start", waiting.start_up(tmp_path / "start"))
    _has_its_targets("slow", waiting.slow_tools(tmp_path / "slow"))


def _has_its_targets(part: str, result: dict[str, object]) -> None:
    """No path of a target leads nowhere."""
    wanted = [target for target in targets.TARGETS if target.part == part]
    if part == "echo" and lacking("envoy") is not None:
        wanted = [target for target in wanted if "Envoy" not in target.words]
    assert [target.words for target in wanted if target.figure({part: result}) is None] == []


def test_only_the_bench_leaves_a_stage_out_and_says_what_is_left(tmp_path: Path) -> None:
    result = controls.measure(tmp_path, rounds=1, calls=32, only=("screen", LOG))
    assert set(result["cost_us"]) == {"screen", LOG}
    stages = {name: gateways.read_stages(tmp_path / name) for name in ("whole", "without-screen", f"without-{LOG}")}
    assert stages[f"without-{LOG}"] == stages["whole"]
    assert stages["without-screen"] == [name for name in stages["whole"] if name != "screen"]


def test_a_hub_without_its_log_logs_no_call(tmp_path: Path) -> None:
    core, where = cores()
    with ExitStack() as stack:
        server = stack.enter_context(gateways.echo(where))
        hub = stack.enter_context(gateways.hub(core, {"echo": {"url": server.url}}, tmp_path, LOG))
        gateways.wait_for_tools(hub, "echo__echo")
        assert hub.asked(where, 8, tool="echo__echo", concurrency=2)["wrong"] == 0
        assert gateways.logged(hub) == 0


def test_a_call_that_the_server_never_saw_is_no_figure() -> None:
    _, where = cores()
    with ExitStack() as stack:
        server, other = (stack.enter_context(gateways.echo(where)) for _ in range(2))
        ask = stack.enter_context(server.loaded(where, tool="echo", concurrency=2))
        with pytest.raises(RuntimeError, match="0 of 8 arrived"):
            calls.one_round(calls.Entrant(server, lambda: gateways.answered(other)), ask, 8)


def test_an_answer_without_the_text_of_its_call_is_no_figure() -> None:
    _, where = cores()
    with ExitStack() as stack:
        server = stack.enter_context(gateways.echo(where))
        ask = stack.enter_context(server.loaded(where, tool="count", concurrency=2))
        with pytest.raises(RuntimeError, match="8 wrong"):
            calls.one_round(calls.Entrant(server, lambda: gateways.answered(server)), ask, 8)


def test_a_list_with_an_item_less_is_wrong() -> None:
    _, where = cores()
    with ExitStack() as stack:
        server = stack.enter_context(gateways.echo(where, "--tools", "5", "--bare"))
        assert server.asked(where, 2, shape="list", concurrency=1, expected=5)["wrong"] == 0
        assert server.asked(where, 2, shape="list", concurrency=1, expected=6)["wrong"] == 2


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    _, where = cores()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        server = first.enter_context(gateways.echo(where, "--legacy"))
        ask = stack.enter_context(server.loaded(where, tool="echo", concurrency=2))
        assert ask(4)["wrong"] == 0
        first.close()
        again = stack.enter_context(gateways.echo(where, "--legacy", "--port", str(server.port)))
        assert ask(4)["wrong"] == 0
        assert gateways.answered(again) == 4


def test_what_a_gateway_started_below_it_is_not_its_cost() -> None:
    script = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    script += "print('up', flush=True); time.sleep(60)"
    with started([sys.executable, "-c", script, "gateway"], cores()[1]) as child:
        assert first_line(child) == "up"
        assert len(tree(child.pid)) == 2
        assert tree(child.pid, "import time; time.sleep(60)") == [child.pid]
        assert cpu_ns(child.pid, "import time; time.sleep(60)") <= cpu_ns(child.pid)


def test_no_pipeline_is_built_without_a_stage_that_it_never_had(tmp_path: Path) -> None:
    path = gateways.write_config(tmp_path, {})
    command = [sys.executable, "-m", "conformance.bench.launch", str(tmp_path / gateways.STAGES), "--without", "sceen"]
    command += ["--", "serve", "--config", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "there is no stage sceen" in done.stderr
    assert not (tmp_path / gateways.STAGES).exists()


def test_the_command_writes_what_it_measured_with_its_verdicts(tmp_path: Path) -> None:
    told = tmp_path / "bench.json"
    command = [sys.executable, "-m", "conformance.bench", "--only", "slow", "--json", str(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    results = json.loads(told.read_text())
    (row,) = results["targets"]
    assert row["figure"] == results["slow"]["seconds"]["median"]
    assert row["met"] == (row["figure"] <= row["limit"])
    assert ("met" if row["met"] else "MISSED") in done.stdout


def test_a_figure_over_its_limit_is_missed_and_one_that_was_not_measured_is_not_judged() -> None:
    ratios = {"cpu_to_nginx": {"median": 4.81}, "cpu_to_envoy": {"median": 1.0}}
    rows = targets.judged({"echo": {"ratios": ratios}})
    assert [(row["figure"], row["met"]) for row in rows] == [(4.81, False), (1.0, True)]
    assert {target.part for target in targets.TARGETS} <= set(PARTS)


def test_a_peer_that_is_missing_is_told_in_words() -> None:
    assert must_have("nginx")
    assert not must_have("fastmcp")
    absent = replace(FASTMCP, packages=("no-such-gateway==1",))
    assert lacking("absent", {"absent": absent}) == (
        "no-such-gateway==1 is not installed: run `python -m conformance.bench.equipment`"
    )

"""Child processes as servers: every way in which they come up, misbehave and go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hub.core.call import Json
from hub.core.errors import DownstreamError, Late, Lost, Oversize, Refused, Unreachable
from hub.downstream.link import ServerSpec, Timeouts
from hub.downstream.stdio import StdioLink, StdioOpener
from tests.downstream.heard import Heard, exchange, until
from tests.downstream.processes import children, is_running

RAW = str(Path(__file__).parent / "servers" / "raw.py")
CANARY = "do-not-inherit-me"


def raw(mode: str, **given: Any) -> ServerSpec:
    quick = Timeouts(connect_s=2, initialize_s=5)
    return ServerSpec(
        "raw", "stdio", command=(sys.executable, "-I", "-S", RAW, mode), timeouts=given.pop("timeouts", quick), **given
    )


@asynccontextmanager
async def opener(probe_s: float = 5.0) -> AsyncIterator[StdioOpener]:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "dumb", "AWS_SECRET": CANARY, "PWD": "/x"}
    made = StdioOpener(environ, probe_s=probe_s, grace_s=0.3)
    try:
        yield made
    finally:
        await made.aclose()


@asynccontextmanager
async def connected(spec: ServerSpec, probe_s: float = 5.0) -> AsyncIterator[tuple[StdioLink, Heard, StdioOpener]]:
    heard = Heard()
    async with opener(probe_s) as made:
        link = await made(spec, heard.events)
        try:
            yield link, heard, made
        finally:
            await link.aclose()


async def call(link: StdioLink, name: str, timeout_s: float = 5.0, **arguments: Any) -> Json:
    return await link.request("tools/call", {"name": name, "arguments": arguments}, exchange(timeout_s))


async def told(link: StdioLink, name: str, **arguments: Any) -> Any:
    return (await call(link, name, **arguments))["structuredContent"]


# --- coming up


async def test_modern_server_is_found_out_and_gets_the_envelope() -> None:
    async with connected(raw("modern")) as (link, _, _opener):
        assert (link.peer.era, link.peer.revision, link.peer.info["name"]) == ("modern", "2026-07-28", "raw")
        result = await call(link, "echo", deep={"n": 2**60})
        assert result["unknownField"] == 2**70
        assert result["structuredContent"]["arguments"] == {"deep": {"n": 2**60}}
        assert result["structuredContent"]["meta"]["io.modelcontextprotocol/clientCapabilities"] == {}


async def test_legacy_server_is_initialized_in_the_same_process() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        assert (link.peer.era, link.peer.revision) == ("legacy", "2025-11-25")
        assert [m["method"] for m in (await told(link, "seen"))["seen"]] == ["notifications/initialized"]
        assert (await told(link, "echo"))["meta"] == {}
        assert heard.noise == {}


@pytest.mark.parametrize("mode", ["exit_on_probe", "swallow", "garbled", "legacy_only_discover"])
async def test_server_that_cannot_take_the_modern_question_is_legacy(mode: str) -> None:
    async with connected(raw(mode), probe_s=0.3) as (link, _, _opener):
        assert link.peer.era == "legacy"
        assert (await told(link, "echo", a=1))["arguments"] == {"a": 1}


async def test_modern_server_that_starts_slower_than_the_first_question_is_modern_in_the_end() -> None:
    async with connected(raw("slow_modern"), probe_s=0.3) as (link, _, _opener):
        assert link.peer.era == "modern"


async def test_verdict_is_remembered_and_found_anew_when_it_does_not_hold(tmp_path: Path) -> None:
    async with opener(0.5) as made:
        spec = raw("swallow")
        first = await made(spec, Heard().events)
        began = monotonic()
        second = await made(spec, Heard().events)
        assert monotonic() - began < 0.5
        assert second.peer.era == "legacy"
        await first.aclose()
        await second.aclose()
        script = tmp_path / "changing.py"
        script.write_text(Path(RAW).read_text())
        changing = replace(spec, command=(sys.executable, "-I", "-S", str(script), "legacy"))
        await (await made(changing, Heard().events)).aclose()
        modern_now = Path(RAW).read_text().replace("MODE = sys.argv[1]", "MODE = 'slow_modern'")
        script.write_text(modern_now)
        link = await made(changing, Heard().events)
        assert link.peer.era == "modern"
        await link.aclose()


async def test_era_can_be_pinned() -> None:
    async with connected(raw("modern", era="legacy")) as (link, _, _opener):
        assert link.peer.era == "legacy"
    async with connected(raw("modern", era="modern")) as (link, _, _opener):
        assert link.peer.era == "modern"
    async with opener() as made:
        with pytest.raises(Unreachable, match="era: modern"):
            await made(raw("legacy", era="modern"), Heard().events)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("exit", "exited with code 3"),
        ("future", "2031-01-01"),
        ("refuse", "refused to initialize"),
        ("ancient", "protocol 1999-01-01"),
        ("garbled_initialize", "nothing the hub can read"),
        ("noise", "no MCP messages"),
        ("neither", "neither the modern nor the legacy"),
    ],
)
async def test_server_that_does_not_come_up_says_why(mode: str, words: str) -> None:
    heard = Heard()
    async with opener(0.3) as made:
        with pytest.raises(Unreachable, match=words):
            await made(raw(mode), heard.events)
    assert heard.closed == []


async def test_server_that_hangs_at_start_costs_its_deadlines_and_is_ended() -> None:
    async with opener(0.1) as made:
        began = monotonic()
        with pytest.raises(Unreachable, match=r"initialize within 0\.3 s"):
            await made(raw("mute", timeouts=Timeouts(initialize_s=0.3)), Heard().events)
        assert monotonic() - began < 2
        guard = made._guard.pid
        await until(lambda: not children(guard))


async def test_start_cancelled_in_mid_handshake_leaves_no_process() -> None:
    async with opener() as made:
        task = asyncio.create_task(made(raw("swallow", era="modern"), Heard().events))
        await until(lambda: made._guard.pid is not None and bool(children(made._guard.pid)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not children(made._guard.pid))


async def test_cancelled_start_leaves_no_process() -> None:
    async with opener() as made:
        task = asyncio.create_task(made(raw("mute"), Heard().events))
        await until(lambda: made._guard.pid is not None and bool(children(made._guard.pid)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not children(made._guard.pid))


async def test_last_words_of_a_failed_start_can_be_read() -> None:
    async with opener() as made:
        with pytest.raises(Unreachable):
            await made(raw("exit"), Heard().events)
        assert made.stderr("raw") == ("cannot find my configuration",)
        assert made.stderr("other") == ()


async def test_banner_on_stdout_is_skipped_and_counted() -> None:
    async with connected(raw("banner")) as (link, heard, _):
        assert link.peer.era == "legacy"
        assert heard.noise == {"garbage": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": ()}, "no command"),
        ({"command": ("no-such-command-anywhere",)}, "not on PATH; install it or give its full path"),
        ({"command": ("/no/such/command",)}, "no executable file"),
        ({"command": (RAW,)}, "no executable file"),
        ({"cwd": "/no/such/folder"}, "working directory"),
        ({"env": {"X": "a\0b"}}, "zero byte"),
        ({"env": {"X": "x" * 200_000}}, "too large"),
        ({"env": {"PATH": ""}, "command": ("python3",)}, "not on PATH"),
    ],
)
async def test_command_that_cannot_run_is_refused_with_the_next_step(change: dict[str, Any], words: str) -> None:
    async with opener() as made:
        with pytest.raises(Unreachable, match=words):
            await made(replace(raw("legacy"), **change), Heard().events)


async def test_program_that_the_system_refuses_is_unreachable(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    async with opener() as made:
        with pytest.raises(Unreachable, match="No such file"):
            await made(replace(raw("legacy"), command=(str(broken),)), Heard().events)


async def test_relative_command_starts_at_its_working_directory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.write_text(f"#!/bin/sh\nexec {sys.executable} -I -S {RAW} legacy\n")
    run.chmod(0o755)
    async with connected(replace(raw("legacy"), command=("./run",), cwd=str(tmp_path))) as (link, _, _opener):
        assert await told(link, "cwd") == {"cwd": str(tmp_path)}


async def test_child_without_a_working_directory_starts_in_the_hubs() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        assert await told(link, "cwd") == {"cwd": os.getcwd()}


async def test_child_inherits_nothing_but_the_named_few() -> None:
    async with connected(raw("legacy", env={"GIVEN": "yes"})) as (link, _, _opener):
        env = await told(link, "env")
    assert set(env) - {"LC_CTYPE"} == {"PATH", "HOME", "TERM", "GIVEN", "MCP_HUB_CHILD"}
    assert CANARY not in str(env)


async def test_child_has_no_descriptor_of_the_hub() -> None:
    listing = "import os; print(sorted(os.listdir('/proc/self/fd')), file=__import__('sys').stderr)"
    async with opener() as made:
        with pytest.raises(Unreachable):
            await made(replace(raw(""), command=(sys.executable, "-I", "-S", "-c", listing)), Heard().events)
        assert made.stderr("raw") == ("['0', '1', '2', '3']",)  # 3 is the directory it lists


# --- talking


async def test_answers_find_their_callers_when_one_never_comes() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        hanging = asyncio.create_task(call(link, "hang", 0.2))
        others = await asyncio.gather(*(told(link, "echo", n=n) for n in range(50)))
        assert [o["arguments"]["n"] for o in others] == list(range(50))
        with pytest.raises(Late):
            await hanging
        assert (await call(link, "release"))["structuredContent"] == "released"
        assert heard.noise == {"late": 1}


async def test_second_and_foreign_answers_are_counted() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        assert (await call(link, "twice"))["structuredContent"] == "first"
        await call(link, "echo")
        assert heard.noise == {"duplicate": 1, "foreign": 2}


async def test_cancelled_call_is_cancelled_downstream() -> None:
    async with connected(raw("modern")) as (link, _, _opener):
        task = asyncio.create_task(call(link, "hang"))
        await until(lambda: len(link.correlator.in_flight) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = (await told(link, "seen"))["seen"]
        assert [m["method"] for m in seen] == ["notifications/cancelled"]


@pytest.mark.parametrize("mode", ["modern", "legacy"])
async def test_progress_and_log_messages_cross_and_keep_a_slow_call_alive(mode: str) -> None:
    heard = Heard()
    async with connected(raw(mode)) as (link, _, _opener):
        given = exchange(0.3, heard=heard)
        params = {"name": "progress", "arguments": {"steps": 5, "pause_s": 0.1}}
        assert (await link.request("tools/call", params, given))["structuredContent"] == "done"
        assert [p["progress"] for _, p in heard.notices] == [1, 2, 3, 4, 5]
        heard.notices.clear()
        given = exchange(heard=heard, log_level="warning")
        await link.request("tools/call", {"name": "log", "arguments": {"levels": ["debug", "error"]}}, given)
        assert [p["level"] for _, p in heard.notices] == ["error"]


async def test_what_the_server_asks_is_answered_with_its_absence() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        assert "-32601" in (await call(link, "ask", method="sampling/createMessage"))["content"][0]["text"]
        assert "'result': {}" in (await call(link, "ask", method="ping"))["content"][0]["text"]


async def test_error_of_the_server_is_passed_whole() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        with pytest.raises(Refused) as caught:
            await call(link, "error")
    assert caught.value.error == {"code": -32050, "message": "no", "data": {"why": "data"}}


async def test_list_changes_are_told_and_a_modern_server_is_listened_to() -> None:
    async with connected(raw("listen")) as (link, heard, _):
        await until(lambda: any(method.endswith("acknowledged") for method, _ in heard.notified))
        await call(link, "changed")
        assert heard.notified[-1][0] == "notifications/tools/list_changed"
        assert link.correlator.in_flight == ()
        await link.notify("notifications/anything", {})
        assert (await told(link, "seen"))["seen"][-1]["method"] == "notifications/anything"


async def test_large_requests_wait_for_room_and_arrive_whole() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        blob = "x" * 700_000
        params = {"name": "echo", "arguments": {"blob": blob}}
        given = [replace(exchange(), max_bytes=8 << 20) for _ in range(4)]
        results = await asyncio.gather(*(link.request("tools/call", params, one) for one in given))
        assert all(result["structuredContent"]["arguments"]["blob"] == blob for result in results)


# --- misbehaving


@pytest.mark.parametrize("id_last", [False, True])
async def test_answer_of_100_megabytes_is_refused_and_the_link_goes_on(id_last: bool) -> None:
    async with connected(raw("legacy", max_result_bytes=1 << 20)) as (link, heard, _):
        other = asyncio.create_task(call(link, "hang", 30))
        with pytest.raises(Oversize):
            await call(link, "big", 30, size=100 * 1024 * 1024, id_last=id_last)
        assert heard.noise["oversize"] == 1
        assert (await told(link, "echo", a=1))["arguments"] == {"a": 1}
        other.cancel()


async def test_large_answer_within_the_cap_arrives_whole() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        given = replace(exchange(), max_bytes=16 << 20)
        params = {"name": "big", "arguments": {"size": 8 << 20}}
        result = await link.request("tools/call", params, given)
        assert len(result["content"][0]["text"]) == 8 << 20
        assert given.size_bytes > 8 << 20


async def test_garbage_between_messages_is_skipped() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        for _ in range(3):
            await call(link, "garbage", lines=90)
        assert heard.noise == {"garbage": 270}
        assert link.alive


async def test_hundred_lines_of_garbage_in_a_row_end_the_connection() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        with pytest.raises(Lost, match="stdout"):
            await call(link, "garbage", lines=100)
        assert not link.alive
        await until(lambda: len(heard.closed) == 1)


async def test_server_that_dies_in_mid_call_is_lost_for_all_and_told_once() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        hanging = asyncio.create_task(call(link, "hang"))
        await until(lambda: len(link.correlator.in_flight) == 1)
        with pytest.raises(Lost, match="exited with code 7"):
            await call(link, "die")
        with pytest.raises(Lost):
            await hanging
        with pytest.raises(Unreachable, match="exited with code 7"):
            await call(link, "echo")
        assert heard.closed == ["its process exited with code 7; its last words: mcp-hub servers test raw"]


async def test_answer_written_right_before_the_end_arrives() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        assert (await call(link, "answer_and_die"))["structuredContent"] == "last words"
        await until(lambda: heard.closed != [])


async def test_server_that_closes_its_output_is_lost_and_ended() -> None:
    async with connected(raw("legacy")) as (link, heard, _):
        pid = (await told(link, "pid"))["pid"]
        with pytest.raises(Lost, match="closed its output"):
            await call(link, "close_output")
        assert len(heard.closed) == 1
        await until(lambda: not is_running(pid))


async def test_server_that_reads_nothing_costs_its_own_callers_alone() -> None:
    async with connected(raw("legacy")) as (deaf, _, made):
        other = await made(replace(raw("modern"), id="other"), Heard().events)
        await call(deaf, "deaf")
        calls = [asyncio.create_task(call(deaf, "echo", 0.5, blob="x" * 100_000)) for _ in range(40)]
        began = monotonic()
        await asyncio.gather(*(call(other, "echo", n=n) for n in range(20)))
        assert monotonic() - began < 0.4
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(o, Late) for o in outcomes)
        await other.aclose()


async def test_flood_on_stderr_is_read_away_and_only_its_end_is_kept() -> None:
    secret = "s3cr3t-value"
    async with connected(raw("legacy", env={"API_KEY": secret})) as (link, _, made):
        await call(link, "stderr", 30, size=50 * 1024 * 1024, last=f"using key {secret}\x1b[2J")
        await until(lambda: made.stderr("raw")[-1:] == ("using key ***\N{REPLACEMENT CHARACTER}[2J",))
        lines = made.stderr("raw")
        assert len(lines) <= 200
        assert sum(map(len, lines)) <= 64 * 1024


# --- going


async def test_closing_ends_the_process_politely() -> None:
    async with opener() as made:
        link = await made(raw("legacy"), Heard().events)
        pid = (await told(link, "pid"))["pid"]
        hanging = asyncio.create_task(call(link, "hang"))
        await until(lambda: len(link.correlator.in_flight) == 1)
        await link.aclose()
        await link.aclose()
        with pytest.raises(Lost, match="the hub closed"):
            await hanging
        await until(lambda: not Path(f"/proc/{pid}").exists())  # reaped, too


async def test_process_that_ignores_everything_is_gone_within_five_seconds() -> None:
    heard = Heard()
    async with opener() as made:
        link = await made(raw("legacy"), heard.events)
        pid = (await told(link, "grandchild"))["pid"]
        deaf = asyncio.create_task(call(link, "deaf"))
        await deaf
        began = monotonic()
        await link.aclose()
        assert monotonic() - began < 5
        await until(lambda: not is_running(pid))
        assert heard.closed == []


async def test_what_a_dead_server_leaves_behind_is_ended_even_if_it_detached_itself() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        pids = [(await told(link, name))["pid"] for name in ("grandchild", "daemon")]
        assert all(is_running(pid) for pid in pids)
        with pytest.raises(Lost):
            await call(link, "die")
        await until(lambda: not any(is_running(pid) for pid in pids))


async def test_cancelled_close_still_ends_the_process() -> None:
    async with opener() as made:
        link = await made(raw("stubborn"), Heard().events)
        pid = (await told(link, "pid"))["pid"]
        closing = asyncio.create_task(link.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await until(lambda: not is_running(pid))


async def test_abandoned_watch_kills_at_once() -> None:
    async with opener() as made:
        link = await made(raw("stubborn"), Heard().events)
        pid = (await told(link, "pid"))["pid"]
        link._watcher.cancel()
        await link.aclose()
        await until(lambda: not is_running(pid))


async def test_process_that_ends_while_it_is_taken_over_is_unreachable() -> None:
    async with opener() as made:
        link = await made(raw("legacy"), Heard().events)
        with pytest.raises(Lost):
            await call(link, "die")
        with pytest.raises(Unreachable, match="code 7"):
            link.adopt(link.peer)


async def test_open_ended_wait_is_ended_by_the_end_of_the_process() -> None:
    async with connected(raw("legacy")) as (link, _, _opener):
        given = replace(exchange(), timeout_s=inf, hard_deadline=inf)
        waiting = asyncio.create_task(link.request("tools/call", {"name": "hang"}, given))
        with pytest.raises(Lost):
            await call(link, "die")
        with pytest.raises(DownstreamError):
            await waiting

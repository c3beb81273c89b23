"""Who owns a data directory, how its hub is found, and what a start says when it is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.running import DataDir, Held, PortBusy, Run, StartRefused, listen_on, port_holder, read_run, start_background


def run_of(pid: int) -> Run:
    return Run(pid, "http://127.0.0.1:1/mcp", "127.0.0.1", 1, 2, "s3cret", "0", "2026-01-01T00:00:00Z")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataDir]:
    made = DataDir(tmp_path / "data")
    yield made
    made.unlock()


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Another process that owns the directory, until its stdin closes."""
    script = f"""
        import sys
        from pathlib import Path
        from hub.running import DataDir
        data = DataDir(Path({str(path)!r}))
        data.lock("a hub")
        print("held", flush=True)
        sys.stdin.read()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def let_go(child: subprocess.Popen[bytes]) -> None:
    child.communicate(timeout=5)


def test_the_directory_is_its_owners_alone(data: DataDir) -> None:
    data.path.mkdir(mode=0o755)
    data.create()
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match="cannot be used"):
        DataDir(tmp_path / "file" / "data").create()


def test_a_second_owner_is_told_who_the_first_is(data: DataDir) -> None:
    child = holder(data.path)
    try:
        with pytest.raises(Held, match=rf"process {child.pid} \(a hub\)") as caught:
            data.lock("another", wait_s=0.1)
        assert caught.value.pid == child.pid
    finally:
        let_go(child)
    data.lock("another")


def test_an_owner_that_wrote_no_name_still_holds(data: DataDir) -> None:
    data.lock("x")
    (data.path / "lock").write_bytes(b"")
    with pytest.raises(Held, match="another process"):
        DataDir(data.path).lock("y", wait_s=0)


def test_unlocking_twice_is_harmless(data: DataDir) -> None:
    data.lock("x")
    data.unlock()
    data.unlock()
    DataDir(data.path).lock("y", wait_s=0)


def test_a_running_hub_is_found_by_its_file(data: DataDir) -> None:
    data.lock("x")
    run = run_of(os.getpid())
    data.write_run(run)
    assert read_run(data.path) == run
    assert stat.S_IMODE((data.path / "run.json").stat().st_mode) == 0o600
    assert [path.name for path in data.path.iterdir() if path.name.startswith(".")] == []
    assert "s3cret" not in repr(run)
    data.remove_run()
    assert read_run(data.path) is None


def test_what_a_dead_hub_left_behind_counts_for_nothing(data: DataDir) -> None:
    data.lock("x")
    data.write_run(run_of(os.getpid()))
    data.unlock()
    assert read_run(data.path) is None


def test_the_file_of_another_owner_counts_for_nothing(data: DataDir) -> None:
    data.lock("mcp-hub keys")
    data.write_run(run_of(1))
    assert read_run(data.path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1}', "\xff"])
def test_a_damaged_file_counts_for_nothing(data: DataDir, content: str) -> None:
    data.lock("x")
    (data.path / "run.json").write_text(content, encoding="latin-1")
    assert read_run(data.path) is None


def test_a_key_stays_the_same_and_is_readable_by_its_owner_only(data: DataDir) -> None:
    data.lock("x")
    key = data.key("audit")
    assert len(key) == 32
    assert data.key("audit") == key
    assert data.key("cursor") != key
    assert stat.S_IMODE((data.path / "keys" / "audit").stat().st_mode) == 0o600


def test_a_damaged_key_stops_the_start(data: DataDir) -> None:
    data.lock("x")
    data.key("audit")
    (data.path / "keys" / "audit").write_bytes(b"short")
    with pytest.raises(StartRefused, match="5 bytes instead of 32"):
        data.key("audit")


def test_a_free_port_is_listened_on() -> None:
    with listen_on("127.0.0.1", 0) as sock:
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address_is_listened_on(host: str) -> None:
    with listen_on(host, 0) as sock:
        assert sock.family == socket.AF_INET6


def test_a_busy_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortBusy, match=rf"127.0.0.1:{port} is taken by process {os.getpid()} \("):
            listen_on("127.0.0.1", port)


def test_a_port_that_nobody_holds_has_no_holder() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert port_holder("127.0.0.1", bound.getsockname()[1]) is None


def test_an_unknown_holder_is_said_to_be_unknown() -> None:
    assert "another program" in str(PortBusy("h", 1, None))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_refused_in_words(host: str) -> None:
    with pytest.raises(StartRefused, match=r"no address to listen on|cannot listen on"):
        listen_on(host, 0)


def fake_hub(data_dir: Path, body: str) -> list[str]:
    script = f"""
        import os, sys, time
        from pathlib import Path
        from hub.running import DataDir, Run
        data = DataDir(Path({str(data_dir)!r}))
        print("starting", sys.argv[1:], flush=True)
    """
    return [sys.executable, "-c", textwrap.dedent(script) + textwrap.dedent(body)]


SERVES = """
    data.lock("a hub")
    data.write_run(Run(os.getpid(), "http://h/mcp", "h", 1, 2, "s", "0", "t"))
    time.sleep(30)
"""


async def test_a_background_hub_is_waited_for_and_outlives_its_starter(tmp_path: Path) -> None:
    config = tmp_path / "hub.yaml"
    run = await start_background(config, tmp_path / "data", command=fake_hub(tmp_path / "data", SERVES))
    try:
        assert run.url == "http://h/mcp"
        assert os.getsid(run.pid) == run.pid
        assert str(config) in (tmp_path / "data" / "background.log").read_text()
    finally:
        os.kill(run.pid, signal.SIGKILL)
        os.waitpid(run.pid, 0)


async def test_a_background_hub_that_ends_at_once_leaves_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "background.log").write_text("old\n" * 400_000)
    command = fake_hub(tmp_path / "data", "\nsys.exit('the port is taken')")
    with pytest.raises(StartRefused, match="the port is taken"):
        await start_background(None, tmp_path / "data", command=command)
    assert (tmp_path / "data" / "background.log").stat().st_size < 10_000


async def test_a_background_hub_that_says_nothing_is_named_by_its_log(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="with nothing"):
        await start_background(None, tmp_path / "data", command=[sys.executable, "-c", "pass"])


async def test_a_background_hub_that_hangs_is_given_up_and_ended(tmp_path: Path) -> None:
    body = f"""
    Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
    time.sleep(30)
"""
    with pytest.raises(StartRefused, match=r"did not start within 1 s"):
        await start_background(None, tmp_path / "data", command=fake_hub(tmp_path / "data", body), timeout_s=1.0)
    pid = int((tmp_path / "pid").read_text())
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


async def test_the_hub_that_was_quicker_is_used(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.lock("a hub")
    try:
        data.write_run(run_of(os.getpid()))
        command = fake_hub(tmp_path / "data", "\nsys.exit('held')")
        assert (await start_background(None, tmp_path / "data", command=command)).pid == os.getpid()
    finally:
        data.unlock()


def test_run_json_is_plain_json(data: DataDir) -> None:
    data.lock("x")
    data.write_run(run_of(os.getpid()))
    assert json.loads((data.path / "run.json").read_text())["stdio_port"] == 2


async def test_a_background_hub_that_fails_after_it_took_the_directory_is_not_waited_for(tmp_path: Path) -> None:
    command = fake_hub(tmp_path / "data", "\ndata.lock('a hub')\nsys.exit('the log is damaged')")
    with pytest.raises(StartRefused, match="the log is damaged"):
        await start_background(None, tmp_path / "data", command=command)


async def test_a_hub_that_is_still_starting_is_waited_for_when_ours_gave_way(tmp_path: Path) -> None:
    child = holder(tmp_path / "data")
    try:
        command = fake_hub(tmp_path / "data", "\nsys.exit('held')")
        with pytest.raises(StartRefused, match="within 0"):
            await start_background(None, tmp_path / "data", command=command, timeout_s=0.7)
    finally:
        let_go(child)

"""The machine around a hub, told as it is."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from hub.admin import surroundings
from hub.admin.surroundings import descriptors, isolation, launchers, servers, versions


def only(*names: str, at: str = sys.executable) -> Callable[[str], str | None]:
    return lambda name: at if name in names else None


def program(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_launcher_that_a_server_needs_is_missed_with_what_to_install() -> None:
    found = list(launchers({"time": "uvx", "wiki": "uvx", "own": "/opt/x"}, only("python3")))
    wrong = [(each.said, each.next) for each in found if each.level == "problem"]
    assert wrong == [
        (
            "/opt/x is not to be found on PATH, and own cannot start without it",
            "install it, or give the command's full path",
        ),
        (
            "uvx is not to be found on PATH, and time, wiki cannot start without it",
            "install uv (https://docs.astral.sh/uv), or give the command's full path",
        ),
    ]
    assert [each.said for each in found if each.level == "note"] == [
        "not found, and not needed by any server now: npx, node, docker"
    ]


def test_launchers_tell_their_versions() -> None:
    [found] = [each for each in launchers({}, only("python3")) if each.level == "ok"]
    assert found.said == f"python3 {sys.version.split()[0]} at {sys.executable}"
    assert {each.level for each in launchers({}, only(*surroundings.LAUNCHERS))} == {"ok"}


@pytest.mark.parametrize("text", ["echo nothing to see", "exec sleep 60", "exit 3"])
def test_a_launcher_that_tells_no_version_holds_nobody_up(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "VERSION_S", 0.3)
    [found] = [each for each in launchers({}, only("npx", at=program(tmp_path, text))) if each.level == "ok"]
    assert "npx of unknown version" in found.said


def test_a_launcher_that_cannot_be_run_is_of_unknown_version(tmp_path: Path) -> None:
    path = tmp_path / "not a program"
    path.write_text("x")
    [found] = [each for each in launchers({}, only("npx", at=str(path))) if each.level == "ok"]
    assert "unknown version" in found.said


def test_isolation_claims_no_sandbox() -> None:
    linux = list(isolation(only(), "linux"))
    assert [each.level for each in linux] == ["ok", "note"]
    assert "none outlives the hub" in linux[0].said
    assert "without a sandbox" in linux[1].said
    mac = list(isolation(only("bwrap"), "darwin"))
    assert [each.level for each in mac] == ["note", "note", "note"]
    assert "may outlive" in mac[0].said
    assert "does not use it" in mac[2].said


def test_descriptors_of_the_running_hub_are_counted(tmp_path: Path) -> None:
    own = descriptors(os.getpid())
    assert own.level == "ok"
    assert f"the hub (process {os.getpid()})" in own.said
    process = tmp_path / "7"
    (process / "fd").mkdir(parents=True)
    for number in range(5):
        (process / "fd" / str(number)).touch()
    (process / "limits").write_text("Limit Soft Hard\nMax open files            6                    6      files\n")
    full = descriptors(7, tmp_path)
    assert (full.level, full.said) == ("problem", "the hub (process 7) has 5 of at most 6 files and sockets open")
    (process / "limits").write_text("Max open files            512                    512      files\n")
    assert descriptors(7, tmp_path).level == "problem"
    (process / "limits").write_text("nothing\n")
    assert "a hub started here" in descriptors(7, tmp_path).said


def test_without_a_hub_the_limit_of_this_shell_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert descriptors(None).level == "problem"
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors(None).level == "ok"


def test_versions_are_told_without_loading_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    assert found.level == "ok"
    for word in ("mcp-hub ", "Python 3.", "SQLite 3.", "OpenSSL ", "mcp 2."):
        assert word in found.said

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(surroundings, "version", missing)
    assert versions().level == "problem"


def test_each_server_is_told_with_its_next_step() -> None:
    rows = [
        {"id": "a", "state": "ready", "reason": "", "waiting": 2, "quarantined": 1},
        {"id": "b", "state": "down", "reason": "connection refused", "waiting": 0, "quarantined": 0},
        {"id": "c", "state": "needs_login", "reason": "", "waiting": 0, "quarantined": 0},
        {"id": "d", "state": "starting", "reason": "", "waiting": 0, "quarantined": 0},
        {"id": "e", "state": "disabled", "reason": "", "waiting": 0, "quarantined": 0},
    ]
    assert [(each.level, each.said, each.next) for each in servers(rows)] == [
        ("ok", "a is ready", ""),
        ("note", "2 changed definitions of a are hidden until they are approved", "mcp-hub servers diff a"),
        ("note", "1 items of a are not shown, because they are no valid MCP", "mcp-hub servers test a"),
        ("problem", "b is down: connection refused", "mcp-hub servers test b"),
        ("problem", "c is needs_login", "mcp-hub servers test c"),
        ("note", "d is starting", "mcp-hub servers test d"),
        ("ok", "e is disabled", ""),
    ]

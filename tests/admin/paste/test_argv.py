"""What is started and what is not; and what is said of packages that may change."""

from __future__ import annotations

import pytest

from hub.admin.paste.argv import check, image_at, split
from hub.admin.paste.pasted import Wrong


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("npx", ["-y", "a@1.2.3"]),
        ("npx", ["-y", "-p", "@a/b@1.2.3", "tool"]),
        ("npx", ["--package=a@1.0.0", "tool", "-c", "x"]),
        ("uvx", ["--from", "a==1.2.3", "tool"]),
        ("uvx", ["--from", "git+https://github.com/a/b@" + "0" * 40, "tool"]),
        ("uv", ["tool", "run", "a@1.2"]),
        ("uv", ["run", "--directory", "/x", "y"]),
        ("dnx", ["A@1.0.0", "--yes"]),
        ("dnx", ["A", "--version", "1.0.0"]),
        ("deno", ["run", "-A", "npm:a@1.0.0"]),
        ("bun", ["x", "a@1.0.0"]),
        ("docker", ["run", "-i", "--rm", "a@sha256:00"]),
        ("docker", ["run", "-e", "A", "a:1.0"]),
        ("docker", ["exec", "-i", "c", "cmd"]),
        ("node", ["/srv/a.js", "-e"]),
        ("python3", ["-m", "a"]),
        ("npx", ["./local"]),
    ],
)
def test_pinned_and_local_servers_are_started_without_a_word(command: str, args: list[str]) -> None:
    assert check(command, args, [], allow_command=False) == ()


@pytest.mark.parametrize(
    ("command", "args", "what"),
    [
        ("npx", ["-y", "a"], "a@1.2.3"),
        ("npx", ["-y", "@a/b@latest"], "@a/b@1.2.3"),
        ("uvx", ["a"], "a@1.2.3"),
        ("uvx", ["a>=1.0"], "a@1.2.3"),
        ("uvx", ["--with", "x", "a[y]"], "a[y]==1.2.3"),
        ("uvx", ["--from", "git+https://github.com/a/b", "t"], "without a commit"),
        ("bun", ["x", "a"], "a@1.2.3"),
        ("deno", ["run", "jsr:@a/b"], "1.2.3"),
        ("docker", ["run", "a/b"], "sha256"),
        ("docker", ["run", "--name", "n", "a/b:latest"], "sha256"),
        ("dnx", ["A"], "A@1.2.3"),
    ],
)
def test_what_may_change_from_start_to_start_is_said(command: str, args: list[str], what: str) -> None:
    (told,) = check(command, args, [], allow_command=False)
    assert what in told


def test_other_sources_of_packages_are_said() -> None:
    told = check("npx", ["--registry=https://r", "a@1.0.0"], ["UV_INDEX_URL"], allow_command=False)
    assert len([each for each in told if "elsewhere" in each]) == 2


@pytest.mark.parametrize(
    ("command", "args", "env"),
    [
        ("node", ["--require=/x.js", "a.js"], []),
        ("deno", ["eval", "1"], []),
        ("npx", ["-c", "x"], []),
        ("docker", ["run", "--pid=host", "a:1"], []),
        ("docker", ["run", "--network", "host", "a:1"], []),
        ("docker", ["run", "-v", "/:/host", "a:1"], []),
        ("docker", ["run", "--mount", "type=bind,source=/,target=/h", "a:1"], []),
        ("npx", ["a@1.0.0"], ["LD_PRELOAD"]),
        ("/opt/server", [], []),
    ],
)
def test_what_reaches_further_needs_a_word_of_its_own(command: str, args: list[str], env: list[str]) -> None:
    with pytest.raises(Wrong, match="--allow-command"):
        check(command, args, env, allow_command=False)
    check(command, args, env, allow_command=True)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("/bin/sh", []),
        ("C:\\Windows\\System32\\cmd.exe", []),
        ("sudo", ["npx"]),
        ("env", ["X=1", "npx"]),
        ("npx", ["a", "|", "tee"]),
        ("npx", ["`id`"]),
        ("docker", ["run", "a:1", "/bin/bash", "-lc", "x"]),
        ("some-server", []),
        ("~/server", []),
    ],
)
def test_shells_and_strangers_are_never_started(command: str, args: list[str]) -> None:
    with pytest.raises(Wrong):
        check(command, args, [], allow_command=True)


def test_a_refusal_quotes_nothing_that_could_be_a_secret() -> None:
    with pytest.raises(Wrong) as caught:
        check("npx", ["--token=canary`x"], [], allow_command=False)
    assert "canary" not in str(caught.value)
    with pytest.raises(Wrong) as caught:
        check("server --token canary", [], [], allow_command=False)
    assert "canary" not in str(caught.value)


def test_lines_and_windows_spellings_come_apart() -> None:
    assert split("npx -y 'a b'", ["c"])[:2] == ("npx", ("-y", "a b", "c"))
    assert split("cmd.exe", ["/C", "uvx.exe", "a"])[:2] == ("uvx", ("a",))
    with pytest.raises(Wrong, match="open quote"):
        split("npx 'a", [])


def test_the_image_is_found_behind_its_options() -> None:
    assert image_at(["run", "-e", "A", "--rm", "img", "x"]) == 4
    assert image_at(["container", "run", "img"]) == 2
    assert image_at(["run", "--rm"]) is None
    assert image_at(["compose", "up"]) is None

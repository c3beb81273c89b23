"""Servers registered from the command line: with the hub running and without one; secrets from nowhere but a source."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from hub.cli import asking
from hub.cli.main import main
from hub.running import DataDir
from tests.admin.fakes import health
from tests.admin.registry_hub import RegistryHub
from tests.cli.hub import running

PASTE = {"mcpServers": {"wiki": {"url": "https://a.example.com/mcp", "headers": {"X-Key": "canary-7"}}}}
ASKS = {"wiki": {"url": "https://a.example.com/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}}

Told = Callable[[], tuple[str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def read() -> tuple[str, str]:
        found = capsys.readouterr()
        return found.out, found.err

    return read


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def saved(folder: Path, value: Any, name: str = "paste.json") -> str:
    path = folder / name
    path.write_text(json.dumps(value))
    return str(path)


def kept(data_dir: Path) -> bytes:
    """Everything on disk."""
    return b"".join(path.read_bytes() for path in sorted(data_dir.rglob("*")) if path.is_file())


def test_a_paste_is_imported_without_a_hub_and_again_changes_nothing(
    data_dir: Path, tmp_path: Path, told: Told
) -> None:
    path = saved(tmp_path, PASTE)
    assert main(["servers", "import", path]) == 0
    assert told()[0] == "added wiki\n"
    assert main(["servers", "import", path]) == 0
    assert told()[0] == "unchanged wiki\n"
    assert main(["servers", "show", "wiki", "--json"]) == 0
    out, _ = told()
    shown = json.loads(out)
    assert shown["entry"]["headers"] == {"X-Key": "secret:wiki.X-Key"}
    assert main(["servers", "show", "wiki"]) == 0
    assert "canary" not in out + told()[0]
    assert b"canary-7" not in kept(data_dir)


def test_wrong_servers_are_reported_and_the_others_are_in(data_dir: Path, tmp_path: Path, told: Told) -> None:
    path = saved(tmp_path, {**PASTE["mcpServers"], "bad": {"command": "sh"}, "asks": ASKS["wiki"]})
    assert main(["servers", "import", path]) == 1
    out, err = told()
    assert "added wiki" in out
    assert "refused bad: command 'sh' runs other programs" in out
    assert "give TOKEN (headers.Authorization) in a terminal, or by --secret TOKEN=env:VARIABLE" in out
    assert "1 are in, 2 are not" in err


def test_values_come_from_a_source_that_is_no_command_line(
    data_dir: Path, tmp_path: Path, told: Told, piped: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, ASKS)
    assert main(["servers", "import", path, "--secret", "TOKEN=canary-argv"]) == 2
    assert "canary-argv" not in "".join(told())
    piped("canary-line\nrest")
    assert main(["servers", "import", path, "--secret", "TOKEN=-"]) == 0
    monkeypatch.setenv("MY_TOKEN", "canary-env")
    assert main(["servers", "import", path, "--secret", "TOKEN=env:MY_TOKEN", "--replace"]) == 0
    (tmp_path / "t").write_text("canary-file\n")
    assert main(["servers", "import", path, "--secret", f"TOKEN=file:{tmp_path / 't'}", "--replace"]) == 0
    assert told()[0] == "added wiki\nreplaced wiki\nreplaced wiki\n"
    assert b"canary" not in kept(data_dir)
    for wrong in ("TOKEN=env:NOT_THERE_1", "TOKEN=file:/not/there", "TOKEN", "=-"):
        assert main(["servers", "import", path, "--secret", wrong]) == 2
    piped(json.dumps(ASKS))
    assert main(["servers", "import", "--secret", "TOKEN=-"]) == 2
    assert main(["servers", "import", path, "--value", "x"]) == 2


def test_a_person_is_asked_for_what_is_missing(
    data_dir: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def secret(prompt: str, stream: Any) -> str:
        asked.append(prompt)
        return "canary-typed"

    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr(asking, "getpass", secret)
    assert main(["servers", "import", saved(tmp_path, ASKS)]) == 0
    assert (told()[0], asked) == ("added wiki\n", ["TOKEN (not shown): "])
    assert main(["servers", "import", saved(tmp_path, ASKS)]) == 0
    assert (told()[0], len(asked)) == ("unchanged wiki\n", 1)
    assert b"canary" not in kept(data_dir)


def test_answers_are_asked_once_each_and_may_be_left_out() -> None:
    needs = [
        {"name": "A", "prompt": "which \x1b", "secret": False, "choices": ["x", "y"]},
        {"name": "A", "prompt": "", "secret": False, "choices": []},
        {"name": "B", "prompt": "", "secret": False, "choices": []},
    ]
    lines = iter(["x", ""])
    prompts: list[str] = []

    def line(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines)

    assert asking.ask(needs, terminal=lambda: True, line=line) == {"A": "x"}
    assert prompts == ["A (which \\u001b) [x, y]: ", "B: "]
    assert asking.ask(needs, terminal=lambda: False) == {}

    def ended(prompt: str) -> str:
        raise EOFError

    assert asking.ask(needs, terminal=lambda: True, line=ended) == {}


@pytest.mark.parametrize(
    "words",
    [
        ["a", "--url", "https://h/mcp?api_key=canary-12345"],
        ["a", "--url", "https://h/mcp", "--header", "Authorization: Bearer canary-12345"],
        ["a", "--env", "API_TOKEN=canary-12345", "--", "npx", "x@1.0.0"],
        ["a", "--", "npx", "x@1.0.0", "--api-key", "canary-12345"],
        ["a", "--", "npx", "x@1.0.0", "--api-key=canary-12345"],
        ["a", "--", "npx", "x@1.0.0", "postgres://u:canary-12345@h/d"],
    ],
)
def test_a_secret_on_the_command_line_is_refused_without_being_repeated(
    words: list[str], data_dir: Path, told: Told
) -> None:
    assert main(["servers", "add", *words]) == 2
    out, err = told()
    assert "other users can read a command line" in err
    assert "canary" not in out + err
    assert not data_dir.exists()


def test_a_server_is_added_in_words(data_dir: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "canary-env")
    words = ["servers", "add", "wiki", "--env", "WIKI_TOKEN", "--env", "MODE=fast", "--secret", "WIKI_TOKEN=env:T"]
    words += ["--cwd", ".", "--pins", "warn", "--trusted", "--disabled", "--json", "--", "npx", "-y", "wiki@1.0.0"]
    assert main(words) == 0
    entry = json.loads(told()[0])["entry"]
    cwd = str(Path.cwd())
    assert entry == {
        "command": "npx",
        "args": ["-y", "wiki@1.0.0"],
        "env": {"WIKI_TOKEN": "secret:wiki.WIKI_TOKEN", "MODE": "fast"},
        "cwd": cwd,
        "pins": "warn",
        "trusted": True,
        "enabled": False,
    }
    url = ["servers", "add", "r", "--url", "https://a/mcp", "--transport", "sse", "--header", "Authorization: Bearer"]
    assert main([*url, "--secret", "Authorization=env:T", "--json"]) == 0
    assert json.loads(told()[0])["entry"] == {
        "url": "https://a/mcp",
        "type": "sse",
        "headers": {"Authorization": "Bearer secret:r.Authorization"},
    }
    assert b"canary" not in kept(data_dir)


def test_an_unpinned_package_is_warned_of(data_dir: Path, told: Told) -> None:
    assert main(["servers", "add", "wiki", "--", "npx", "-y", "wiki"]) == 0
    assert "warning: wiki is not pinned" in told()[1]


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["a"], 2, "say what to register"),
        (["a", "--url", "https://a", "--", "npx"], 2, "say what to register"),
        (["a", "--", "bash", "-c", "x"], 1, "runs other programs"),
        (["a", "--", "/opt/x"], 1, "--allow-command"),
        (["a", "--env", "API_TOKEN", "--", "npx", "x@1.0.0"], 2, "give API_TOKEN"),
        (["No Id!", "--url", "https://a"], 1, "no server id"),
        (["a", "--url", "gopher://a"], 1, "must be http"),
    ],
)
def test_what_cannot_be_added_is_told(words: list[str], status: int, why: str, data_dir: Path, told: Told) -> None:
    assert main(["servers", "add", *words]) == status
    assert why in told()[1]


def test_a_server_is_switched_and_removed_without_a_hub(data_dir: Path, tmp_path: Path, told: Told) -> None:
    main(["servers", "import", saved(tmp_path, PASTE)])
    told()
    assert main(["servers", "disable", "wiki"]) == 0
    assert main(["servers", "disable", "wiki", "--json"]) == 0
    assert main(["servers", "enable", "wiki"]) == 0
    assert main(["servers", "remove", "wiki"]) == 0
    out, err = told()
    assert out.startswith("disabled wiki\n{")
    assert out.endswith("enabled wiki\nremoved wiki, and its secrets wiki.X-Key\n")
    assert "in force when one starts" in err
    for verb in ("show", "enable", "remove"):
        assert main(["servers", verb, "wiki"]) == 1
    assert "no server is called 'wiki'" in told()[1]


def test_another_process_on_the_directory_is_named(data_dir: Path, tmp_path: Path, told: Told) -> None:
    data = DataDir(data_dir)
    data.lock("somebody")
    try:
        assert main(["servers", "show", "wiki"]) == 1
    finally:
        data.unlock()
    assert "is in use by process" in told()[1]


@pytest.fixture
def registry(tmp_path: Path) -> RegistryHub:
    (tmp_path / "vault").mkdir()
    return asyncio.run(RegistryHub(tmp_path / "vault").open())


def test_a_running_hub_does_it_all_at_once(
    data_dir: Path, tmp_path: Path, told: Told, registry: RegistryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.admin.registered import operations

    registry.parts.more = operations(registry.desk, registry.trying)
    with running(data_dir) as hub:
        hub.parts = registry.parts
        hub.parts.pool.states["wiki"] = health("wiki")
        assert main(["servers", "import", saved(tmp_path, PASTE)]) == 0
        assert main(["servers", "import", saved(tmp_path, PASTE), "--json"]) == 0
        assert main(["servers", "show", "wiki"]) == 0
        assert main(["servers", "disable", "wiki"]) == 0
        out, err = told()
        assert out.startswith("added wiki\n{")
        assert '"outcome": "unchanged"' in out
        assert "wiki: enabled, from database, version 1" in out
        assert "no hub is running" not in err
        assert main(["servers", "remove", "wiki"]) == 0
        assert main(["servers", "add", "two", "--url", "https://b"]) == 0
        assert main(["servers", "add", "two", "--url", "https://b"]) == 1
        assert main(["servers", "show", "time"]) == 0
        assert "its entry stands in the configuration file" in told()[0]
        assert main(["servers", "import", "--dry-run", saved(tmp_path, PASTE)]) == 0
        assert main(["servers", "add", "three", "--dry-run", "--url", "https://c"]) == 0
        registry.trials.state, registry.trials.stderr = "down", ("boom \x1b",)
        assert main(["servers", "import", "--dry-run", saved(tmp_path, PASTE)]) == 1
        assert main(["servers", "import", "--dry-run", saved(tmp_path, PASTE), "--json"]) == 1
    out, _ = told()
    assert "wiki: works, modern (2026-07-28)\n  wiki__read  " in out
    assert "[readOnly]\n  1 prompt\n  1 tools, " in out
    assert "three: works" in out
    assert "wiki: failed, modern (2026-07-28): down: look" in out
    assert "stderr: boom \\u001b" in out
    assert [row.id for row in registry.live.rows()] == ["two"]
    assert "canary-7" not in repr(registry.parts.journal.events)


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "must hold 1 to"), (b"\xff\xfe\x00", "no UTF-8"), (b"{", "line 1"), (b"x" * 1048577, "must")],
)
def test_what_is_no_paste_is_told(data: bytes, why: str, data_dir: Path, tmp_path: Path, told: Told) -> None:
    path = tmp_path / "p"
    path.write_bytes(data)
    assert main(["servers", "import", str(path)]) in (1, 2)
    assert why in told()[1]
    assert main(["servers", "import", str(tmp_path / "none")]) == 2
    assert main(["servers", "import", str(path), "--sha256", "00"]) == 2
    assert main(["servers", "import", str(path), "--rename", "x"]) in (1, 2)


def test_a_server_is_renamed_by_its_pasted_name(data_dir: Path, told: Told, piped: Callable[[str], None]) -> None:
    piped(json.dumps({"A=b": {"url": "https://a"}, "c": {"url": "https://b"}}))
    assert main(["servers", "import", "--rename", "A=b=first"]) == 0
    assert told()[0] == "added first\nadded c\n"
    piped(json.dumps({"url": "https://a"}))
    assert main(["servers", "import", "-", "--name", "named"]) == 0
    assert told()[0] == "added named\n"


MANIFEST = {
    "manifest_version": "0.3",
    "name": "notes",
    "version": "1.0.0",
    "server": {
        "type": "node",
        "entry_point": "server/index.js",
        "mcp_config": {
            "command": "node",
            "args": ["${__dirname}/server/index.js", "${user_config.folder}", "${user_config.extra}"],
            "env": {"API_KEY": "${user_config.api_key}"},
        },
    },
    "user_config": {
        "api_key": {"type": "string", "title": "API key", "sensitive": True, "required": True},
        "folder": {"type": "directory", "title": "Folder", "default": "/srv/notes"},
        "extra": {"type": "string", "title": "Extra"},
    },
}


def bundle(folder: Path, manifest: Any = MANIFEST, files: dict[str, bytes] | None = None) -> Path:
    path = folder / "notes.mcpb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, data in (files if files is not None else {"server/index.js": b"//"}).items():
            archive.writestr(name, data)
    return path


def test_a_bundle_is_checked_unpacked_and_registered(
    data_dir: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, home = bundle(tmp_path), data_dir / "bundles"
    sum_ = sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("K", "canary-key")
    assert main(["servers", "import", str(path), "--sha256", "0" * 64]) == 1
    assert "it is another file" in told()[1]
    assert not home.exists()
    words = ["servers", "import", str(path), "--secret", "api_key=env:K"]
    assert main([*words, "--sha256", sum_.upper()]) == 0
    assert main(words) == 0
    assert sum_ in told()[1]
    assert main(["servers", "show", "notes", "--json"]) == 0
    assert json.loads(told()[0])["entry"] == {
        "command": "node",
        "args": [str(home / sum_ / "server" / "index.js"), "/srv/notes"],
        "env": {"API_KEY": "secret:notes.API_KEY"},
    }
    assert [each.name for each in home.iterdir()] == [sum_]
    assert (home / sum_ / "server" / "index.js").read_bytes() == b"//"
    assert b"canary" not in kept(data_dir)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"../evil": b"x"}, "outside"),
        ({"/etc/evil": b"x"}, "outside"),
        ({"a\\..\\b": b"x"}, "outside"),
        ({"a": b"x", "A": b"y"}, "twice"),
        ({"bomb": b"\0" * 3_000_000}, "suspiciously"),
    ],
)
def test_a_bundle_that_reaches_outside_is_not_unpacked(
    files: dict[str, bytes], why: str, data_dir: Path, tmp_path: Path, told: Told
) -> None:
    assert main(["servers", "import", str(bundle(tmp_path, files=files))]) == 1
    assert why in told()[1]
    assert not (data_dir / "bundles").exists()
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_bundle_is_not_followed(data_dir: Path, tmp_path: Path, told: Told) -> None:
    path = bundle(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert main(["servers", "import", str(path)]) == 1
    assert "no plain file" in told()[1]


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"name": "x", "server": {}},
        {"server": {"type": "node", "entry_point": "a"}},
        {"name": "x", "server": {"type": "?", "entry_point": "a"}},
    ],
)
def test_a_bundle_without_a_server_is_told(manifest: Any, data_dir: Path, tmp_path: Path, told: Told) -> None:
    assert main(["servers", "import", str(bundle(tmp_path, manifest))]) == 1
    assert "the bundle" in told()[1]


def test_what_is_no_bundle_is_told(data_dir: Path, tmp_path: Path, told: Told) -> None:
    path = tmp_path / "x.mcpb"
    path.write_bytes(b"no zip")
    assert main(["servers", "import", str(path)]) == 1
    assert "is no bundle" in told()[1]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    assert main(["servers", "import", str(path)]) == 1
    assert "no readable manifest.json" in told()[1]
    assert main(["servers", "import", str(tmp_path / "none.mcpb")]) == 1


@pytest.mark.parametrize(
    ("server", "command", "args"),
    [
        ({"type": "python", "entry_point": "m.py"}, "python3", ["{}/m.py"]),
        ({"type": "uv", "entry_point": "m.py"}, "uv", ["run", "--directory", "{}", "m.py"]),
        (
            {
                "type": "node",
                "mcp_config": {
                    "command": "other",
                    "platform_overrides": {sys.platform: {"command": "node", "args": ["${__dirname}/x.js"]}},
                },
            },
            "node",
            ["{}/x.js"],
        ),
        ({"type": "binary", "entry_point": "m.py"}, "{}/m.py", []),
    ],
)
def test_a_bundle_says_how_it_is_started(
    server: Any, command: str, args: list[str], data_dir: Path, tmp_path: Path, told: Told
) -> None:
    path = bundle(tmp_path, {"name": "notes", "server": server}, {"m.py": b"#"})
    home = str(data_dir / "bundles" / sha256(path.read_bytes()).hexdigest())
    words = ["servers", "import", str(path)]
    if server["type"] == "binary":
        assert main(words) == 1
        assert "--allow-command" in told()[0]
        words.append("--allow-command")
    assert main(words) == 0
    told()
    assert main(["servers", "show", "notes", "--json"]) == 0
    entry = json.loads(told()[0])["entry"]
    assert (entry["command"], entry.get("args", [])) == (command.format(home), [arg.format(home) for arg in args])
    assert bool((Path(home) / "m.py").stat().st_mode & 0o100) is (server["type"] == "binary")


DOCS = Path(__file__).resolve().parents[2] / "hub" / "docs" / "servers.md"
COMMANDS = [line for line in DOCS.read_text().splitlines() if line.startswith("mcp-hub servers add")]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_documented_commands_work(line: str, data_dir: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr(asking, "getpass", lambda prompt, stream: "canary-typed")
    assert main(shlex.split(line)[1:]) == 0
    assert told()[0].startswith("added ")
    assert len(COMMANDS) == 3

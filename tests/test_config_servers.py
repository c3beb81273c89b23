"""Entries of `mcpServers` as people paste them, and what they become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hub.config import Config, ConfigError, load
from hub.config_secrets import referred
from hub.core.ports import Rate
from hub.downstream.link import ServerSpec, Timeouts


def loaded(folder: Path, entry: object, environ: dict[str, str] | None = None, sealed: bool = False) -> Config:
    path = folder / "hub.yaml"
    with path.open("w") as file:
        YAML().dump({"mcpServers": {"one": entry}}, file)
    path.chmod(0o600)
    return load(path, environ or {}, sealed=sealed)


def spec(folder: Path, entry: object, environ: dict[str, str] | None = None) -> ServerSpec:
    return loaded(folder, entry, environ).servers[0]


def faults(folder: Path, entry: object, environ: dict[str, str] | None = None) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, entry, environ)
    assert all(fault.line is not None for fault in caught.value.faults)
    return [(fault.where, fault.text) for fault in caught.value.faults]


def test_a_pasted_command_becomes_a_child_that_starts_beside_the_file(tmp_path: Path) -> None:
    found = spec(tmp_path, {"command": "uvx", "args": ["mcp-server-time", 8], "env": {"TZ": "UTC", "DEBUG": True}})
    assert (found.id, found.transport) == ("one", "stdio")
    assert found.command == ("uvx", "mcp-server-time", "8")
    assert found.env == {"TZ": "UTC", "DEBUG": "true"}
    assert found.cwd == str(tmp_path)
    assert (found.pins, found.era, found.trusted, found.enabled) == ("quarantine", "auto", False, True)
    assert found.provenance == "file"


def test_relative_commands_and_directories_start_at_the_file(tmp_path: Path) -> None:
    found = spec(tmp_path, {"command": "./bin/server", "cwd": "work"})
    assert found.command == (str(tmp_path / "bin/server"),)
    assert found.cwd == str(tmp_path / "work")
    assert not spec(tmp_path, {"command": "~/server"}).command[0].startswith("~")


@pytest.mark.parametrize(
    ("entry", "transport"),
    [
        ({"url": "https://example.com/mcp"}, "http"),
        ({"url": "https://example.com/mcp", "type": "http"}, "http"),
        ({"url": "https://example.com/mcp", "type": "streamable-http"}, "http"),
        ({"url": "https://example.com/mcp", "transport": "streamableHttp"}, "http"),
        ({"url": "https://example.com/sse", "transport": "sse"}, "sse"),
        ({"url": "https://example.com/sse", "type": "sse", "transport": "sse"}, "sse"),
        ({"command": "x", "type": "stdio"}, "stdio"),
        ({"connector": "sandbox"}, "inprocess"),
    ],
)
def test_what_carries_it_is_read_from_every_clients_spelling(
    tmp_path: Path, entry: dict[str, str], transport: str
) -> None:
    assert spec(tmp_path, entry).transport == transport


def test_the_hubs_own_keys_reach_the_spec(tmp_path: Path) -> None:
    found = spec(
        tmp_path,
        {
            "url": "http://localhost:1/mcp",
            "era": "legacy",
            "pins": "off",
            "trusted": True,
            "disabled": True,
            "timeouts": {"connect": 1, "call": 2.5, "hard": 10},
            "max_result_bytes": 2048,
            "limit": {"per_minute": 10, "burst": 2},
        },
    )
    assert (found.era, found.pins, found.trusted, found.enabled) == ("legacy", "off", True, False)
    assert found.timeouts == Timeouts(connect_s=1, call_s=2.5, hard_s=10)
    assert found.max_result_bytes == 2048
    assert found.per_item == Rate(10, 2)


@pytest.mark.parametrize(
    ("entry", "where", "words"),
    [
        ({}, "", "it has none of them"),
        ({"command": "x", "url": "http://h"}, "", "command and url"),
        ({"command": "x", "type": "http"}, ".type", "does not go with command"),
        ({"url": "http://h/", "transport": "stdio"}, ".transport", "does not go with url"),
        ({"connector": "sandbox", "type": "stdio"}, ".type", "does not go with connector"),
        ({"command": "x", "type": "pigeon"}, ".type", "must be one of stdio"),
        ({"url": "http://h", "type": "http", "transport": "sse"}, ".transport", "contradicts"),
        ({"connector": "../evil"}, ".connector", "first-party connector"),
        ({"command": "x", "enabled": True, "disabled": True}, ".disabled", "contradicts enabled"),
        ({"command": "x", "trusted": "yes"}, ".trusted", "true or false"),
        ({"command": "x", "auth": {"oauth": {}}}, ".auth", "for servers with a url"),
        ({"command": "x", "isolation": "per-user"}, ".isolation", "not built yet"),
        ({"command": "x", "autoApprove": []}, ".autoApprove", "remove this key"),
        ({"command": "x", "timeout": 5}, ".timeout", "timeouts: {call: SECONDS}"),
        ({"command": "x", "maxResultBytes": 5}, ".maxResultBytes", "did you mean 'max_result_bytes'?"),
        ({"command": "x", "args": "y"}, ".args", "must be a list of texts, not a text"),
        ({"command": "x", "args": [None]}, ".args", "not a nothing"),
        ({"command": "x", "env": ["a"]}, ".env", "must be a mapping of names"),
        ({"command": "x", "env": {"A": ["b"]}}, ".env.A", "must be a text, not a list"),
        ({"command": "x", "env": {"A=B": "c"}}, ".env", "no name of an environment variable"),
        ({"command": "x", "variant_of": "nobody"}, ".variant_of", "no other server"),
        ({"command": "x", "variant_of": "one"}, ".variant_of", "no other server"),
        ({"command": "x", "timeouts": {"call": 0}}, ".timeouts.call", "number from 0.1"),
        ({"command": "x", "timeouts": {"call": 700}}, ".timeouts.call", "hard (600) is shorter"),
        ({"command": "x", "timeouts": {"call": 9, "hard": 5}}, ".timeouts.hard", "shorter than call"),
        ({"command": "x", "limit": {"burst": 3}}, ".limit", "needs per_minute"),
        ({"url": "ftp://h/x"}, ".url", "must be http://HOST"),
        ({"url": "http://"}, ".url", "must be http://HOST"),
        ({"url": "http://h:0/"}, ".url", "must be http://HOST"),
        ({"url": "http://h:99999/"}, ".url", "is no URL"),
        ({"url": "http://u:p@h/"}, ".url", "give them in headers"),
        ({"url": "http://h/#x"}, ".url", "fragment"),
        ({"url": "http://h/a b"}, ".url", "blanks"),
        ({"url": "http://h", "headers": {"Ho st": "x"}}, ".headers", "no name of an HTTP header"),
        ({"url": "http://h", "headers": {"Host": "x"}}, ".headers.Host", "set by the hub itself"),
        ({"url": "http://h", "headers": {"Mcp-Name": "x"}}, ".headers.Mcp-Name", "set by the hub itself"),
        ({"url": "http://h", "headers": {"X-A": "1", "x-a": "2"}}, ".headers.x-a", "given twice"),
        ({"url": "http://h", "headers": {"X-A": "1\r\nX-B: 2"}}, ".headers.X-A", "no HTTP header may hold"),
        ({"command": "${HOME}/x"}, ".command", "write env:HOME"),
        ({"command": "x", "args": ["--key=${KEY}"]}, ".args", "${KEY} is not expanded"),
        ({"command": "x", "cwd": "${workspaceFolder}"}, ".cwd", "is not expanded"),
        ({"command": "x", "env": {"A": "${env:B}"}}, ".env.A", "write env:B"),
        ({"url": "http://h", "headers": {"A": "Bearer ${input:token}"}}, ".headers.A", "write env:token"),
        ({"command": "x", "env": {"A": "env:MISSING"}}, ".env.A", "variable MISSING is not set"),
        ({"command": "x", "env": {"A": "file:missing"}}, ".env.A", "cannot be read"),
        ({"command": "x", "env": {"A": "secret:a b"}}, ".env.A", "names no secret"),
        ({"url": "env:MISSING"}, ".url", "variable MISSING is not set"),
    ],
)
def test_an_entry_that_cannot_work_is_a_fault_with_its_line(
    tmp_path: Path, entry: dict[str, object], where: str, words: str
) -> None:
    assert any(found == f"mcpServers.one{where}" and words in text for found, text in faults(tmp_path, entry))


def test_a_script_among_the_arguments_may_use_the_shells_own_variables(tmp_path: Path) -> None:
    assert spec(tmp_path, {"command": "sh", "args": ["-c", "echo ${HOME}"]}).command[2] == "echo ${HOME}"


def test_references_are_resolved_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "key").chmod(0o600)
    config = loaded(
        tmp_path,
        {
            "url": "env:WIKI",
            "headers": {"Authorization": "Bearer env:TOKEN", "X-Key": "file:key", "X-Plain": "Bearer abc"},
        },
        {"WIKI": "https://wiki.example.com/mcp", "TOKEN": "s3cret"},
    )
    [found] = config.servers
    assert found.url == "https://wiki.example.com/mcp"
    assert found.headers == {"Authorization": "Bearer s3cret", "X-Key": "from-file", "X-Plain": "Bearer abc"}
    assert "s3cret" not in repr(config)
    assert config.warnings == ()


def test_stored_secrets_are_resolved_by_name_and_who_uses_them_is_known(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text(
        "mcpServers:\n  a: {url: 'http://h', headers: {A: Bearer secret:wiki, B: secret:wiki}}\n"
        "  b: {command: x, env: {A: secret:jira, B: secret:wiki}}\n  c: {command: x}\n"
    )
    path.chmod(0o600)
    stored = {"wiki": "w-s3cret", "jira": "env:HOME"}  # a value is never read as a reference
    config = load(path, {"HOME": "/h"}, secrets=stored.get)
    one, two, _ = config.servers
    assert one.headers == {"A": "Bearer w-s3cret", "B": "w-s3cret"}
    assert two.env == {"A": "env:HOME", "B": "w-s3cret"}
    assert config.secret_uses == {"jira": ("b",), "wiki": ("a", "b")}
    assert "s3cret" not in repr(config)


def test_a_secret_that_nobody_set_is_a_fault_with_its_line_and_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("mcpServers:\n  a:\n    command: x\n    env:\n      A: secret:jira\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {}, secrets=lambda name: None)
    [fault] = caught.value.faults
    assert (fault.line, fault.where) == (5, "mcpServers.a.env.A")
    assert fault.text == "no secret is called jira; run: mcp-hub secrets set jira"


@pytest.mark.parametrize("sealed", [False, True])
def test_before_the_store_is_open_stored_secrets_alone_stand_for_nothing(tmp_path: Path, sealed: bool) -> None:
    config = loaded(tmp_path, {"command": "x", "env": {"A": "secret:jira", "B": "env:B"}}, {"B": "b"}, sealed=sealed)
    assert config.servers[0].env == {"A": "", "B": "" if sealed else "b"}
    assert config.secret_uses == {"jira": ("one",)}


def test_a_stored_value_that_no_header_may_hold_is_a_fault_without_it(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("mcpServers: {a: {url: 'http://h', headers: {A: secret:x}}}")
    with pytest.raises(ConfigError, match="no HTTP header may hold") as caught:
        load(path, {}, secrets={"x": "s3cret\r\nX-B: 1"}.get)
    assert "s3cret" not in str(caught.value)


def test_an_environment_value_is_the_whole_reference_or_none(tmp_path: Path) -> None:
    env = {"A": "Bearer env:X", "B": "file:///etc/passwd", "C": "environment"}
    assert spec(tmp_path, {"command": "x", "env": env}).env == env


@pytest.mark.parametrize(("content", "words"), [(b"\xff", "not UTF-8"), (b"x" * 70_000, "larger than")])
def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "key").write_bytes(content)
    [(where, text)] = faults(tmp_path, {"command": "x", "env": {"A": "file:key"}})
    assert where == "mcpServers.one.env.A"
    assert words in text


def test_a_secret_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    (tmp_path / "key").chmod(0o644)
    [warning] = loaded(tmp_path, {"command": "x", "env": {"A": "file:key"}}).warnings
    assert f"chmod 600 {tmp_path / 'key'}" in warning


def test_a_readable_file_with_a_plain_secret_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("mcpServers: {a: {url: 'http://h', headers: {Authorization: Bearer abc}}}")
    path.chmod(0o644)
    [warning] = load(path, {}).warnings
    assert "chmod 600" in warning
    assert "abc" not in warning
    path.chmod(0o600)
    assert load(path, {}).warnings == ()


def test_who_starts_no_server_needs_none_of_its_secrets(tmp_path: Path) -> None:
    entry = {"url": "env:MISSING", "headers": {"Authorization": "Bearer env:GONE", "X": "file:gone"}}
    [found] = loaded(tmp_path, entry, sealed=True).servers
    assert (found.url, found.headers["Authorization"]) == ("", "")


def test_pasted_names_are_slugged_and_a_collision_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("mcpServers:\n  My Server: {command: x}\n  my_server: {command: y}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    [fault] = caught.value.faults
    assert (fault.line, fault.where) == (3, "mcpServers.my_server")
    assert "as 'My Server' does" in fault.text


def test_a_variant_of_a_variant_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text(
        "mcpServers:\n  a: {command: x}\n  b: {command: y, variant_of: a}\n  c: {command: z, variant_of: b}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [(fault.line, fault.text) for fault in caught.value.faults] == [(4, "'b' is a variant itself")]


def test_more_servers_than_one_hub_takes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("mcpServers:\n" + "".join(f"  s{n}: {{command: x}}\n" for n in range(501)))
    with pytest.raises(ConfigError, match="501 servers"):
        load(path, {})


def test_an_argument_may_name_a_stored_secret(tmp_path: Path) -> None:
    entry = {"command": "npx", "args": ["x", "--key=secret:one.key", "secret:one.url", "no secret:x", "--secret:x"]}
    path = tmp_path / "hub.json"
    path.write_text(json.dumps({"mcpServers": {"one": entry}}))
    path.chmod(0o600)
    config = load(path, {}, secrets={"one.key": "k", "one.url": "postgres://u:p@h"}.get)
    assert config.servers[0].command == ("npx", "x", "--key=k", "postgres://u:p@h", "no secret:x", "--secret:x")
    assert set(config.secret_uses) == {"one.key", "one.url"} == set(referred(entry))
    assert "postgres://u:p" not in repr(config.servers[0])
    with pytest.raises(ConfigError, match="mcp-hub secrets set one"):
        load(path, {}, secrets={"one.url": "x"}.get)

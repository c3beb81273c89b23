"""The file and what admins added are one configuration, and what cannot be in force takes nothing else with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.config import Config, load
from hub.config_registry import Merged, as_node, merged
from hub.core.call import Json
from hub.core.ports import Endpoint, RegistryKind, RegistryRow

FILE = """
mcpServers:
  wiki: {url: "http://h/mcp", headers: {A: "Bearer secret:wiki"}}
  off: {command: x, enabled: false}
endpoints:
  /docs/mcp: {servers: [wiki]}
"""


def row(id: str, body: Json, kind: RegistryKind = "server") -> RegistryRow:
    return RegistryRow("local", kind, id, body, 1, "t", "t", "ann")


@pytest.fixture
def base(tmp_path: Path) -> Config:
    path = tmp_path / "hub.yaml"
    path.write_text(FILE)
    path.chmod(0o600)
    return load(path, {}, secrets={"wiki": "w"}.get)


def merge(base: Config, *rows: RegistryRow, **secrets: str) -> Merged:
    return merged(base, rows, {"HOME": "/h"}, secrets.get)


def ids(found: Merged) -> list[str]:
    return [spec.id for spec in found.config.servers]


def faults(found: Merged) -> list[tuple[str, str]]:
    return [(fault.where, fault.text) for fault in found.aside]


def test_nothing_added_is_the_file(base: Config) -> None:
    assert merge(base) == Merged(base)
    assert base.endpoint_sources == {"docs": "file"}


def test_entries_are_read_as_the_file_would_have_them(base: Config) -> None:
    body = {
        "command": "./serve",
        "args": ["--port", 80],
        "env": {"KEY": "secret:jira", "PORT": 8080, "ON": True},
        "timeouts": {"call": 5},
        "pins": "warn",
    }
    found = merge(base, row("jira", body), jira="s3cret")
    assert found.aside == ()
    spec = found.config.servers[-1]
    assert base.path is not None
    assert spec.command == (str(base.path.parent / "serve"), "--port", "80")
    assert spec.env == {"KEY": "s3cret", "PORT": "8080", "ON": "true"}
    assert (spec.pins, spec.timeouts.call_s, spec.provenance) == ("warn", 5.0, "database")
    assert [each.provenance for each in found.config.servers] == ["file", "file", "database"]
    assert found.config.secret_uses == {"wiki": ("wiki",), "jira": ("jira",)}
    assert "s3cret" not in repr(found)


def test_an_overlay_switches_a_server_of_the_file_and_nothing_else(base: Config) -> None:
    rows = (row("wiki", {"enabled": False}, "overlay"), row("off", {"enabled": True}, "overlay"))
    found = merge(base, *rows, row("gone", {"enabled": True}, "overlay"))
    assert [(spec.id, spec.enabled) for spec in found.config.servers] == [("wiki", False), ("off", True)]
    own = merge(base, row("own", {"command": "x"}), row("own", {"enabled": False}, "overlay"))
    assert own.config.servers[-1].enabled


def test_an_id_of_the_file_is_the_files(base: Config) -> None:
    found = merge(base, row("wiki", {"command": "evil"}), row("own", {"command": "x"}))
    assert ids(found) == ["wiki", "off", "own"]
    assert found.config.servers[0].url == "http://h/mcp"
    assert faults(found) == [
        ("mcpServers.wiki", "stands in the configuration file; change it there, or choose another id")
    ]


def test_an_endpoint_of_the_file_is_the_files(base: Config) -> None:
    found = merge(base, row("docs", {"servers": "*"}, "endpoint"))
    assert found.config.endpoints["docs"].servers == frozenset(("wiki",))
    assert faults(found) == [("endpoints./docs/mcp", "stands in the configuration file; change it there")]


def test_endpoints_choose_of_all_servers_and_the_default_one_may_be_made_anew(base: Config) -> None:
    found = merge(
        base,
        row("own", {"command": "x"}),
        row("", {"servers": ["own"], "tools": ["own__*"]}, "endpoint"),
        row("both", {"servers": ["own", "wiki"], "page_size": 7}, "endpoint"),
    )
    assert found.aside == ()
    assert found.config.endpoints[""] == Endpoint("", frozenset(("own",)), tools=("own__*",))
    assert found.config.endpoints["both"] == Endpoint("both", frozenset(("own", "wiki")), page_size=7)
    assert found.config.endpoint_sources == {"docs": "file", "": "database", "both": "database"}


def test_a_variant_may_be_of_any_server_that_is_none_itself(base: Config) -> None:
    good = row("a", {"command": "x", "variant_of": "wiki"})
    of_later = row("b", {"command": "x", "variant_of": "z"})
    found = merge(base, good, of_later, row("z", {"command": "x"}), row("c", {"command": "x", "variant_of": "nobody"}))
    assert ids(found) == ["wiki", "off", "z", "a", "b"]
    assert [where for where, _ in faults(found)] == ["mcpServers.c.variant_of"]


@pytest.mark.parametrize(
    ("body", "where", "text"),
    [
        ({"command": "x", "env": {"K": "secret:gone"}}, ".env.K", "no secret is called gone; run: mcp-hub secrets set"),
        ({"command": "x", "env": {"K": "env:MISSING"}}, ".env.K", "MISSING is not set"),
        ({"command": "x", "nonsense": 1}, ".nonsense", "unknown key"),
        ({}, "", "needs exactly one of command, url and connector"),
        ({"url": "ftp://h"}, ".url", "must be http"),
        ({"command": "x", "args": {"a": 1}}, ".args", "must be a list of texts"),
        ([1], "", "must be a mapping"),
    ],
)
def test_a_row_that_cannot_be_in_force_takes_nothing_with_it(base: Config, body: Any, where: str, text: str) -> None:
    found = merge(base, row("bad", body), row("good", {"command": "x"}))
    assert ids(found) == ["wiki", "off", "good"]
    assert found.aside
    assert found.aside[0].where == f"mcpServers.bad{where}"
    assert text in found.aside[0].text
    assert found.aside[0].line is None


def test_what_is_built_on_a_row_that_is_aside_is_aside_too(base: Config) -> None:
    bad = row("bad", {"command": "x", "env": {"K": "secret:gone"}})
    found = merge(base, bad, row("e", {"servers": ["bad"]}, "endpoint"))
    assert set(found.config.endpoints) == {"", "docs"}
    assert [where for where, _ in faults(found)] == ["mcpServers.bad.env.K", "endpoints./e/mcp.servers"]


def test_there_is_a_limit_to_servers(base: Config) -> None:
    found = merge(base, *(row(f"s{n}", {"command": "x"}) for n in range(500)))
    assert len(found.config.servers) == 500
    assert [text for _, text in faults(found)] == ["would be one server more than the 500 that fit one hub"] * 2


def test_values_that_are_too_deep_or_too_many_are_refused_in_words() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    for value in (deep, list(range(60_000))):
        with pytest.raises(ValueError, match="too large or nested too deeply"):
            as_node(value)


def test_a_deep_row_is_set_aside(base: Config) -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = {"a": deep}
    found = merge(base, row("bad", {"command": "x", "env": deep}))
    assert faults(found) == [("mcpServers.bad", "is too large or nested too deeply")]


def test_a_hub_without_a_file_has_what_was_added(tmp_path: Path) -> None:
    found = merge(Config(tmp_path), row("own", {"command": "./x"}))
    assert [(spec.command, spec.cwd) for spec in found.config.servers] == [(("./x",), None)]

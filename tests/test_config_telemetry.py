"""The section `telemetry`: what it takes, what it refuses, and where its secrets come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.assembly_live import _restart_needed
from hub.assembly_secrets import resolved
from hub.config import Config, ConfigError, load
from hub.config_registry import merged
from hub.config_telemetry import Telemetry

HEADERS = "headers: {Authorization: Bearer secret:otlp, X-Key: 'env:KEY'}"


def read(folder: Path, text: str, mode: int = 0o600, **environ: str) -> Config:
    path = folder / "hub.yaml"
    path.write_text(text)
    path.chmod(mode)
    return load(path, {"HOME": str(folder), **environ})


def test_telemetry_is_off_unless_somebody_says_where_to(tmp_path: Path) -> None:
    assert load(None, {"HOME": str(tmp_path)}).telemetry is None
    assert read(tmp_path, "telemetry:\n").telemetry is None


def test_every_key_reaches_its_place(tmp_path: Path) -> None:
    text = """
telemetry:
  endpoint: https://otlp.example.com/base/
  headers: {X-Key: env:KEY}
  traces: false
  metrics: false
  sample: 1
  service_name: hub-eu
  interval_s: 15
"""
    wanted = Telemetry("https://otlp.example.com/base", {"X-Key": "k"}, False, False, 1.0, "hub-eu", 15.0)
    assert read(tmp_path, text, KEY="k").telemetry == wanted
    assert "k" not in repr(wanted).replace("hub-eu", "")


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("{}", "telemetry.endpoint", "is needed"),
        ("{endpoint: ftp://x}", "telemetry.endpoint", "http://HOST"),
        ("{endpoint: 'http://u:p@h'}", "telemetry.endpoint", "user or password"),
        ("{endpoint: 'http://h?k=v'}", "telemetry.endpoint", "query"),
        ("{endpoint: 'http://h#x'}", "telemetry.endpoint", "fragment"),
        ("{endpoint: 'http://h', sample: 1.5}", "telemetry.sample", "from 0 to 1"),
        ("{endpoint: 'http://h', interval_s: 0}", "telemetry.interval_s", "from 1 to 3600"),
        ("{endpoint: 'http://h', headers: {X: \"a\\nb\"}}", "telemetry.headers.X", "no HTTP header may hold"),
        ("{endpoint: 'http://h', headers: {X: env:NOT_SET}}", "telemetry.headers.X", "NOT_SET is not set"),
        ("{endpoint: 'http://h', protocol: grpc}", "telemetry.protocol", "unknown key"),
        ("[1]", "telemetry", "must be a mapping"),
    ],
)
def test_what_cannot_be_is_a_fault_with_its_line(tmp_path: Path, text: str, where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"\ntelemetry: {text}\n")
    assert any(fault.where == where and words in fault.text and fault.line == 2 for fault in caught.value.faults)


@pytest.mark.parametrize("key", ["otel", "tracing"])
def test_other_names_for_it_are_told_the_right_one(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="is called telemetry here"):
        read(tmp_path, f"{key}: {{}}")


def test_a_stored_secret_is_resolved_and_known_to_be_in_use(tmp_path: Path) -> None:
    first = read(tmp_path, f"telemetry:\n  endpoint: http://h\n  {HEADERS}\n", KEY="k")
    assert first.secret_uses == {"otlp": ("telemetry",)}
    found = resolved(first, {"HOME": str(tmp_path), "KEY": "k"}, {"otlp": "s3cret"}.get)
    assert found.telemetry is not None
    assert found.telemetry.headers == {"Authorization": "Bearer s3cret", "X-Key": "k"}
    stored: dict[str, str] = {}
    assert merged(found, (), {}, stored.get).config.secret_uses == {"otlp": ("telemetry",)}
    assert "s3cret" not in repr(found)


def test_a_server_of_that_name_keeps_its_own_secrets(tmp_path: Path) -> None:
    server = "mcpServers: {telemetry: {command: x, env: {A: 'secret:own'}}}"
    found = read(tmp_path, f"{server}\ntelemetry:\n  endpoint: http://h\n  {HEADERS}\n", KEY="k")
    assert found.secret_uses == {"otlp": ("telemetry",), "own": ("telemetry",)}


def test_a_secret_in_plain_text_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    text = "telemetry: {endpoint: 'http://h', headers: {Authorization: Bearer x}}"
    assert read(tmp_path, text).warnings == ()
    assert any("in plain text" in warning for warning in read(tmp_path, text, 0o644).warnings)


def test_a_change_waits_for_a_restart_and_says_so(tmp_path: Path) -> None:
    base = read(tmp_path, "telemetry: {endpoint: 'http://h'}")
    assert _restart_needed(base, base) == ()
    assert _restart_needed(base, replace(base, telemetry=None)) == ("telemetry changes with a restart",)

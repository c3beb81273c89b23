"""Pastes as the documentation of many programs has them, and what they become: one file each, with its expectation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.admin.paste.drafts import Draft, Rules, one, read
from hub.admin.paste.formats import Unreadable
from hub.config import Config
from hub.config_registry import merged
from hub.core.ports import RegistryRow

FOLDER = Path(__file__).resolve().parent.parent / "pastes"
SAMPLES = sorted(path for path in FOLDER.iterdir() if not path.name.endswith(".expected.json"))


def told(draft: Draft) -> dict[str, Any]:
    row: dict[str, Any] = {"id": draft.id}
    if draft.fault is not None:
        row["fault"] = draft.fault
    else:
        row["entry"] = dict(draft.entry)
        if draft.secrets:
            row["secrets"] = dict(draft.secrets)
        if draft.needs:
            row["needs"] = [{"name": n.name, "where": n.where, "secret": n.secret} for n in draft.needs]
    if draft.warnings:
        row["warnings"] = list(draft.warnings)
    return row


def drafts(path: Path) -> tuple[Draft, ...]:
    return read(path.read_text(), Rules())


def test_there_are_samples_enough() -> None:
    assert len(SAMPLES) >= 40


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_paste_becomes_the_expected_entries(path: Path) -> None:
    expected = json.loads(path.with_name(f"{path.name}.expected.json").read_text())
    assert [told(draft) for draft in drafts(path)] == expected


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_what_is_shown_of_a_paste_holds_no_secret(path: Path) -> None:
    for draft in drafts(path):
        shown = f"{draft!r} {json.dumps(dict(draft.entry))} {draft.fault} {draft.warnings} {draft.needs}"
        assert "canary" not in shown
        for value in draft.secrets.values():
            assert value not in shown


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_an_answered_paste_is_a_configuration_the_hub_takes(path: Path) -> None:
    """Everything asked for is given once; then nothing is open, and the configuration's own reader agrees."""
    asked = {need.name: (need.choices or ("/srv/canary-answer-7",))[0] for d in drafts(path) for need in d.needs}
    for draft in read(path.read_text(), Rules(asked)):
        if draft.fault is not None:
            continue
        assert draft.needs == ()
        row = RegistryRow("local", "server", draft.id, draft.entry, 1, "", "", "")
        found = merged(Config(Path("/nowhere")), (row,), {}, draft.secrets.get)
        assert found.aside == ()
        (spec,) = found.config.servers
        app = spec.auth.client if spec.auth is not None else None
        login = (app.id, app.secret or "") if app is not None else ()
        given = " ".join((*spec.command, spec.url, *spec.env.values(), *spec.headers.values(), *login))
        assert "secret:" not in given
        for value in draft.secrets.values():
            assert value in given


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_paste_that_was_taken_is_complete_the_second_time(path: Path) -> None:
    asked = {need.name: (need.choices or ("/srv/answer",))[0] for d in drafts(path) for need in d.needs}
    stored = {d.id: d.entry for d in read(path.read_text(), Rules(asked)) if d.fault is None}
    for draft in read(path.read_text(), Rules(), before=stored.get):
        if draft.fault is None:
            assert (draft.needs, draft.entry) == ((), stored[draft.id])


def test_a_kept_secret_is_never_led_to_another_address() -> None:
    paste = '{"wiki": {"url": "https://%s/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}}'
    (first,) = read(paste % "good.example.com", Rules({"TOKEN": "canary-1"}))
    stored = {"wiki": first.entry}
    (again,) = read(paste % "good.example.com", Rules(), before=stored.get)
    (moved,) = read(paste % "evil.example.com", Rules(), before=stored.get)
    assert again.entry == first.entry
    assert [need.name for need in moved.needs] == ["TOKEN"]


def test_half_a_paste_is_told_by_line_and_column() -> None:
    half = '{\n  "mcpServers": {\n    "a": { "command": "npx",\n      "args": ["-y", '
    with pytest.raises(Unreadable, match=r"line 4, column 22: .* inside the list that opens on line 4, column 15"):
        read(half, Rules())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("{}", "no a server found|no server"),
        ("[]", "names no server"),
        ("42", "no server entry"),
        ('{"mcpServers": {}}', "names no server"),
        ("[mcp_servers.a]\ncommand = ", "no TOML"),
        ("mcp_servers.a = 1\nmcp_servers = 1", "no TOML"),
        ('{"a": 1}', "no command or url found"),
        ("hello", "is no JSON"),
    ],
)
def test_what_is_no_paste_is_told_so(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(text, Rules())


def test_too_many_servers_are_refused_whole() -> None:
    text = json.dumps({f"s{n}": {"url": "https://a.example.com"} for n in range(501)})
    with pytest.raises(Unreadable, match="at most 500"):
        read(text, Rules())


def test_a_new_name_tells_colliding_servers_apart() -> None:
    text = (FOLDER / "collision.json").read_text()
    found = read(text, Rules(), rename={"my_server": "second"})
    assert [(draft.id, draft.fault) for draft in found] == [("my-server", None), ("second", None), ("other", None)]


def test_an_admins_own_words_may_trust_and_refer_to_secrets() -> None:
    entry = {"url": "https://a.example.com/mcp", "trusted": True, "headers": {"Authorization": "Bearer secret:x.y"}}
    draft = one("a", entry, Rules(own=True))
    assert (draft.entry, draft.fault) == (entry, None)
    assert one("a", {**entry, "headers": {"X": "env:HOME"}}, Rules(own=True)).fault is not None


def test_an_answer_beside_the_choices_is_refused() -> None:
    text = (FOLDER / "server-json-remote.json").read_text()
    (draft,) = read(text, Rules({"tenant": "mars"}))
    assert draft.fault == "tenant must be one of eu, us"


def test_values_of_one_server_can_be_told_from_those_of_another() -> None:
    local = '{"command": "npx", "args": ["x@1.0.0"], "env": {"API_KEY": ""}}'
    text = f'"a": {local}, "b": {{"url": "https://b", "headers": {{"API_KEY": ""}}}}'
    first, second = read(text, Rules({"a.API_KEY": "one-1", "b.API_KEY": "two-2"}))
    assert (dict(first.secrets), dict(second.secrets)) == ({"a.API_KEY": "one-1"}, {"b.API_KEY": "two-2"})


def test_two_secrets_of_one_label_do_not_overwrite_each_other() -> None:
    entry = {"command": "npx", "args": ["x@1.0.0", "--token", "aaaa-1"], "env": {"token": "bbbb-2"}}
    draft = one("a", entry, Rules())
    assert sorted(draft.secrets.values()) == ["aaaa-1", "bbbb-2"]

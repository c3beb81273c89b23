"""Members of foreign entries and registry documents: what each becomes, is warned of, or is refused for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.admin.paste.drafts import Draft, Rules, one, read

URL = "https://a.example.com/mcp"
LOCAL = {"command": "npx", "args": ["x@1.0.0"]}


def entry(**given: Any) -> Draft:
    return one("a", given, Rules())


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"url": URL, "type": "streamableHttp"}, {"url": URL}),
        ({"url": f" {URL} ", "transport": "sse"}, {"url": URL, "type": "sse"}),
        ({**LOCAL, "type": "stdio", "env": ["MODE=x", "B=c"]}, {**LOCAL, "env": {"MODE": "x", "B": "c"}}),
        ({**LOCAL, "env": None, "headers": {}, "disabled": False}, LOCAL),
        ({**LOCAL, "environment": {"A": 1.5}}, {**LOCAL, "env": {"A": "1.5"}}),
        (
            {"url": URL, "era": "legacy", "limit": {"per_minute": 1}},
            {"url": URL, "era": "legacy", "limit": {"per_minute": 1}},
        ),
        ({"connector": "sandbox"}, {"connector": "sandbox"}),
        ({"url": URL, "auth": "oauth"}, {"url": URL}),
        ({"url": URL, "oauth": {}, "auth": None}, {"url": URL}),
        ({"url": URL, "auth": False}, {"url": URL}),
        ({"url": URL, "oauth": {"scope": "a b", "type": "oauth2"}}, {"url": URL, "auth": {"scopes": ["a", "b"]}}),
        (
            {
                "url": URL,
                "oauth": {
                    "issuer": "https://id.example.com",
                    "clientId": "x",
                    "authorizationUrl": "https://id.example.com/a",
                    "tokenUrl": "https://id.example.com/t",
                },
            },
            {
                "url": URL,
                "auth": {
                    "issuer": "https://id.example.com",
                    "client": {"id": "x"},
                    "authorization_endpoint": "https://id.example.com/a",
                    "token_endpoint": "https://id.example.com/t",
                },
            },
        ),
        (
            {
                "command": "npx",
                "args": [
                    *("-y", "mcp-remote", URL, "--header", "X-Team: a"),
                    *("--static-oauth-client-info", '{"client_id": "x"}'),
                    *("--static-oauth-client-metadata", '{"scope": "read write", "client_name": "y"}'),
                ],
            },
            {"url": URL, "headers": {"X-Team": "a"}, "auth": {"client": {"id": "x"}, "scopes": ["read", "write"]}},
        ),
        (
            {"url": URL, "timeout": 900, "initTimeout": 2500},
            {"url": URL, "timeouts": {"call": 900, "hard": 900, "initialize": 2.5}},
        ),
        ({"url": URL, "timeouts": {"call": 5}, "timeout": 9}, {"url": URL, "timeouts": {"call": 5}}),
        ({**LOCAL, "cwd": "~/x"}, {**LOCAL, "cwd": "~/x"}),
        ({"command": "npx", "args": ["x@1.0.0", 8, True]}, {"command": "npx", "args": ["x@1.0.0", "8", "true"]}),
    ],
)
def test_other_spellings_become_ours(given: Any, made: Any) -> None:
    draft = one("a", given, Rules())
    assert (draft.fault, dict(draft.entry)) == (None, made)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"url": URL, "env": {"A": "b"}}, "env means nothing for a remote"),
        ({**LOCAL, "headers": {"A": "b"}}, "headers mean nothing for a local"),
        ({"url": URL, "serverUrl": "https://b.example.com"}, "several URLs"),
        ({"url": URL, "timeout": "soon"}, "no usable time"),
        ({"url": URL, "colour": "red"}, "'colour' is not known here"),
        ({"url": URL, "excludeTools": ["rm"]}, "NOT applied"),
        ({"url": URL, "trust": True}, "asks nobody"),
        ({**LOCAL, "oauth": {"clientId": "x"}}, "oauth means nothing for a local program"),
        ({"url": URL, "headers": {"AUTHORIZATION": "x"}, "auth": {"CLIENT_ID": "x"}}, "auth was left out"),
        ({"url": URL, "auth": {"CLIENT_ID": "x"}}, "must allow the hub's redirect URI"),
        ({"url": URL, "oauth": {"tokenUrl": "https://id.example.com"}}, "without an issuer were left out"),
        ({"url": URL, "oauth": {"clientId": "x", "colour": "red"}}, "'colour' of its login is not known"),
    ],
)
def test_what_is_left_out_is_said(given: Any, why: str) -> None:
    draft = one("a", given, Rules())
    assert draft.fault is None
    assert any(why in warning for warning in draft.warnings)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"command": 5}, "command must be a text"),
        ({"command": "npx", "args": [None]}, "args must be a text"),
        ({**LOCAL, "type": "http"}, "does not go with a command"),
        ({"url": URL, "type": "stdio"}, "does not go with a url"),
        ({"url": URL, "disabled": "yes"}, "must be true or false"),
        ({"url": URL, "headers": "x"}, "must be an object"),
        ({"url": URL, "headers": {"A": {"b": 1}}}, "must be a text"),
        ({**LOCAL, "env": {"A": "\x1b[2J"}}, "control characters"),
        ({**LOCAL, "env_file": ".env"}, "is not read"),
        ({"command": "npx", "args": ["mcp-remote"]}, "no URL"),
        ({"command": "npx", "args": ["mcp-remote", URL, "--static-oauth-client-info", "@app.json"]}, "no JSON object"),
        ({"url": URL, "auth": "Bearer x"}, "a token belongs into headers"),
        ({"url": URL, "auth": {"client": "x"}}, "must be an object of texts"),
        ({"url": URL, "authProviderType": "google_credentials"}, "register an app for the hub"),
        ({**LOCAL, "env": {"A": "word " * 5_000}}, "longer than"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Any, why: str) -> None:
    draft = one("a", given, Rules())
    assert draft.fault is not None
    assert why in draft.fault


def test_codex_names_the_variables_of_its_headers() -> None:
    draft = one("a", {"url": URL, "bearer_token": "canary-b", "env_http_headers": {"X": "NAME"}}, Rules({"NAME": "n"}))
    assert draft.entry["headers"] == {"Authorization": "Bearer secret:a.Authorization", "X": "n"}
    assert one("a", {**LOCAL, "bearer_token_env_var": "X"}, Rules()).entry == LOCAL


def test_a_bridge_with_every_option_becomes_its_url() -> None:
    args = ["-y", "mcp-remote@0.1.29", "https://a/sse", "8080", "--allow-http", "--transport=sse-first", "--debug"]
    args += ["-H", "X-Key: canary-1", "--ignore-tool", "delete*", "--host", "127.0.0.1"]
    draft = entry(command="npx", args=args)
    assert draft.entry == {"url": "https://a/sse", "type": "sse", "headers": {"X-Key": "secret:a.X-Key"}}
    assert any("--ignore-tool is NOT applied" in warning for warning in draft.warnings)


def test_a_containers_environment_leaves_its_arguments() -> None:
    args = ["run", "-eA_TOKEN=canary-1", "--env=B=2", "-e", "C", "img@sha256:00", "-e", "D=3"]
    draft = one("a", {"command": "docker", "args": args}, Rules({"C": "3"}))
    assert draft.entry["args"] == ["run", "-e", "A_TOKEN", "-e", "B", "-e", "C", "img@sha256:00", "-e", "D=3"]
    assert draft.entry["env"] == {"A_TOKEN": "secret:a.A_TOKEN", "B": "2", "C": "3"}
    assert entry(command="docker", args=["compose", "up"]).entry["args"] == ["compose", "up"]


def test_headers_in_arguments_are_secrets_too() -> None:
    args = ["x@1.0.0", "--header", "Authorization: Bearer canary-1", "-H", "X-Mode: fast", "-H", "X-Key: ${KEY}"]
    draft = one("a", {"command": "npx", "args": args}, Rules({"KEY": "canary-2"}))
    assert draft.entry["args"][2::2] == ["secret:a.Authorization", "X-Mode: fast", "secret:a.X-Key"]
    assert set(draft.secrets.values()) == {"Authorization: Bearer canary-1", "X-Key: canary-2"}


def test_a_long_label_keeps_a_name_the_vault_takes() -> None:
    draft = entry(url=URL, headers={"X-" + "Very-Long-" * 9 + "Token": "canary-1"})
    (name,) = draft.secrets
    assert len(name) == 64
    assert draft.entry["headers"].popitem()[1] == f"secret:{name}"


def document(**more: Any) -> Draft:
    (draft,) = read(json.dumps({"name": "a.b/c", **more}), Rules())
    return draft


def package(**more: Any) -> dict[str, Any]:
    return {"registryType": "npm", "identifier": "x", "version": "1.0.0", "transport": {"type": "stdio"}, **more}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            {"packages": [package(transport={"type": "streamable-http", "url": "http://localhost"})]},
            "serves a local URL",
        ),
        ({"packages": [package(identifier="")]}, "no identifier"),
        ({"packages": [package(identifier="a b")]}, "no identifier"),
        ({"packages": [package(registryType="cargo")]}, "of no kind"),
        ({"remotes": [{"type": "sse"}]}, "no url"),
        ({"name": "", "packages": [package()]}, "no name"),
    ],
)
def test_documents_that_start_nothing_are_refused(more: Any, why: str) -> None:
    draft = document(**more)
    assert draft.fault is not None
    assert why in draft.fault


def test_documents_become_arguments() -> None:
    arguments = [
        {"type": "named", "name": "--quiet"},
        {"type": "named", "name": "--mode", "value": "fast"},
        {"type": "named", "name": "--skip"},
        {"type": "named", "name": "--off", "isRequired": False, "default": ""},
        {"type": "positional", "valueHint": "dir"},
        {"type": "named", "name": "--host", "value": "{h}", "variables": {"h": {"value": "fixed"}}},
    ]
    draft = document(packages=[package(packageArguments=arguments, runtimeArguments=[{"value": "--yes"}])])
    assert [need.name for need in draft.needs] == ["dir"]
    assert draft.entry["args"] == ["--yes", "x@1.0.0", "--quiet", "--mode", "fast", "--skip", "", "--host", "fixed"]
    both = document(remotes=[{"type": "sse", "url": URL}], packages=[package()])
    assert both.entry == {"url": URL, "type": "sse"}
    two = document(packages=[package(), package(registryType="oci")])
    assert two.entry == {"command": "npx", "args": ["-y", "x@1.0.0"]}
    assert all(draft.warnings for draft in (both, two))


def test_the_oldest_spelling_is_read_as_well() -> None:
    old = {"registry_name": "pypi", "name": "weather", "version": "0.1.0", "runtime_arguments": []}
    draft = document(packages=[old])
    assert draft.entry == {"command": "uvx", "args": ["weather@0.1.0"]}
    assert "snake_case" in draft.warnings[0]
    image = document(packages=[package(registryType="oci", identifier="ghcr.io/a/b", version="2")])
    assert image.entry["args"] == ["run", "-i", "--rm", "ghcr.io/a/b:2"]
    named = package(runtimeArguments=[{"type": "named", "name": "--from", "value": "x@1.0.0", "valueHint": "v"}])
    assert document(packages=[named]).entry["args"] == ["-y", "--from", "x@1.0.0"]


@pytest.mark.parametrize(
    ("bare", "name"),
    [
        ({"command": "uvx", "args": ["--from", "git+https://x/y", "mcp-server-time"]}, "y"),
        ({"command": "npx", "args": ["-y", "@a/b-mcp-server@1.0.0"]}, "b"),
        ({"url": "https://mcp.linear.app/mcp"}, "linear"),
        ({"url": "http://localhost:1/mcp", "name": "Mine"}, "mine"),
        ({"command": "docker", "args": ["run", "-i", "ghcr.io/a/notes:1.0"]}, "notes"),
    ],
)
def test_a_bare_entry_is_called_after_what_it_runs(bare: Any, name: str) -> None:
    (draft,) = read(json.dumps(bare), Rules())
    assert draft.id == name


def test_a_bare_entry_without_any_name_asks_for_one() -> None:
    for bare in ({"url": "http://[broken"}, {"url": "http://127.0.0.1/mcp"}):
        (draft,) = read(json.dumps(bare), Rules())
        assert draft.fault is not None
        assert "--name" in draft.fault


def test_lists_of_entries_and_odd_inputs_are_read() -> None:
    text = json.dumps(
        {
            "inputs": [5, {"id": 7}, {"id": "x", "options": [{"value": "a"}, "b"]}],
            "servers": {"s": {"url": "${input:x}"}},
        }
    )
    (draft,) = read(text, Rules({"x": "a"}))
    assert draft.entry == {"url": "a"}
    assert [d.id for d in read(json.dumps([{"url": URL, "name": "one"}, {"two": {"url": URL}}]), Rules())] == [
        "one",
        "two",
    ]


def test_the_secret_of_an_app_goes_to_the_vault_whoever_wrote_it() -> None:
    theirs = {"url": URL, "auth": {"CLIENT_ID": "x", "CLIENT_SECRET": "canary-1", "scopes": ["read"]}}
    ours = {"url": URL, "auth": {"account": "shared", "client": {"id": "x", "secret": "canary-1"}}}
    for given, own in ((theirs, False), (ours, True), (ours, False)):
        draft = one("a", given, Rules(own=own))
        assert dict(draft.secrets) == {"a.client-secret": "canary-1"}
        assert draft.entry["auth"]["client"] == {"id": "x", "secret": "secret:a.client-secret"}
        assert "canary" not in f"{draft!r}"


def test_an_admin_may_switch_logins_off_and_name_a_stored_secret() -> None:
    own = Rules(own=True)
    assert one("a", {"url": URL, "auth": False}, own).entry == {"url": URL, "auth": False}
    entry = {"url": URL, "auth": {"client": {"id": "x", "secret": "secret:app", "method": "client_secret_post"}}}
    assert one("a", entry, own).entry == entry
    assert "may not use stored secrets" in str(one("a", entry, Rules()).fault)
    odd = {"url": URL, "auth": {"acount": "user"}}
    assert one("a", odd, own).entry == odd, "the reader of the configuration says what is wrong with it"

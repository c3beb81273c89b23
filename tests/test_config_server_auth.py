"""`auth` of a server: what it becomes, what is a fault, and that its secret is told nowhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.config import Config, ConfigError, load
from hub.config_registry import merged
from hub.core.connections import EnteredClient, ServerAuth
from hub.core.ports import RegistryRow
from hub.downstream.link import same_connection
from tests.test_config_auth import read
from tests.test_config_servers import faults, loaded, spec

URL = "https://mcp.example.com/mcp"
ID = "https://id.example.com"
CANARY = "canary-of-the-app"
CLIENT = {"id": "hub", "secret": CANARY}


def auth(folder: Path, given: Any, environ: dict[str, str] | None = None, **entry: Any) -> ServerAuth | None:
    return spec(folder, {"url": URL, "auth": given, **entry}, environ).auth


@pytest.mark.parametrize(
    ("entry", "made"),
    [
        ({"url": URL}, ServerAuth()),
        ({"url": URL, "type": "sse"}, ServerAuth()),
        ({"url": "http://wiki.lan:8080/mcp"}, None),  # a token would cross the network in the clear
        ({"url": URL, "headers": {"X-Team": "a"}}, ServerAuth()),
        ({"url": URL, "headers": {"authORIZATION": "Bearer x"}}, None),
        ({"url": URL, "headers": {"Authorization": "Bearer x"}, "auth": False}, None),
        ({"url": URL, "auth": False}, None),
        ({"url": URL, "auth": True}, ServerAuth()),
        ({"url": URL, "auth": None}, ServerAuth()),
        ({"url": URL, "auth": {}}, ServerAuth()),
        ({"command": "x"}, None),
        ({"connector": "sandbox"}, None),
    ],
)
def test_whoever_has_a_url_and_no_token_can_be_logged_in_to(
    tmp_path: Path, entry: dict[str, Any], made: ServerAuth | None
) -> None:
    assert spec(tmp_path, entry).auth == made


def test_everything_that_may_be_said_is_read(tmp_path: Path) -> None:
    given = {
        "account": "shared",
        "grant": "code",
        "client": {**CLIENT, "method": "client_secret_post"},
        "issuer": ID,
        "resource": "http://localhost:9/mcp",
        "scopes": ["read", "write", "read"],
        "authorization_endpoint": f"{ID}/authorize?tenant=1",
        "token_endpoint": f"{ID}/token",
        "revocation_endpoint": "http://127.0.0.1:9/revoke",
    }
    assert auth(tmp_path, given) == ServerAuth(
        account="shared",
        client=EnteredClient("hub", CANARY, "client_secret_post"),
        issuer=ID,
        resource="http://localhost:9/mcp",
        scopes=("read", "write"),
        authorization_endpoint=f"{ID}/authorize?tenant=1",
        token_endpoint=f"{ID}/token",
        revocation_endpoint="http://127.0.0.1:9/revoke",
    )


@pytest.mark.parametrize(
    ("client", "made"),
    [
        ({"id": "hub"}, EnteredClient("hub", None, "none")),
        ({"id": "hub", "method": "none"}, EnteredClient("hub", None, "none")),
        ({"id": "hub", "secret": "env:APP"}, EnteredClient("hub", CANARY, "client_secret_basic")),
    ],
)
def test_a_client_proves_itself_as_it_can(tmp_path: Path, client: Any, made: EnteredClient) -> None:
    found = auth(tmp_path, {"client": client}, {"APP": CANARY})
    assert found == ServerAuth(client=made)


def test_a_hub_that_logs_in_as_itself_has_one_account_for_all(tmp_path: Path) -> None:
    found = auth(tmp_path, {"grant": "client_credentials", "client": CLIENT})
    assert found == ServerAuth("shared", "client_credentials", EnteredClient("hub", CANARY, "client_secret_basic"))


ENDPOINTS = {"authorization_endpoint": f"{ID}/a", "token_endpoint": f"{ID}/t", "issuer": ID, "client": CLIENT}


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ("yes", "", "must be a mapping"),
        ([1], "", "must be a mapping"),
        ({"accounts": "user"}, ".accounts", "did you mean 'account'?"),
        ({"account": "mine"}, ".account", "must be one of user, shared"),
        ({"grant": "password"}, ".grant", "must be one of code, client_credentials"),
        ({"grant": "client_credentials"}, ".grant", "needs client"),
        ({"grant": "client_credentials", "client": {"id": "a"}}, ".grant", "needs client"),
        ({"grant": "client_credentials", "client": CLIENT, "account": "user"}, ".account", "is shared"),
        ({"client": "hub"}, ".client", "must be a mapping"),
        ({"client": {"secret": "x"}}, ".client", "id is needed"),
        ({"client": {"id": "a\nb"}}, ".client.id", "ASCII that can be seen"),
        ({"client": {"id": "a" * 513}}, ".client.id", "at most 512"),
        ({"client": {"id": "a", "secret": "x\ty"}}, ".client.secret", "is no client's secret"),
        ({"client": {"id": "a", "secret": "env:NOWHERE"}}, ".client.secret", "NOWHERE is not set"),
        ({"client": {"id": "a", "secret": "${APP}"}}, ".client.secret", "is not expanded"),
        ({"client": {**CLIENT, "method": "none"}}, ".client.method", "goes without a secret"),
        ({"client": {"id": "a", "method": "client_secret_post"}}, ".client.method", "needs a secret"),
        ({"client": {**CLIENT, "method": "private_key_jwt"}}, ".client.method", "must be one of client_secret_basic"),
        ({"client": {**CLIENT, "redirect": "x"}}, ".client.redirect", "unknown key"),
        ({"issuer": "http://id.example.com"}, ".issuer", "https://"),
        ({"issuer": f"{ID}?a=b"}, ".issuer", "no query"),
        ({"issuer": f"{ID}/#x"}, ".issuer", "fragment"),
        ({"issuer": "https://u:p@id.example.com"}, ".issuer", "user name or password"),
        ({"resource": "urn:wiki"}, ".resource", "https://"),
        ({"scopes": "read"}, ".scopes", "must be a list"),
        ({"scopes": ["a b"]}, ".scopes", "is no scope"),
        ({"scopes": ['a"b']}, ".scopes", "is no scope"),
        ({"scopes": [""]}, ".scopes", "is no scope"),
        ({"scopes": [f"s{n}" for n in range(101)]}, ".scopes", "100 at most"),
        ({**ENDPOINTS, "issuer": None}, ".authorization_endpoint", "give issuer"),
        ({**ENDPOINTS, "client": None}, ".authorization_endpoint", "give client"),
        ({**ENDPOINTS, "token_endpoint": None}, ".authorization_endpoint", "needs token_endpoint"),
        ({**ENDPOINTS, "authorization_endpoint": None}, ".token_endpoint", "needs authorization_endpoint"),
        ({**ENDPOINTS, "token_endpoint": "http://id.example.com/t"}, ".token_endpoint", "https://"),
        ({"CLIENT_ID": "a", "CLIENT_SECRET": "b"}, ".CLIENT_ID", "write client: {id: TEXT, secret: secret:NAME}"),
        ({"clientId": "a"}, ".clientId", "write client:"),
        ({"enabled": False}, ".enabled", "write auth: false"),
        ({"callbackPort": 80}, ".callbackPort", "remove this key"),
    ],
)
def test_what_cannot_be_is_a_fault_with_its_line(tmp_path: Path, given: Any, where: str, words: str) -> None:
    found = faults(tmp_path, {"url": URL, "auth": given})
    assert any(at == f"mcpServers.one.auth{where}" and words in text for at, text in found), found
    assert CANARY not in repr(found)


@pytest.mark.parametrize(
    ("entry", "where", "words"),
    [
        ({"command": "x", "auth": {}}, ".auth", "is for servers with a url"),
        ({"command": "x", "auth": False}, ".auth", "is for servers with a url"),
        ({"connector": "sandbox", "auth": True}, ".auth", "is for servers with a url"),
        ({"url": URL, "headers": {"AUTHORIZATION": "x"}, "auth": {}}, ".auth", "keep one of them"),
        ({"url": URL, "headers": {"AUTHORIZATION": "x"}, "auth": True}, ".auth", "keep one of them"),
        ({"url": "http://wiki.lan/mcp", "auth": {"account": "shared"}}, ".auth", "needs another url"),
        ({"url": "http://wiki.lan/mcp", "auth": True}, ".auth", "needs another url"),
        ({"url": URL, "oauth": {"clientId": "x"}}, ".oauth", "is called auth here"),
    ],
)
def test_auth_where_it_has_no_place_is_a_fault(tmp_path: Path, entry: Any, where: str, words: str) -> None:
    found = faults(tmp_path, entry)
    assert any(at == f"mcpServers.one{where}" and words in text for at, text in found), found


def test_a_secret_in_plain_text_is_warned_of_and_a_reference_is_not(tmp_path: Path) -> None:
    def warned(secret: str) -> bool:
        loaded(tmp_path, {"url": URL, "auth": {"client": {"id": "a", "secret": secret}}}, {"APP": "x"})
        (tmp_path / "hub.yaml").chmod(0o644)
        return any("plain text" in text for text in load(tmp_path / "hub.yaml", {"APP": "x"}).warnings)

    assert warned(CANARY)
    assert not warned("env:APP")
    assert not warned("secret:app")


def test_a_stored_secret_is_resolved_and_said_to_be_used(tmp_path: Path) -> None:
    entry = {"url": URL, "auth": {"client": {"id": "a", "secret": "secret:app"}}}
    assert loaded(tmp_path, entry, sealed=True).secret_uses == {"app": ("one",)}
    row = RegistryRow("local", "server", "two", entry, 1, "", "", "")
    found = merged(Config(Path("/nowhere")), (row,), {}, {"app": CANARY}.get)
    (made,) = found.config.servers
    assert made.auth is not None
    assert made.auth.client == EnteredClient("a", CANARY, "client_secret_basic")
    assert found.config.secret_uses == {"app": ("two",)}
    missing = merged(Config(Path("/nowhere")), (row,), {}, lambda name: None)
    assert [(fault.where, missing.config.servers) for fault in missing.aside] == [
        ("mcpServers.two.auth.client.secret", ())
    ]
    assert CANARY not in f"{found!r} {made!r} {made.auth!r} {made.auth.client!r}"


def test_servers_of_one_issuer_may_have_clients_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    servers = {name: {"url": URL, "auth": {"issuer": ID, "client": {"id": name}}} for name in ("a", "b")}
    path.write_text(json.dumps({"mcpServers": servers}))
    found = read(tmp_path, path.read_text()).servers
    assert [each.auth and each.auth.client and each.auth.client.id for each in found] == ["a", "b"]


def test_another_way_to_log_in_is_another_connection(tmp_path: Path) -> None:
    one = spec(tmp_path, {"url": URL})
    assert same_connection(one, replace(one))
    assert not same_connection(one, spec(tmp_path, {"url": URL, "auth": False}))
    assert not same_connection(one, spec(tmp_path, {"url": URL, "auth": {"scopes": ["a"]}}))


def test_the_hubs_client_document_may_stand_elsewhere(tmp_path: Path) -> None:
    where = "https://www.example.com/hub.json"
    assert read(tmp_path, f"auth: {{client_document_url: '{where}'}}").auth.client_document_url == where
    assert read(tmp_path, "auth: {}").auth.client_document_url is None


@pytest.mark.parametrize(
    "url",
    [
        "http://www.example.com/hub.json",
        "http://localhost/hub.json",
        "HTTPS://www.example.com/hub.json",
        "https://www.example.com",
        "https://www.example.com/",
        "https://www.example.com/a?b",
        "https://www.example.com/a#b",
        "https://www.example.com/a/../b",
        "hub.json",
    ],
)
def test_an_address_that_is_no_client_id_is_a_fault(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.client_document_url"):
        read(tmp_path, f"auth: {{client_document_url: '{url}'}}")

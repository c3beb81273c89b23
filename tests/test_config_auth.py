"""`public_url` and the section `auth`: what they take, and that every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.config import Config, ConfigError, load
from hub.config_auth import ACCESS_S, REFRESH_DAYS, Auth, bases
from hub.core.call import Grants
from hub.identity.roles import Role

ROLES = """
auth:
  roles:
    reader: {servers: [notes, '*'], tools: [notes__read*]}
    operator: {scopes: [mcp, admin], servers: [web]}
    log: {scopes: [audit:read]}
"""


def read(folder: Path, text: str, listen: str | None = None) -> Config:
    path = folder / "hub.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return load(path, {"HOME": str(folder)}, listen=listen)


def faults(folder: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [(fault.line, fault.where, fault.text) for fault in caught.value.faults]


def test_without_a_word_people_may_log_in_on_this_machine(tmp_path: Path) -> None:
    config = load(None, {"HOME": str(tmp_path)})
    assert config.auth == Auth()
    assert (config.auth.login, config.auth.device, config.auth.registration) == (True, True, True)
    assert (config.auth.access_s, config.auth.refresh_days) == (ACCESS_S, REFRESH_DAYS)
    assert config.public_url is None
    assert bases(None, True, 8700)[0] == "http://127.0.0.1:8700"
    assert config.warnings == ()


def test_every_key_reaches_its_place(tmp_path: Path) -> None:
    text = "auth: {login: false, device: false, registration: false, access_s: 60, refresh_days: 1}"
    assert read(tmp_path, text).auth == Auth(login=False, device=False, registration=False, access_s=60, refresh_days=1)


def test_a_role_without_scopes_may_call_and_one_with_none_may_nothing(tmp_path: Path) -> None:
    roles = read(tmp_path, 'auth: {roles: {all: {servers: ["*"]}, none: {scopes: [], servers: ["*"]}}}').auth.roles
    assert roles["all"].scopes == {"mcp"}
    assert roles["none"].scopes == frozenset()


def test_roles_are_what_the_file_says_of_them(tmp_path: Path) -> None:
    assert read(tmp_path, ROLES).auth.roles == {
        "reader": Role("reader", frozenset({"mcp"}), Grants(frozenset({"notes", "*"}), ("notes__read*",))),
        "operator": Role("operator", frozenset({"mcp", "admin"}), Grants(frozenset({"web"}))),
        "log": Role("log", frozenset({"audit:read"}), Grants()),
    }


def test_a_role_that_names_no_server_reaches_none(tmp_path: Path) -> None:
    grants = read(tmp_path, "auth: {roles: {empty: {}}}").auth.roles["empty"].grants
    assert not grants.servers


def test_roles_are_rules_and_so_part_of_the_policy_version(tmp_path: Path) -> None:
    versions = {
        read(tmp_path, text).policy_version
        for text in (
            "",
            "auth: {roles: {reader: {servers: [a]}}}",
            "auth: {roles: {reader: {servers: [b]}}}",
            "auth: {roles: {reader: {servers: [a], tools: [x]}}}",
            "auth: {roles: {reader: {servers: [a], scopes: [mcp, admin]}}}",
        )
    }
    assert len(versions) == 5


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("[1]", "auth", "must be a mapping"),
        ("{login: maybe}", "auth.login", "must be"),
        ("{registration: 1}", "auth.registration", "must be"),
        ("{access_s: 59}", "auth.access_s", "from 60 to 3600"),
        ("{access_s: 3601}", "auth.access_s", "from 60 to 3600"),
        ("{access_s: 60.5}", "auth.access_s", "must be"),
        ("{refresh_days: 0}", "auth.refresh_days", "from 1 to 365"),
        ("{refresh_days: true}", "auth.refresh_days", "must be"),
        ("{logins: true}", "auth.logins", "did you mean 'login'?"),
        ("{roles: [reader]}", "auth.roles", "must be a mapping"),
        ("{roles: {reader: x}}", "auth.roles.reader", "must be a mapping"),
        ("{roles: {Reader: {}}}", "auth.roles.Reader", "lower-case letter"),
        (f"{{roles: {{{'r' * 33}: {{}}}}}}", f"auth.roles.{'r' * 33}", "32 at most"),
        ("{roles: {reader: {scopes: [root]}}}", "auth.roles.reader.scopes", "'root' is none of"),
        ("{roles: {reader: {scopes: ['mcp:server:a']}}}", "auth.roles.reader.scopes", "is none of"),
        ("{roles: {reader: {servers: ['a b']}}}", "auth.roles.reader.servers", "is no server id"),
        ("{roles: {reader: {servers: a}}}", "auth.roles.reader.servers", "must be"),
        ("{roles: {reader: {tools: ['']}}}", "auth.roles.reader.tools", "is no pattern"),
        ("{roles: {reader: {tools: ['a b']}}}", "auth.roles.reader.tools", "is no pattern"),
        ("{roles: {reader: {server: [a]}}}", "auth.roles.reader.server", "did you mean 'servers'?"),
    ],
)
def test_what_cannot_be_is_a_fault_with_its_line(tmp_path: Path, text: str, where: str, words: str) -> None:
    found = faults(tmp_path, f"\nauth: {text}\n")
    assert any(line == 2 and at == where and words in said for line, at, said in found), found


def test_every_fault_of_the_section_is_told_at_once(tmp_path: Path) -> None:
    text = "public_url: hub\nauth:\n  access_s: 1\n  roles:\n    A: {}\n    b: {scopes: [x]}\n"
    assert [line for line, _, _ in faults(tmp_path, text)] == [1, 3, 5, 6]


def test_more_roles_than_anybody_keeps_apart_are_refused(tmp_path: Path) -> None:
    many = ", ".join(f"r{number}: {{}}" for number in range(201))
    assert [(at, said) for _, at, said in faults(tmp_path, f"auth: {{roles: {{{many}}}}}")] == [
        ("auth.roles", "must be 200 at most")
    ]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://hub.example.com", "https://hub.example.com"),
        ("https://hub.example.com/", "https://hub.example.com"),
        ("https://HUB.example.com:8443", "https://hub.example.com:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8700", "http://localhost:8700"),
        ("http://127.0.0.1:8700", "http://127.0.0.1:8700"),
    ],
)
def test_a_public_url_is_kept_as_clients_compare_it(tmp_path: Path, given: str, kept: str) -> None:
    config = read(tmp_path, f"public_url: '{given}'")
    assert config.public_url == kept
    assert bases(kept, False, 1) == (kept,)
    assert bases(kept, True, 8700)[0] == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("hub.example.com", "is no URL"),
        ("https://", "is no URL"),
        ("ftp://hub.example.com", "is no URL"),
        ("https://hub.example.com:99999", "is no URL"),
        ("https://hub.exämple.com", "is no URL"),
        ("https://[::1", "is no URL"),
        ("https://hub example.com", "is no URL"),
        ("https://hub_.example.com%2f.evil.example", "is no URL"),
        ("https://hub.example.com/mcp", "scheme, host and port only"),
        ("https://hub.example.com?x=1", "scheme, host and port only"),
        ("https://hub.example.com#x", "scheme, host and port only"),
        ("https://user:word@hub.example.com", "scheme, host and port only"),
        ("https://@hub.example.com", "scheme, host and port only"),
        ("http://hub.example.com", "must begin with https://"),
        ("http://127.0.0.1.evil.example", "must begin with https://"),
    ],
)
def test_a_public_url_that_is_none_is_a_fault_with_its_line(tmp_path: Path, given: str, words: str) -> None:
    found = faults(tmp_path, f"\npublic_url: '{given}'\n")
    assert [(line, at) for line, at, _ in found] == [(2, "public_url")]
    assert words in found[0][2]


def test_the_public_host_is_answered_without_being_named_again(tmp_path: Path) -> None:
    config = read(tmp_path, "listen: 0.0.0.0:8700\npublic_url: https://Hub.example.com")
    assert "hub.example.com" in config.allowed_hosts
    assert "*" not in config.allowed_hosts


@pytest.mark.parametrize("listen", ["0.0.0.0:8700", "[::]:8700", "192.0.2.1:8700"])
def test_a_hub_on_the_network_without_a_public_url_says_that_nobody_can_log_in(tmp_path: Path, listen: str) -> None:
    text = f"listen: '{listen}'\nallowed_hosts: [hub.example.com]\n"
    [told] = read(tmp_path, text).warnings
    assert "log in" in told
    assert "public_url" in told
    assert read(tmp_path, f"{text}auth: {{login: false}}").warnings == ()
    assert read(tmp_path, f"{text}public_url: https://hub.example.com").warnings == ()
    assert bases(None, False, 8700) == ()


@pytest.mark.parametrize("key", ["oauth", "users", "roles"])
def test_other_names_for_it_are_told_the_right_one(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=r"is called auth here|mcp-hub users add|stand in auth"):
        read(tmp_path, f"{key}: {{}}")

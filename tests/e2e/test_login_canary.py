"""Canaries: what a login is made of stands nowhere but where it belongs, and nowhere behind the hub."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.hub_process import SERVERS, Hub, raw_server, until
from tests.e2e.login_place import PASSWORD, LoginPlace, Person, Tokens, made_user, person
from tests.e2e.raw_http import Http, free_port

LEAST = 12  # characters: of a canary that is looked for


@dataclass(frozen=True, slots=True)
class Flown:
    """A hub that was used for everything a login is for, and every secret of it."""

    hub: Hub
    web: str  # what the server behind it saw of a call
    told: str
    environment: str
    canaries: dict[str, str]


def serving(port: int) -> subprocess.Popen[bytes]:
    words = (sys.executable, "-I", "-S", str(SERVERS / "raw_http.py"), str(port), "modern")
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"ready"
    return child


def typed_wrong(found: Person) -> None:
    """The password typed where the name goes, and a wrong one."""
    page = found.ask("v" * 43)
    for name, password in ((PASSWORD, "x"), (found.name, f"wrong-{PASSWORD}")):
        refused = found.post("/oauth/login", {**page.fields(), "name": name, "password": password})
        assert refused.status == 403


def used(found: Person, canaries: dict[str, str]) -> Tokens:
    code = found.code()
    answer = found.redeem(code)
    first = answer.json()
    second = found.refresh(first["refresh_token"]).json()
    assert found.redeem(found.code(), code_verifier="w" * 43).status_code == 400
    assert found.refresh(f"{second['refresh_token']}x").status_code == 400
    canaries |= {"code": code.value, "verifier": code.verifier, "first access": first["access_token"]}
    canaries |= {"first refresh": first["refresh_token"], "refresh": second["refresh_token"]}
    canaries |= {"cookie": next(cookie.value or "" for cookie in found.http.cookies.jar)}
    return Tokens(second["access_token"], second["refresh_token"], second["scope"])


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flown]:
    port, canaries = free_port(), {"password": PASSWORD}
    child = serving(port)
    config = {
        "log": {"level": "debug"},
        "mcpServers": {"raw": raw_server("legacy"), "web": {"url": f"http://127.0.0.1:{port}/mcp"}},
    }
    try:
        with Hub(LoginPlace(tmp_path_factory.mktemp("canary"), config)) as hub:
            hub.wait_for("raw__echo", "web__headers")
            canaries["invitation"] = hub.admin.request("POST", "/api/v1/users/invite").json["url"].partition("code=")[2]
            made_user(hub, "ada", "member")
            with person(hub, "ada") as ada:
                typed_wrong(ada)
                tokens = used(ada, canaries)
                canaries["access"] = tokens.access
                mine = ada.at(tokens)
                meta = {"com.example/own": "kept"}
                web = mine.call("web__headers", meta=meta).text
                told = mine.call("raw__told", meta=meta).text
                environment = mine.call("raw__environment").text
                assert ada.http.post(
                    "/oauth/revoke", data={"client_id": ada.client, "token": tokens.refresh}
                ).is_success
                assert mine.modern("tools/list").status == 401
            yield Flown(hub, web, told, environment, canaries)
    finally:
        child.kill()
        child.communicate()


def absent(flown: Flown, text: str | bytes, where: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    assert data, f"{where} is empty"
    for name, canary in flown.canaries.items():
        assert len(canary) >= LEAST
        assert canary.encode() not in data, f"the {name} stands in {where}"
        if "access" in name:  # the signature alone is enough to know it by
            assert canary.rpartition(".")[2].encode() not in data, f"the {name} stands in {where}"


def test_check_7_no_part_of_a_login_reaches_a_server(flown: Flown) -> None:
    assert "kept" in flown.told
    headers = json.loads(flown.web)
    assert "mcp-protocol-version" in {name.lower() for name in headers}
    assert "authorization" not in {name.lower() for name in headers}
    assert "cookie" not in {name.lower() for name in headers}
    absent(flown, flown.web, "the headers of a call")
    absent(flown, flown.told, "the body of a call")


def test_check_7_no_part_of_a_login_stands_in_the_environment_of_a_server(flown: Flown) -> None:
    assert "PATH" in json.loads(flown.environment)
    absent(flown, flown.environment, "the environment of a server")


def test_check_7_no_part_of_a_login_stands_in_the_log_files(flown: Flown) -> None:
    told = flown.hub.stderr()
    assert '"level": "debug"' in told or '"level": "info"' in told
    absent(flown, told, "standard error")
    absent(flown, flown.hub.stdout(), "standard output")


def test_check_7_no_part_of_a_login_stands_in_the_audit_log(flown: Flown) -> None:
    entries = until(lambda: flown.hub.place.entries(), "the log has entries")
    acts = {entry.get("detail", {}).get("act") for entry in entries if entry["kind"] == "auth"}
    assert {"login", "consent.allow"} <= acts
    absent(flown, json.dumps(entries), "the audit log")


def test_check_7_no_part_of_a_login_stands_in_the_metrics(flown: Flown) -> None:
    absent(flown, Http(flown.hub.port, None).request("GET", "/metrics").body, "the metrics")


def test_check_7_no_part_of_a_login_stands_in_clear_in_any_file_of_the_hub(flown: Flown) -> None:
    files = [path for path in flown.hub.place.data_dir.rglob("*") if path.is_file()]
    assert {"hub.db", "audit.db", "run.json"} <= {path.name for path in files}
    for path in files:
        if path.stat().st_size:
            absent(flown, path.read_bytes(), path.name)


@pytest.mark.parametrize("words", [(), ("--without-secrets",)], ids=["whole", "without secrets"])
def test_check_7_no_part_of_a_login_stands_in_clear_in_a_backup(
    flown: Flown, tmp_path: Path, words: tuple[str]
) -> None:
    target = tmp_path / "backup"
    flown.hub.place.run("backup", str(target), *words)
    names = []
    with tarfile.open(target) as archive:
        for member in archive:
            file = archive.extractfile(member)
            content = file.read() if file is not None else b""
            names.append(member.name)
            if content:
                absent(flown, content, f"{member.name} of the backup")
    assert any("hub.db" in name for name in names)
    assert any("oauth-signing" in name for name in names) is not bool(words)


def test_check_7_what_is_told_of_users_and_programs_holds_no_part_of_a_login(flown: Flown) -> None:
    for path in ("/users", "/users/ada", "/users/ada/grants", "/servers", "/status", "/audit"):
        answer = flown.hub.admin.request("GET", f"/api/v1{path}")
        assert answer.status == 200, path
        absent(flown, answer.body, path)
        assert b"argon2" not in answer.body

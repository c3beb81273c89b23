"""Canaries: what the hub holds to speak at servers stands nowhere but where it belongs, and nothing of its callers goes
to servers."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from tests.e2e.hub_process import ADMIN, CLIENT, SERVERS, Hub, raw_server, until
from tests.e2e.login_place import PASSWORD
from tests.e2e.outbound.door import Door, Heard, a_door
from tests.e2e.outbound.places import Human, Members, human, members, near_place
from tests.e2e.raw_http import Http, free_port

pytestmark = pytest.mark.e2e

LEAST: Final = 12  # characters: of a canary that is looked for
WHO: Final = "club__whoami"
HELD: Final = ("access", "refresh", "client secret", "code", "verifier")  # what the hub has of a server


@dataclass
class Sink:
    """Where traces and metrics go: everything that came."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flown:
    """A hub that was used for everything an outbound login is for, and every secret of it."""

    hub: Hub
    club: Members
    other: Members
    web: Door  # of a server that asks for no login
    sink: Sink
    answers: list[bytes]  # what callers were told
    environment: str
    canaries: dict[str, str]  # by name: "access 1 of club", ...


@contextmanager
def sink() -> Iterator[Sink]:
    kept = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept.bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_web() -> Iterator[Door]:
    with a_door() as door:
        door.to = free_port()
        words = (sys.executable, "-I", "-S", str(SERVERS / "raw_http.py"), str(door.to), "modern")
        child = subprocess.Popen(words, stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == b"ready"
            yield door
        finally:
            child.kill()
            child.communicate()


def held_of(place: str, door: Door) -> dict[str, str]:
    """All that its issuer gave and the hub proved to it."""
    found: dict[str, str] = {}
    for number, answer in enumerate(door.answers):
        told = json.loads(answer)
        names = {"access_token": "access", "refresh_token": "refresh", "client_secret": "client secret"}
        found |= {f"{names[key]} {number} of {place}": told[key] for key in names if told.get(key)}
    for number, heard in enumerate(door.heard):
        if heard.path == "/token":
            form = heard.form
            names = {"code": "code", "code_verifier": "verifier"}
            found |= {f"{names[key]} {number} of {place}": form[key] for key in names if key in form}
    return found


def used(who: Human, other: Members, club: Members, answers: list[bytes]) -> str:
    """Everything that a login is for: used, renewed, ended by the issuer, made again, ended by its owner."""
    for id in ("club", "other"):
        answers.append(who.logs_in(f"{id}__log_in").body)
        who.listed(f"{id}__whoami")
        answers.append(who.call(f"{id}__whoami").body)
    club.expire("ann-there")
    answers.append(who.call(WHO).body)
    assert club.count("refreshes", "ann-there") == 1
    for method in ("tools/list", "resources/list", "prompts/list"):
        answers.append(who.http.modern(method).body)
    answers.append(who.call("web__headers").body)
    environment = who.call("raw__environment").text
    club.revoke("ann-there")
    refused = who.http.call(WHO)  # cannot be asked: it reads words
    assert refused.code == "needs_login"
    answers.append(who.logs_in(WHO).body)
    with_fault = who.http.modern("tools/call", {"name": "club__nothing", "arguments": {}})
    answers.append(with_fault.body)
    page = who.browser.go(f"{who.near.base}/oauth/connections")
    answers.append(page.source.encode())
    return environment


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flown]:
    with ExitStack() as stack:
        club, other = stack.enter_context(members()), stack.enter_context(members())
        web, kept = stack.enter_context(raw_web()), stack.enter_context(sink())
        servers = {
            "club": club.entry,
            "other": other.entry,
            "web": {"url": f"{web.url}/mcp", "auth": False},
            "raw": raw_server("legacy"),
        }
        more = {"log": {"level": "debug"}, "telemetry": {"endpoint": kept.url, "sample": 1, "interval_s": 1}}
        hub = stack.enter_context(Hub(near_place(tmp_path_factory.mktemp("canary"), servers, **more)))
        hub.wait_for("raw__environment", "web__headers")
        for id in ("club", "other"):
            hub.wait_state(id, "needs_login")
        ann = human(hub, "ann", club.door, "ann-there")
        ann.browser.known[other.door.url] = ("ann-other", "")
        answers: list[bytes] = []
        environment = used(ann, other, club, answers)
        canaries = {**held_of("club", club.door), **held_of("other", other.door), **of_callers(ann)}
        yield Flown(hub, club, other, web, kept, answers, environment, canaries)
        ann.close()


def of_callers(who: Human) -> dict[str, str]:
    """What opens the near hub, and what opens its pages."""
    found = {"inbound access": who.tokens.access, "inbound refresh": who.tokens.refresh, "password": PASSWORD}
    found |= {"local token": CLIENT, "admin token": ADMIN}
    found |= {f"cookie {number}": value for number, value in enumerate(who.browser.cookies()) if len(value) >= LEAST}
    for number, url in enumerate(who.opened):
        found[f"page {number}"] = dict(parse_qsl(urlsplit(url).query))["c"]
    return found


def absent(flown: Flown, text: str | bytes, where: str, *but: str) -> None:
    """No canary stands there, in the clear or as URLs have it, but those whose names begin so."""
    data = text.encode() if isinstance(text, str) else text
    assert data, f"{where} is empty"
    plain = unquote(data.decode(errors="replace")).encode()
    for name, canary in flown.canaries.items():
        assert len(canary) >= LEAST, name
        if not name.startswith(but or ("\0",)):
            assert canary.encode() not in data, f"the {name} stands in {where}"
            assert canary.encode() not in plain, f"the {name} stands in {where}"


def test_there_is_a_canary_of_every_kind(flown: Flown) -> None:
    for place in ("club", "other"):
        for kind in HELD:
            assert any(name.startswith(kind) and name.endswith(place) for name in flown.canaries), (kind, place)
    assert {"inbound access", "inbound refresh", "cookie 0", "page 0"} <= set(flown.canaries)
    assert sum(name.startswith("access") for name in flown.canaries) >= 4


def test_a_server_gets_the_access_token_of_its_own_account_in_the_one_header_and_nothing_else(flown: Flown) -> None:
    for place, there in (("club", flown.club), ("other", flown.other)):
        own = {value for name, value in flown.canaries.items() if name.startswith("access") and name.endswith(place)}
        requests = [heard for heard in there.door.heard if heard.path.startswith("/mcp")]
        borne = {heard.bearer for heard in requests if heard.bearer is not None}
        assert borne == own
        for heard in requests:
            absent(flown, without(heard, "authorization"), f"a request to {place}")
            assert "cookie" not in heard.headers


def test_only_the_token_endpoint_sees_refresh_tokens_codes_and_secrets_and_each_only_its_own(flown: Flown) -> None:
    for place, there in (("club", flown.club), ("other", flown.other)):
        seen = 0
        for heard in there.door.heard:
            path = urlsplit(heard.path).path
            if path == "/mcp":
                continue
            if path in ("/token", "/revoke"):
                seen += 1
                for name, value in flown.canaries.items():
                    if not (name.startswith(HELD) and name.endswith(place)):
                        assert value not in heard.whole(), f"the {name} stands in a request to {path} of {place}"
                continue
            absent(flown, heard.whole(), f"{heard.verb} {path} of {place}", "cookie")
            if path not in ("/authorize", "/door"):  # where the browser goes; localhost has no cookie of the hub
                assert "cookie" not in heard.headers
        assert seen >= 1


def test_a_server_without_a_login_gets_no_token_at_all(flown: Flown) -> None:
    assert flown.web.heard
    for heard in flown.web.heard:
        assert "authorization" not in heard.headers
        absent(flown, heard.whole(), "a request to a server without a login")


def without(heard: Heard, header: str) -> str:
    headers = {name: value for name, value in heard.headers.items() if name != header}
    return Heard(heard.verb, heard.path, headers, heard.body).whole()


def test_callers_are_told_nothing_of_what_the_hub_holds(flown: Flown) -> None:
    assert len(flown.answers) >= 10
    for number, answer in enumerate(flown.answers):
        absent(flown, answer, f"the answer {number}", "page")


def test_the_environment_of_a_child_holds_nothing_of_it(flown: Flown) -> None:
    assert "PATH" in json.loads(flown.environment)
    absent(flown, flown.environment, "the environment of a server")


def test_the_log_files_hold_nothing_of_it(flown: Flown) -> None:
    assert '"level": "debug"' in flown.hub.stderr() or '"level": "info"' in flown.hub.stderr()
    absent(flown, flown.hub.stderr(), "standard error")
    absent(flown, flown.hub.stdout(), "standard output")


def test_traces_and_metrics_that_go_out_hold_nothing_of_it(flown: Flown) -> None:
    until(lambda: any(WHO.encode() in body for body in flown.sink.bodies), "the traces have arrived")
    for body in list(flown.sink.bodies):
        if body:
            absent(flown, body, "what goes to the collector")
    absent(flown, Http(flown.hub.port, None).request("GET", "/metrics").body, "the metrics")


def test_the_audit_log_holds_nothing_of_it(flown: Flown) -> None:
    entries = flown.hub.place.entries()
    acts = {entry.get("detail", {}).get("act") for entry in entries if entry["kind"] == "auth"}
    assert "connections.login" in acts
    absent(flown, json.dumps(entries), "the audit log")


def test_what_the_api_tells_of_servers_users_and_connections_holds_nothing_of_it(flown: Flown) -> None:
    for path in ("/connections", "/servers", "/servers/club", "/status", "/audit", "/users", "/users/ann"):
        answer = flown.hub.admin.request("GET", f"/api/v1{path}")
        assert answer.status == 200, path
        absent(flown, answer.body, path)


def test_no_file_of_the_hub_holds_it_in_clear(flown: Flown) -> None:
    files = [path for path in flown.hub.place.data_dir.rglob("*") if path.is_file()]
    assert {"hub.db", "audit.db"} <= {path.name for path in files}
    for path in files:
        if path.stat().st_size:
            absent(flown, path.read_bytes(), path.name, "local token", "admin token")


@pytest.mark.parametrize("words", [(), ("--without-secrets",)], ids=["whole", "without secrets"])
def test_no_backup_holds_it_in_clear_and_one_without_secrets_not_even_sealed(
    flown: Flown, tmp_path: Path, words: tuple[str, ...]
) -> None:
    target = tmp_path / "backup"
    flown.hub.place.run("backup", str(target), *words)
    with tarfile.open(target) as archive:
        for member in archive:
            file = archive.extractfile(member)
            content = file.read() if file is not None else b""
            if content:
                absent(flown, content, f"{member.name} of the backup", "local token", "admin token")
            if member.name.endswith("hub.db"):
                (tmp_path / "hub.db").write_bytes(content)
    with closing(sqlite3.connect(tmp_path / "hub.db")) as stored:
        connections = stored.execute("SELECT count(*) FROM connections").fetchone()[0]
        secrets = stored.execute("SELECT count(*) FROM registrations WHERE sealed IS NOT NULL").fetchone()[0]
    assert (connections, secrets) == ((0, 0) if words else (2, 2))

"""Hubs that log in, servers that they log in to, and people with an account at both.

The hub that logs in is *near*, at 127.0.0.1; what it logs in to is *far*, at localhost behind a door: browsers share
cookies by host and not by port, and two of one name must not meet.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from tests.e2e.hub_process import Hub, until
from tests.e2e.login_place import PASSWORD, LoginPlace, Person, Tokens, made_user, person
from tests.e2e.oauth.talking import Talking, talking
from tests.e2e.outbound.door import Door, a_door
from tests.e2e.outbound.walking import Page, Walker
from tests.e2e.raw_http import Answer, Http, free_port
from tests.equipment import OLD_CLIENT

HERE: Final = Path(__file__).resolve().parent
LOOPBACK: Final = ["localhost", "127.0.0.1", "::1"]
FAR_PASSWORD: Final = "far-password-canary-0123456789ab"
AUTH: Final = {"fetch_local": LOOPBACK, "access_s": 3600}
LIMITS: Final = {"per_caller": {"per_minute": 6000, "burst": 1000}}
ABLE: Final[Mapping[str, Any]] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}}}
SOON_S: Final = 20.0

Json = dict[str, Any]


@dataclass
class Members:
    """`members.py`, as a program behind a door."""

    door: Door

    @property
    def entry(self) -> Json:
        return {"url": f"{self.door.url}/mcp"}

    def told(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = self._ask("told")
        return found

    def count(self, what: str, member: str) -> int:
        return self.told()[what].get(member, 0)

    def expire(self, member: str) -> None:
        """The access token in force is good no more; what renews it is."""
        self._ask(f"expire?member={member}")

    def revoke(self, member: str) -> None:
        """Both are good no more."""
        self._ask(f"revoke?member={member}")

    def _ask(self, path: str) -> Any:
        """Past the door, which is for the hub and for browsers."""
        connection = HTTPConnection("127.0.0.1", self.door.to, timeout=15)
        try:
            connection.request("POST", f"/test/{path}", b"", {"Host": f"localhost:{self.door.port}"})
            response = connection.getresponse()
            assert response.status == 200, path
            return json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def members(*words: str) -> Iterator[Members]:
    with a_door() as door:
        command = [sys.executable, str(HERE / "members.py"), door.url, *words]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert child.stdout is not None
            door.to = int(child.stdout.readline())
            yield Members(door)
        finally:
            child.kill()
            child.communicate()


@dataclass
class Far:
    """A hub of ours that another one logs in to, behind a door."""

    hub: Hub
    door: Door

    @property
    def entry(self) -> Json:
        return {"url": f"{self.door.url}/mcp"}

    def user(self, name: str) -> str:
        """The id of a new one."""
        wish = {"name": name, "password": FAR_PASSWORD, "roles": ["member"]}
        answer = self.hub.admin.request("POST", "/api/v1/users", wish)
        assert answer.status in (200, 201), answer.body
        return str(answer.json["id"])

    def log_out(self, name: str) -> None:
        """Every grant of this user ends, as an administrator there does it."""
        self.hub.place.run("users", "logout", name)


@contextmanager
def far(folder: Path, servers: Mapping[str, Any], **more: Any) -> Iterator[Far]:
    with a_door() as door:
        door.to = free_port()
        config = {
            "listen": f"127.0.0.1:{door.to}",
            "public_url": door.url,
            "mcpServers": dict(servers),
            "limits": LIMITS,
            **more,
        }
        with Hub(LoginPlace(folder, config)) as hub:
            yield Far(hub, door)


def near_place(folder: Path, servers: Mapping[str, Any], **more: Any) -> LoginPlace:
    """Its address stays the same: tokens and logins are for it."""
    config = {
        "listen": f"127.0.0.1:{free_port()}",
        "auth": AUTH,
        "limits": LIMITS,
        "mcpServers": dict(servers),
        **more,
    }
    return LoginPlace(folder, config)


@dataclass
class Human:
    """A user of the near hub: a program's token there, and a browser that knows both places."""

    near: Person
    tokens: Tokens
    browser: Walker
    id: str
    opened: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.near.name

    @property
    def http(self) -> Http:
        return self.near.at(self.tokens)

    def goes(self, url: str) -> Page:
        self.opened.append(url)
        page = self.browser.go(url)
        assert page.status == 200, f"{page.path}: {page.text}"
        assert "Connected to" in page.text, f"{page.path}: {page.text}"
        return page

    def nobody(self, url: str) -> None:
        raise AssertionError(f"{self.name} is asked to log in: {url}")

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.http.modern("tools/list").result["tools"]]

    def listed(self, *names: str) -> None:
        until(lambda: set(names) <= set(self.tools()), f"{names} are listed for {self.name}", SOON_S)

    def call(self, name: str, **more: Any) -> Answer:
        return self.http.call(name, {}, meta=ABLE, **more)

    def logs_in(self, name: str) -> Answer:
        """A call that is asked for a login, and goes on after it."""
        answer = self.call(name)
        url, retry = offered(answer)
        self.goes(url)
        return self.http.modern("tools/call", {"name": name, "arguments": {}, **retry}, meta=ABLE)

    def logs_out(self) -> Page:
        """Of the one connection, on the page for that."""
        page = self.browser.go(f"{self.near.base}/oauth/connections")
        (form,) = (form for form in page.forms if form.action.endswith("/connections/logout"))
        return self.browser.go_on(page, form)

    def close(self) -> None:
        self.near.http.close()
        self.browser.close()


def offered(answer: Answer) -> tuple[str, Json]:
    """The address that a modern call is asked to go to, and what its next try says."""
    result = answer.result
    assert result["resultType"] == "input_required", result
    (key,) = result["inputRequests"]
    request = result["inputRequests"][key]
    assert request["method"] == "elicitation/create"
    assert request["params"]["mode"] == "url"
    assert request["params"]["message"]
    retry: Json = {"inputResponses": {key: {"action": "accept"}}}
    if "requestState" in result:
        retry["requestState"] = result["requestState"]
    return request["params"]["url"], retry


def human(hub: Hub, name: str, door: Door, far_name: str, far_password: str = FAR_PASSWORD) -> Human:
    """A new user of the near hub, who is called `far_name` at the far place."""
    id = made_user(hub, name, "member")
    found = person(hub, name)
    browser = Walker({f"http://127.0.0.1:{hub.port}": (name, PASSWORD), door.url: (far_name, far_password)})
    return Human(found, found.log_in(), browser, id)


class Calling:
    """`calling.py`, in whichever environment."""

    def __init__(self, child: Talking) -> None:
        self._child = child
        self.opened: list[str] = []

    def tools(self) -> list[str]:
        found: list[str] = self._do({"do": "tools"}, _nobody)
        return found

    def listed(self, *names: str) -> None:
        until(lambda: set(names) <= set(self.tools()), f"{names} are listed", SOON_S)

    def call(self, name: str, opener: Callable[[str], object] | None = None, **arguments: Any) -> str:
        """What the tool said; whoever is asked to log in does it as `opener` says."""
        return str(self._do({"do": "call", "name": name, "arguments": arguments}, opener or _nobody))

    def _do(self, asked: Json, opener: Callable[[str], object]) -> Any:
        self._child.say(asked)
        told: list[str] = []
        while True:
            stream, line = self._child.line()
            if stream == "stderr":
                told.append(line)
                continue
            message = json.loads(line)
            if "open" in message:
                self.opened.append(message["open"])
                opener(message["open"])
                self._child.say({"do": "opened"})
            elif "failed" in message:
                raise AssertionError("\n".join((*message["failed"], *told[-20:])))
            else:
                return message["done"]


def _nobody(url: str) -> None:
    raise AssertionError(f"a login is asked for, and nobody is there: {url}")


@contextmanager
def calling(hub: Hub, token: str, kind: str, folder: Path) -> Iterator[Calling]:
    """`kind` as `calling.py` has it. One connection, from here to the end."""
    python = str(OLD_CLIENT.python) if kind == "v1" else sys.executable
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    command = [python, str(HERE / "calling.py"), f"http://127.0.0.1:{hub.port}/mcp", token, kind]
    with talking(command, env, folder) as child:
        yield Calling(child)


def at_once(count: int, act: Callable[[int], Answer]) -> list[Answer]:
    """What as many people get who all begin at the same moment."""
    gate, found = threading.Barrier(count), dict[int, Answer]()

    def work(number: int) -> None:
        gate.wait(SOON_S)
        found[number] = act(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == count, f"{len(found)} of {count} were answered"
    return [found[number] for number in range(count)]

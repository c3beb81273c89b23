"""The program that the official runner starts as the client under test: a hub over the runner's server, and its caller.

    python -m conformance.official.client URL

The runner's server is the hub's one downstream, so that what it checks is how the hub speaks to servers. Who calls the
hub does the least that makes it speak. `MCP_CONFORMANCE_SCENARIO` and `MCP_CONFORMANCE_CONTEXT` say what that is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.inbound import mcp_param_headers, x_mcp_header_map
from mcp_types import ElicitRequestParams, ElicitResult

from tests.e2e.live_hub import CLIENT, META, Caller, LiveHub, connected, live_hub
from tests.e2e.outbound.walking import Walker

SERVER: Final = "suite"
READY_S: Final = 30.0
CAN: Final = "io.modelcontextprotocol/clientCapabilities"
CAPABILITIES: Final[Mapping[str, Any]] = {CAN: {"elicitation": {"form": {}}}}
IN_A_BROWSER: Final[Mapping[str, Any]] = {CAN: {"elicitation": {"url": {}}}}
ACCEPTED: Final = {"action": "accept", "content": {"confirmed": True}}
OPENED: Final = {"action": "accept"}
DOCUMENT: Final = "https://conformance-test.local/client-metadata.json"
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
LOGINS: Final = 4  # of one call
LISTED_S: Final = 15.0  # after a login

Json = dict[str, Any]


class Asking:
    """One modern caller of the hub, able to answer what `can` says."""

    def __init__(self, caller: Caller, can: Mapping[str, Any] = CAPABILITIES) -> None:
        self._caller, self._can = caller, can
        self._last = 0
        self._schemas: dict[str, Json] = {}  # of the tools listed last

    async def result(self, method: str, params: Mapping[str, Any]) -> Json:
        """What the hub answers. Raises Refused when that is an error."""
        answer = await self._answer(method, params)
        if "error" in answer:
            raise Refused(f"{method} {params.get('name', '')}: {answer['error']}")
        result: Json = answer["result"]
        return result

    async def refuses(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Raises Refused unless the hub knows no such tool."""
        answer = await self._answer("tools/call", {"name": tool, "arguments": dict(arguments)})
        if "error" not in answer:
            raise Refused(f"{tool} should not exist, and was called")

    async def tools(self) -> dict[str, Json]:
        listed = await self.result("tools/list", {})
        self._schemas = {tool["name"]: tool["inputSchema"] for tool in listed["tools"]}
        return {tool["name"]: tool for tool in listed["tools"]}

    async def call(self, name: str, arguments: Mapping[str, Any], **more: Any) -> Json:
        return await self.result("tools/call", {"name": name, "arguments": dict(arguments), **more})

    async def _answer(self, method: str, params: Mapping[str, Any]) -> Json:
        self._last += 1
        body = {"jsonrpc": "2.0", "id": self._last, "method": method}
        about = params.get("name", params.get("uri"))
        named = {} if about is None else {"Mcp-Name": str(about)}
        body["params"] = {**params, "_meta": {**META, **self._can}}
        if method == "tools/call":
            wanted = x_mcp_header_map(self._schemas.get(params["name"], {}))
            named.update(mcp_param_headers(wanted, params["arguments"]))
        answer: Json = await self._caller.send("POST", "/mcp", body, {"Mcp-Method": method, **named})
        return answer


class Refused(Exception):
    """The hub did not do what the scenario needs; the text says what it said."""


async def look(asking: Asking, hub: LiveHub) -> None:
    """Only what every client does first."""
    await asking.tools()


async def add(asking: Asking, hub: LiveHub) -> None:
    await asking.tools()
    await asking.call("add_numbers", {"a": 2, "b": 3})


async def everything(asking: Asking, hub: LiveHub) -> None:
    """Each list, and one use of each of its items."""
    for name in await asking.tools():
        await asking.call(name, {})
    for resource in (await asking.result("resources/list", {}))["resources"]:
        await asking.result("resources/read", {"uri": resource["uri"]})
    for prompt in (await asking.result("prompts/list", {}))["prompts"]:
        await asking.result("prompts/get", {"name": prompt["name"]})


async def given_calls(asking: Asking, hub: LiveHub) -> None:
    """The calls that the runner hands over.

    One of them gives null for a boolean. The hub refuses that, as the tool's schema does; a caller then leaves the
    argument out, which is the other half of what the check is about.
    """
    await asking.tools()
    for call in json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])["toolCalls"]:
        answer = await asking.call(call["name"], call["arguments"])
        if answer.get("isError"):
            given = {name: value for name, value in call["arguments"].items() if value is not None}
            if given == call["arguments"] or (await asking.call(call["name"], given)).get("isError"):
                raise Refused(f"{call['name']}: {answer['content']}")


async def only_valid_tools(asking: Asking, hub: LiveHub) -> None:
    """Each tool that the hub offers, and those that it must not offer, by the names the suite gives them."""
    for name in await asking.tools():
        await asking.call(name, {"region": "here"})
    for what in ("empty_header", "object_header", "array_header", "null_header", "space_in_name", "colon_in_name"):
        await asking.refuses(f"invalid_{what}", {"value": "x", "data": {}, "items": [], "nil": None})
    for what in ("duplicate_same_case", "duplicate_diff_case"):
        await asking.refuses(f"invalid_{what}", {"field1": "x", "field2": "y"})
    for what in ("non_ascii_name", "control_char_name"):
        await asking.refuses(f"invalid_{what}", {"value": "x"})


async def remote_ref(asking: Asking, hub: LiveHub) -> None:
    """A list and a call: neither may fetch what the tool's schema points at. What becomes of the call is no matter."""
    tools = await asking.tools()
    for name in tools:
        try:
            await asking.call(name, {"id": "a", "profile": {"displayName": "a"}})
        except Refused:
            continue


async def echo_schema(asking: Asking, hub: LiveHub) -> None:
    tools = await asking.tools()
    await asking.call("json_schema_echo", {"schema": tools["json_schema_2020_12_tool"]["inputSchema"]})


async def rounds(asking: Asking, hub: LiveHub) -> None:
    """Calls that ask for more: with a state, without one, with another call between, and one without `resultType`."""
    await asking.tools()
    first = await asking.call("test_mrtr_echo_state", {})
    await asking.call("test_mrtr_unrelated", {})
    await asking.call("test_mrtr_echo_state", {}, **_answers(first))
    await asking.call("test_mrtr_no_state", {}, **_answers(await asking.call("test_mrtr_no_state", {})))
    await asking.call("test_mrtr_no_result_type", {})


def _answers(asked: Json, answer: Json = ACCEPTED) -> Json:
    if asked.get("resultType") != "input_required":
        raise Refused(f"the server asked for input, and the hub answered {asked.get('resultType')!r}")
    more: Json = {"inputResponses": dict.fromkeys(asked["inputRequests"], answer)}
    if "requestState" in asked:
        more["requestState"] = asked["requestState"]
    return more


async def reconnect(asking: Asking, hub: LiveHub) -> None:
    await asking.tools()
    await asking.call("test_reconnection", {})


async def fill_in_defaults(asking: Asking, hub: LiveHub) -> None:
    """A client of the session era, which is asked in the middle of its call and accepts with the defaults."""

    async def accept(context: Any, params: ElicitRequestParams) -> ElicitResult:
        schema = getattr(params, "requested_schema", {})
        content = {name: field["default"] for name, field in schema["properties"].items()}
        return ElicitResult(action="accept", content=content)

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {CLIENT}"}, timeout=READY_S) as http,
        Client(
            streamable_http_client(f"http://127.0.0.1:{hub.port}/mcp", http_client=http),
            mode="legacy",
            elicitation_callback=accept,
        ) as client,
    ):
        await client.list_tools()
        await client.call_tool("test_client_elicitation_defaults", {})


async def log_in(asking: Asking, hub: LiveHub) -> None:
    """A server behind a login: the tool that offers it, and then whatever tool the server has."""
    with Walker() as browser:
        for name in await _let_in(asking, hub, browser):
            await _called(asking, browser, name)


def _offered(tools: Mapping[str, Json]) -> str | None:
    """The hub's own tool, which stands there for the server's."""
    return next((name for name in tools if name.removeprefix(f"{SERVER}__") == "log_in"), None)


async def _let_in(asking: Asking, hub: LiveHub, browser: Walker) -> list[str]:
    """The server's own tools, once the hub has listed them; a login is made whenever it is offered."""
    end = time.monotonic() + LISTED_S
    while time.monotonic() < end:
        tools = await asking.tools()
        offered = _offered(tools)
        if offered is not None:
            await _called(asking, browser, offered)
        elif tools:
            return list(tools)
        await asyncio.sleep(0.05)
    health = next(health for health in hub.parts.pool.health() if health.server == SERVER)
    raise Refused(f"the hub has no tool of this server: {health.state}, {health.reason}")


async def _called(asking: Asking, browser: Walker, name: str) -> None:
    """A call, with each login that it asks for done in the browser."""
    answer = await asking.call(name, {})
    for _ in range(LOGINS):
        if answer.get("resultType") != "input_required":
            break
        for request in answer["inputRequests"].values():
            page = await asyncio.to_thread(browser.go, request["params"]["url"])
            if page.status >= 400:
                raise Refused(f"{name}: the login ended at {page.path} with {page.status}: {page.text[:300]}")
        answer = await asking.call(name, {}, **_answers(answer, OPENED))
    if answer.get("resultType") == "input_required":
        raise Refused(f"{name} asks for a login once more, after {LOGINS}")
    if answer.get("isError"):
        raise Refused(f"{name}: {answer['content']}")


Drive = Callable[[Asking, LiveHub], Awaitable[None]]
DRIVES: Final[Mapping[str, Drive]] = {
    "initialize": look,
    "tools_call": add,
    "request-metadata": look,
    "http-standard-headers": everything,
    "http-custom-headers": given_calls,
    "http-invalid-tool-headers": only_valid_tools,
    "json-schema-ref-no-deref": remote_ref,
    "json-schema-2020-12-preservation": echo_schema,
    "sep-2322-client-request-state": rounds,
    "sse-retry": reconnect,
    "elicitation-sep1034-client-defaults": fill_in_defaults,
}


def drive_of(scenario: str) -> Drive:
    if scenario.startswith("auth/"):
        return log_in
    if scenario not in DRIVES:
        raise Refused(f"nobody has said what a hub's client does for {scenario!r}: add it to DRIVES")
    return DRIVES[scenario]


def entry_of(scenario: str, url: str, context: Json) -> Json:
    """What an admin would have entered for this server: mostly its address and no more."""
    entry: Json = {"url": url}
    if not scenario.startswith("auth/") or "client_secret" not in context:
        return entry
    client = {"id": context["client_id"], "secret": context["client_secret"], "method": "client_secret_basic"}
    if "issuer" in context:
        return {**entry, "auth": {"issuer": context["issuer"], "client": client}}
    return {**entry, "auth": {"grant": "client_credentials", "account": "shared", "client": client}}


async def drive(url: str, scenario: str, folder: Path) -> None:
    """Raises Refused when the hub did not do what the scenario needs."""
    chosen = drive_of(scenario)
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    config: Json = {
        "mcpServers": {SERVER: entry_of(scenario, url, context)},
        "endpoints": {"/mcp": {"servers": [SERVER], "prefix": "none"}},
    }
    if chosen is log_in:
        config["auth"] = {"fetch_local": list(LOOPBACK), "client_document_url": DOCUMENT}
    async with live_hub(folder, config) as hub:
        await hub.parts.catalogue.settled("", READY_S)
        async with connected(hub.port, CLIENT) as caller:
            await chosen(Asking(caller, IN_A_BROWSER if chosen is log_in else CAPABILITIES), hub)


def main() -> int:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    with tempfile.TemporaryDirectory(prefix="official-client-") as folder:
        try:
            asyncio.run(drive(sys.argv[1], scenario, Path(folder)))
        except Refused as exc:
            print(exc, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

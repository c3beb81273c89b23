"""A connector in this process behaves like a server behind a wire: same results, same errors, same limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.server import Server, ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.subscriptions import ToolsListChanged

from hub.core.call import Json
from hub.core.errors import Garbled, Late, Lost, Oversize, Refused, Unreachable
from hub.downstream.inprocess import InprocessLink, InprocessOpener
from hub.downstream.link import ServerSpec, Timeouts
from tests.downstream.heard import Heard, exchange, until

Context = ServerRequestContext[Any, Any]
Tool = Callable[[Context, types.CallToolRequestParams], Any]


def words(text: str, **more: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], **more)


class Desk:
    """A connector whose one tool is given by the test; it writes down when its lifespan begins and ends."""

    def __init__(self, tool: Tool | None = None) -> None:
        self.tool = tool
        self.life: list[str] = []
        self.fails = ""
        self.bus = InMemorySubscriptionBus()
        self.gate = asyncio.Event()
        self.connections: list[Any] = []

    @asynccontextmanager
    async def lifespan(self, server: Server[Any]) -> AsyncIterator[str]:
        if self.fails == "start":
            raise ValueError("secret of the connector")
        if self.fails == "hang":
            await asyncio.Event().wait()
        self.life.append("begin")
        task = asyncio.current_task()
        yield "desk"
        assert asyncio.current_task() is task
        self.life.append("end")

    def make(self) -> Server[Any]:
        async def call(ctx: Context, params: types.CallToolRequestParams) -> Any:
            assert self.tool is not None
            return await self.tool(ctx, params)

        async def tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
            return types.ListToolsResult(tools=[types.Tool(name="t", input_schema={"type": "object"})])

        return Server(
            "desk",
            version="3",
            instructions="be kind",
            lifespan=self.lifespan,
            on_call_tool=call,
            on_list_tools=tools,
            on_subscriptions_listen=ListenHandler(self.bus),
        )


SPEC = ServerSpec("desk", "inprocess", connector="desk", timeouts=Timeouts(initialize_s=2))


@asynccontextmanager
async def connected(desk: Desk) -> AsyncIterator[tuple[InprocessLink, Heard]]:
    heard = Heard()
    link = await InprocessOpener({"desk": desk.make})(SPEC, heard.events)
    try:
        yield link, heard
    finally:
        await link.aclose()


async def call(link: InprocessLink, timeout_s: float = 5.0, arguments: Json = {}, **given: Any) -> Json:
    return await link.request("tools/call", {"name": "t", "arguments": arguments}, exchange(timeout_s, **given))


async def test_connector_says_what_it_is_and_lives_from_open_to_close() -> None:
    desk = Desk()
    async with connected(desk) as (link, heard):
        assert (link.peer.era, link.peer.revision, link.peer.instructions) == ("modern", "2026-07-28", "be kind")
        assert link.peer.info["name"] == "desk"
        assert "tools" in link.peer.capabilities
        assert desk.life == ["begin"]
        assert link.alive
        await link.notify("notifications/anything", {})
    assert desk.life == ["begin", "end"]
    assert not link.alive
    assert heard.closed == []


async def test_call_reaches_the_tool_with_the_hub_as_client_and_no_capability() -> None:
    seen: dict[str, Any] = {}

    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        seen.update(arguments=params.arguments, state=ctx.lifespan_context, client=ctx.session.client_params)
        seen.update(meta=ctx.meta, can_ask=ctx.session.can_send_request)
        return words("hello", structured_content={"n": 2**40, "null": None})

    async with connected(Desk(tool)) as (link, _):
        given = exchange()
        given.trace = {"traceparent": "00-ab"}
        result = await link.request("tools/call", {"name": "t", "arguments": {"n": 2**60}}, given)
    assert result["structuredContent"] == {"n": 2**40, "null": None}
    assert result["resultType"] == "complete"
    assert given.size_bytes > 50
    assert seen["arguments"] == {"n": 2**60}
    assert seen["state"] == "desk"
    assert seen["client"].client_info.name == "mcp-hub"
    assert not seen["can_ask"]
    assert seen["meta"]["traceparent"] == "00-ab"


async def test_requests_share_nothing_of_their_connection() -> None:
    stacks: list[str] = []

    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        connection = ctx.session._connection
        assert connection.state == {}
        connection.state["secret"] = "of this caller"
        connection.exit_stack.callback(stacks.append, "cleaned")
        return words("ok")

    async with connected(Desk(tool)) as (link, _):
        await call(link)
        assert stacks == ["cleaned"]
        await call(link)
    assert stacks == ["cleaned", "cleaned"]


async def test_result_shares_nothing_with_the_connector() -> None:
    kept: dict[str, Any] = {"rows": [1]}

    async def tool(ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        return {"content": [], "structuredContent": kept, "resultType": "complete"}

    async with connected(Desk(tool)) as (link, _):
        result = await call(link)
        kept["rows"].append(2)
    assert result["structuredContent"] == {"rows": [1]}


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (MCPError(code=-32050, message="no", data={"why": 1}), {"code": -32050, "message": "no", "data": {"why": 1}}),
        (KeyError("secret of the connector"), {"code": -32603, "message": "Internal server error"}),
        (TimeoutError("its own"), {"code": -32603, "message": "Internal server error"}),
        (NoBackChannelError("sampling/createMessage"), None),
    ],
)
async def test_fault_of_the_tool_is_its_error_and_leaks_nothing(
    raised: Exception, error: Json | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        raise raised

    with caplog.at_level(logging.CRITICAL):
        async with connected(Desk(tool)) as (link, _):
            with pytest.raises(Refused) as caught:
                await call(link)
            if error is not None:
                assert caught.value.error == error
            assert link.alive


async def test_bad_parameters_and_unknown_methods_are_refused_as_over_the_wire() -> None:
    async with connected(Desk()) as (link, _):
        with pytest.raises(Refused) as caught:
            await link.request("tools/call", {"arguments": {}}, exchange())
        assert caught.value.error["code"] == -32602
        with pytest.raises(Refused) as caught:
            await link.request("prompts/list", {}, exchange())
        assert caught.value.error["code"] == -32601


async def test_hanging_tool_is_late_and_cancelled() -> None:
    ended: list[str] = []

    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
            await ctx.session.report_progress(1)  # too late to be heard as a sign of life
        raise AssertionError

    async with connected(Desk(tool)) as (link, heard):
        with pytest.raises(Late):
            await call(link, 0.02, heard=heard)
        task = asyncio.create_task(call(link))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended == ["cancelled", "cancelled"]


async def test_progress_crosses_grows_and_keeps_the_call_alive() -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        token = (ctx.params or {})["_meta"].get("progressToken")
        for progress in (1, 2, 2, 3):
            await asyncio.sleep(0.05)
            await ctx.session.report_progress(progress, total=3, message="m")
        if token is not None:
            await ctx.session.send_progress_notification(token, 4)
            await ctx.session.send_progress_notification("of another", 5)
        return words("done")

    async with connected(Desk(tool)) as (link, heard):
        await call(link, 0.12, heard=heard)
        assert [params["progress"] for _, params in heard.notices] == [1, 2, 3, 4]
        assert heard.notices[0][1] == {"progress": 1, "total": 3, "message": "m"}
        assert all("progressToken" not in params for _, params in heard.notices)
        heard.notices.clear()
        await call(link)
        assert heard.notices == []
        assert not any(method == "notifications/progress" for method, _ in heard.notified)
        assert heard.noise == {"foreign": 1}


async def test_log_messages_go_to_the_request_that_asked_for_them() -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        for level in ("debug", "error"):
            message = types.LoggingMessageNotificationParams(level=level, data="x")
            await ctx.session.send_notification(types.LoggingMessageNotification(params=message), ctx.request_id)
        return words("done")

    async with connected(Desk(tool)) as (link, heard):
        await call(link, heard=heard, log_level="warning")
        assert [params["level"] for _, params in heard.notices][-1:] == ["error"]
        before = len(heard.notices)
        await link.request("tools/call", {"name": "t", "arguments": {}}, exchange(log_level="debug"))
        assert len(heard.notices) == before


async def test_connector_cannot_ask_the_client_anything() -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        for scoped in (True, False):
            outbound = ctx.session._request_outbound if scoped else ctx.session._connection.outbound
            with pytest.raises(NoBackChannelError):
                await outbound.send_raw_request("sampling/createMessage", {})
        return words("could not")

    async with connected(Desk(tool)) as (link, _):
        await call(link)


async def test_list_changes_are_told_whichever_way_the_connector_tells_them() -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        await ctx.session.send_tool_list_changed()
        return words("done")

    desk = Desk(tool)
    async with connected(desk) as (link, heard):
        await until(lambda: any("acknowledged" in method for method, _ in heard.notified))
        heard.notified.clear()
        await call(link)
        assert [method for method, _ in heard.notified] == ["notifications/tools/list_changed"]
        await desk.bus.publish(ToolsListChanged())
        await until(lambda: len(heard.notified) == 2)
        assert heard.notified[1][0] == "notifications/tools/list_changed"


async def test_result_beyond_the_cap_is_refused() -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        return words("x" * 1000)

    async with connected(Desk(tool)) as (link, _):
        with pytest.raises(Oversize, match="cap is 500"):
            await call(link, max_bytes=500)


async def test_result_that_is_no_json_is_garbled() -> None:
    async def raw(ctx: Context, call_next: Any) -> dict[str, Any]:
        return {"content": object()} if ctx.method == "tools/call" else await call_next(ctx)

    desk = Desk()
    server = desk.make()
    server.middleware.append(raw)
    link = await InprocessOpener({"desk": lambda: server})(SPEC, Heard().events)
    with pytest.raises(Garbled, match="no JSON"):
        await call(link)
    await link.aclose()


async def test_closing_ends_calls_in_flight_and_refuses_new_ones() -> None:
    async def tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        await anyio.sleep_forever()
        raise AssertionError

    async with connected(Desk(tool)) as (link, _):
        task = asyncio.create_task(call(link))
        await until(lambda: len(link._running) == 2)  # the other one listens
        await link.aclose()
        with pytest.raises(Lost, match="closed"):
            await task
        with pytest.raises(Unreachable):
            await call(link)


@pytest.mark.parametrize(("fails", "match"), [("start", "could not start"), ("hang", r"within 0\.05 s")])
async def test_connector_that_does_not_start_is_unreachable(
    fails: str, match: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    desk.fails = fails
    spec = ServerSpec("desk", "inprocess", connector="desk", timeouts=Timeouts(initialize_s=0.05))
    with caplog.at_level(logging.CRITICAL), pytest.raises(Unreachable, match=match) as caught:
        await InprocessOpener({"desk": desk.make})(spec, Heard().events)
    assert "secret" not in str(caught.value)


async def test_connector_whose_end_fails_says_so_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()

    @asynccontextmanager
    async def failing(server: Server[Any]) -> AsyncIterator[None]:
        yield None
        raise ValueError("secret of the connector")

    server = Server("desk", lifespan=failing)
    heard = Heard()
    link = await InprocessOpener({"desk": lambda: server})(SPEC, heard.events)
    with caplog.at_level(logging.CRITICAL):
        link._leave.set()
        await until(lambda: not link.alive)
    assert heard.closed == ["it failed (ValueError); the hub's log has the details"]
    await link.aclose()
    assert desk.life == []


async def test_unknown_connector_and_one_that_will_not_say_what_it_is() -> None:
    with pytest.raises(Unreachable, match=r"no connector 'x'; there are: desk"):
        await InprocessOpener({"desk": Desk().make})(ServerSpec("x", "inprocess", connector="x"), Heard().events)

    async def refuse(ctx: Context, call_next: Any) -> Any:
        raise MCPError(code=-32000, message="not today")

    desk = Desk()
    server = desk.make()
    server.middleware.append(refuse)
    with pytest.raises(Unreachable, match="refused to say"):
        await InprocessOpener({"desk": lambda: server})(SPEC, Heard().events)
    assert desk.life == ["begin", "end"]

"""A whole MCP server on the SDK of both eras: 2026-07-28 and, for clients that open a session, 2025-11-25.

    python -m conformance.servers.reference_modern --port 0

It offers what the official conformance suite asks for by name. The first line on stdout is the port; the path is /mcp.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import Any, Final, cast

import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

from conformance.servers import reference_asking as asking
from conformance.servers import reference_items as items
from conformance.servers.reference_items import Json

NAME: Final = "reference-modern"
RETRY_MS: Final = 100
COMING_TOOL: Final = items.tool("test_dynamic_tool", "Comes and goes")
COMING_PROMPT: Final[Json] = {"name": "test_dynamic_prompt", "description": "Comes and goes"}

Context = ServerRequestContext[Any, Any]


class Events(EventStore):
    """Everything sent on streams of sessions, so that a client that comes back misses nothing."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
        if not 1 <= last <= len(self._sent):
            return None
        stream = self._sent[last - 1][0]
        for number, (other, message) in enumerate(self._sent[last:], last + 1):
            if other == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Reference:
    """The handlers of the server."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._tools: list[Json] = [*items.TOOLS, *items.MODERN_TOOLS, *asking.TOOLS]
        self._prompts: list[Json] = [*items.PROMPTS, asking.PROMPT]
        self.listen: Final = ListenHandler(self._bus)

    async def list_tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult.model_validate({"tools": self._tools})

    async def call(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        plan = asking.PLANS.get(params.name)
        if plan is not None:
            said = _planned(ctx, plan, params)
            return said if isinstance(said, types.InputRequiredResult) else _result([items.text(said)])
        if (fixed := items.CONTENT.get(params.name)) is not None:
            return _result(fixed)
        return await self._work(ctx, params.name, params.arguments or {})

    async def _work(self, ctx: Context, name: str, given: Json) -> types.CallToolResult:
        if name == "test_error_handling":
            return _result([items.text(items.FAILURE)], failed=True)
        if name in ("test_tool_with_logging", "test_logging_tool"):
            for words in items.LOGGED:
                await _log(ctx, words)
        elif name == "test_tool_with_progress":
            for done in items.PROGRESS:
                await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
        elif name == "test_reconnection":
            await _leave(ctx)
        elif name == "test_missing_capability":
            _want_sampling(ctx)
        elif name == "test_trigger_tool_change":
            _toggle(self._tools, COMING_TOOL)
            await self._bus.publish(ToolsListChanged())
        elif name == "test_trigger_prompt_change":
            _toggle(self._prompts, COMING_PROMPT)
            await self._bus.publish(PromptsListChanged())
        elif name == "test_x_mcp_header":
            return _result([items.text(f"region={given.get('region')}")])
        else:
            return _result([items.text(await _asked_in_session(ctx, name, given))])
        return _result([items.text(f"{name} is done")])

    async def list_prompts(self, ctx: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult.model_validate({"prompts": self._prompts})

    async def prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        if params.name == asking.PROMPT["name"]:
            said = _planned(ctx, asking.PROMPT_PLAN, params)
            if isinstance(said, types.InputRequiredResult):
                return said
            found: list[Json] | None = [{"role": "user", "content": items.text(said)}]
        else:
            found = items.messages(params.name, params.arguments or {})
        if found is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name!r}")
        return types.GetPromptResult.model_validate({"messages": found})

    async def list_resources(self, ctx: Context, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult.model_validate({"resources": items.RESOURCES})

    async def list_templates(self, ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": items.TEMPLATES})

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        found = items.contents(str(params.uri))
        if found is None:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": str(params.uri)})
        return types.ReadResourceResult.model_validate({"contents": found})

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values = items.completions(params.argument.value)
        return types.CompleteResult.model_validate(
            {"completion": {"values": values, "total": len(values), "hasMore": False}}
        )

    async def nothing(self, ctx: Context, params: Any) -> types.EmptyResult:
        return types.EmptyResult()


def _toggle(rows: list[Json], row: Json) -> None:
    if row in rows:
        rows.remove(row)
    else:
        rows.append(row)


def _result(content: list[Json], *, failed: bool = False) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": content, "isError": failed})


def _planned(ctx: Context, plan: asking.Plan, params: Any) -> types.InputRequiredResult | str:
    answers = {key: _json(answer) for key, answer in (params.input_responses or {}).items()}
    capabilities = ctx.session.client_capabilities
    said = plan(answers, params.request_state, {} if capabilities is None else _json(capabilities))
    if isinstance(said, str):
        return said
    return types.InputRequiredResult.model_validate({"inputRequests": said.requests, "requestState": said.state})


def _json(model: Any) -> Json:
    return cast(Json, model.model_dump(mode="json", by_alias=True, exclude_none=True))


async def _log(ctx: Context, words: str) -> None:
    await ctx.session.send_log_message("info", words, related_request_id=ctx.request_id)


async def _leave(ctx: Context) -> None:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()


def _want_sampling(ctx: Context) -> None:
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool wants a client with the 'sampling' capability",
            {"requiredCapabilities": {"sampling": {}}},
        )


async def _asked_in_session(ctx: Context, name: str, given: Json) -> str:
    """What the client of a session answers; only sessions have a way back to the client."""
    if name == "test_sampling":
        question = types.SamplingMessage.model_validate({"role": "user", "content": items.text(str(given["prompt"]))})
        sampled = await ctx.session.create_message([question], max_tokens=100, related_request_id=ctx.request_id)
        return f"LLM response: {_json(sampled)['content'].get('text')}"
    if name == "test_elicitation":
        message, form = str(given["message"]), items.USER_FORM
    elif name in items.FORMS:
        message, form = items.FORMS[name]
    else:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {name!r}")
    said = _json(await ctx.session.elicit_form(message, form, related_request_id=ctx.request_id))
    return f"Elicitation completed: action={said['action']}, content={said.get('content', {})}"


def build() -> Server[Any]:
    """The server, with everything registered."""
    given = Reference()
    server: Server[Any] = Server(
        NAME,
        version="1",
        on_list_tools=given.list_tools,
        on_call_tool=given.call,
        on_list_prompts=given.list_prompts,
        on_get_prompt=given.prompt,
        on_list_resources=given.list_resources,
        on_list_resource_templates=given.list_templates,
        on_read_resource=given.read,
        on_subscribe_resource=given.nothing,
        on_unsubscribe_resource=given.nothing,
        on_subscriptions_listen=given.listen,
        on_completion=given.complete,
        on_set_logging_level=given.nothing,
    )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


async def serve(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    app = build().streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    # h11, because the suite sends header values with white space around them, which httptools keeps
    config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1)
    print(listening.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

"""A whole MCP server on the SDK before 2.0, which knows sessions only (2025-11-25 and older).

    OLD_PYTHON -m conformance.servers.reference_legacy --port 0

OLD_PYTHON is a Python whose environment has `mcp<2`; this file needs nothing else. It offers what the official
conformance suite asks for by name. The first line on stdout is the port; the path is /mcp.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import socket
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any, Final

from conformance.servers import reference_items as items
from conformance.servers.reference_items import Json

NAME: Final = "reference-legacy"
RETRY_MS: Final = 100

# The SDK of another generation than the one beside which this file is checked: taken by name, and untyped.
types: Any = importlib.import_module("mcp.types")
lowlevel: Any = importlib.import_module("mcp.server.lowlevel")
streams: Any = importlib.import_module("mcp.server.streamable_http")
managers: Any = importlib.import_module("mcp.server.streamable_http_manager")
security: Any = importlib.import_module("mcp.server.transport_security")
contents: Any = importlib.import_module("mcp.server.lowlevel.helper_types")
errors: Any = importlib.import_module("mcp.shared.exceptions")


class Events(streams.EventStore):  # type: ignore[misc]
    """Everything sent on streams of sessions, so that a client that comes back misses nothing."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        last = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
        if not 1 <= last <= len(self._sent):
            return None
        stream = self._sent[last - 1][0]
        for number, (other, message) in enumerate(self._sent[last:], last + 1):
            if other == stream and message is not None:
                await send_callback(streams.EventMessage(message, str(number)))
        return stream


class Reference(lowlevel.Server):  # type: ignore[misc]
    """A server that says what it can: this SDK denies resource subscriptions even where they are handled."""

    def get_capabilities(self, *given: Any, **more: Any) -> Any:
        found = super().get_capabilities(*given, **more)
        found.resources.subscribe = True
        return found


def _many(model: Any, rows: list[Json]) -> list[Any]:
    return [model.model_validate(row) for row in rows]


def _result(content: list[Json], *, failed: bool = False) -> Any:
    return types.CallToolResult.model_validate({"content": content, "isError": failed})


def _refused(words: str, **data: Any) -> Exception:
    wrong: Exception = errors.McpError(types.ErrorData(code=types.INVALID_PARAMS, message=words, data=data or None))
    return wrong


async def _work(ctx: Any, name: str, given: Json) -> Any:
    if (fixed := items.CONTENT.get(name)) is not None:
        return _result(fixed)
    if name == "test_error_handling":
        return _result([items.text(items.FAILURE)], failed=True)
    if name == "test_x_mcp_header":
        return _result([items.text(f"region={given.get('region')}")])
    if name == "test_tool_with_logging":
        for words in items.LOGGED:
            await ctx.session.send_log_message("info", words, related_request_id=ctx.request_id)
    elif name == "test_tool_with_progress":
        await _progress(ctx)
    elif name == "test_reconnection":
        if ctx.close_sse_stream is not None:
            await ctx.close_sse_stream()
    else:
        return _result([items.text(await _asked(ctx, name, given))])
    return _result([items.text(f"{name} is done")])


async def _progress(ctx: Any) -> None:
    token = ctx.meta.progressToken if ctx.meta is not None else None
    if token is None:
        return
    for done in items.PROGRESS:
        words = f"Completed step {done} of 100"
        await ctx.session.send_progress_notification(token, done, 100, words, related_request_id=str(ctx.request_id))


async def _asked(ctx: Any, name: str, given: Json) -> str:
    if name == "test_sampling":
        question = types.SamplingMessage.model_validate({"role": "user", "content": items.text(given["prompt"])})
        sampled = await ctx.session.create_message([question], max_tokens=100, related_request_id=ctx.request_id)
        return f"LLM response: {sampled.content.text}"
    if name == "test_elicitation":
        message, form = given["message"], items.USER_FORM
    elif name in items.FORMS:
        message, form = items.FORMS[name]
    else:
        raise _refused(f"There is no tool {name!r}")
    said = await ctx.session.elicit_form(message, form, related_request_id=ctx.request_id)
    return f"Elicitation completed: action={said.action}, content={said.content}"


def _body(row: Json) -> Any:
    data = b64decode(row["blob"]) if "blob" in row else row["text"]
    return contents.ReadResourceContents(content=data, mime_type=row["mimeType"])


def build() -> Any:
    """The server, with everything registered."""
    server = Reference(NAME, "1")

    @server.list_tools()  # type: ignore[untyped-decorator]
    async def list_tools() -> list[Any]:
        return _many(types.Tool, items.TOOLS)

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call(name: str, given: Json) -> Any:
        return await _work(server.request_context, name, given)

    @server.completion()  # type: ignore[untyped-decorator]
    async def complete(ref: Any, argument: Any, context: Any) -> Any:
        values = items.completions(argument.value)
        return types.Completion(values=values, total=len(values), hasMore=False)

    @server.set_logging_level()  # type: ignore[untyped-decorator]
    async def set_level(level: str) -> None:
        """Everything is sent, whatever the level: the suite sets one and looks for messages at it."""

    _register_prompts(server)
    _register_resources(server)
    return server


def _register_prompts(server: Any) -> None:
    @server.list_prompts()  # type: ignore[untyped-decorator]
    async def list_prompts() -> list[Any]:
        return _many(types.Prompt, items.PROMPTS)

    @server.get_prompt()  # type: ignore[untyped-decorator]
    async def prompt(name: str, given: dict[str, str] | None) -> Any:
        found = items.messages(name, given or {})
        if found is None:
            raise _refused(f"There is no prompt {name!r}")
        return types.GetPromptResult.model_validate({"messages": found})


def _register_resources(server: Any) -> None:
    @server.list_resources()  # type: ignore[untyped-decorator]
    async def list_resources() -> list[Any]:
        return _many(types.Resource, items.RESOURCES)

    @server.list_resource_templates()  # type: ignore[untyped-decorator]
    async def list_templates() -> list[Any]:
        return _many(types.ResourceTemplate, items.TEMPLATES)

    @server.read_resource()  # type: ignore[untyped-decorator]
    async def read(uri: Any) -> list[Any]:
        found = items.contents(str(uri))
        if found is None:
            raise _refused("Resource not found", uri=str(uri))
        return [_body(row) for row in found]

    @server.subscribe_resource()  # type: ignore[untyped-decorator]
    async def subscribe(uri: Any) -> None:
        """Nothing here ever changes."""

    @server.unsubscribe_resource()  # type: ignore[untyped-decorator]
    async def unsubscribe(uri: Any) -> None:
        """Nothing here ever changes."""


def application() -> Any:
    """The ASGI application, which serves /mcp to local callers."""
    routing: Any = importlib.import_module("starlette.routing")
    starlette: Any = importlib.import_module("starlette.applications")
    local = security.TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        allowed_origins=["http://127.0.0.1:*", "http://localhost:*"],
    )
    manager = managers.StreamableHTTPSessionManager(
        app=build(), event_store=Events(), retry_interval=RETRY_MS, security_settings=local
    )

    class Door:
        """An object, because a function would be taken for an endpoint of requests."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await manager.handle_request(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return starlette.Starlette(routes=[routing.Route("/mcp", endpoint=Door())], lifespan=lifespan)


async def serve(port: int) -> None:
    uvicorn: Any = importlib.import_module("uvicorn")
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    config = uvicorn.Config(application(), http="h11", log_level="warning", timeout_graceful_shutdown=1)
    print(listening.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

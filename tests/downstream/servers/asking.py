"""A modern server on the SDK that answers with questions: over HTTP (prints its port), stdio, or in this process."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
READS = ("seen", "form", "sample", "roots", "url", "all", "steps", "rogue", "lacking", "wait", "broken")
WRITES = ("pay", "spend")
STATE = "exact \u00e9\U0001f600 state \n"
seen: list[dict[str, Any]] = []  # every tools/call, as it came


def elicit(message: str) -> types.ElicitRequest:
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=FORM))


def sample() -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(text="capital of France?"))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=9))


def web() -> types.ElicitRequest:
    url = "https://example.com/consent"
    return types.ElicitRequest(params=types.ElicitRequestURLParams(message="consent", url=url, elicitation_id="e1"))


QUESTIONS: dict[str, dict[str, Any]] = {
    "form": {"who": elicit("who?")},
    "sample": {"capital": sample()},
    "roots": {"where": types.ListRootsRequest()},
    "url": {"consent": web()},
    "all": {"who": elicit("who?"), "capital": sample(), "where": types.ListRootsRequest()},
    "rogue": {"who": elicit("who?")},
    "pay": {"who": elicit("sure?")},
    "spend": {"who": elicit("sure?")},
}


def done(words: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text="done")], structured_content={"got": words})


def dumped(given: Any) -> Any:
    return {k: v.model_dump(by_alias=True, mode="json", exclude_none=True) for k, v in (given or {}).items()}


async def tools(ctx: ServerRequestContext[Any, Any], params: Any) -> types.ListToolsResult:
    hint = types.ToolAnnotations(read_only_hint=True)
    made = [types.Tool(name=name, input_schema={"type": "object"}, annotations=hint) for name in READS]
    return types.ListToolsResult(tools=[*made, *(types.Tool(name=n, input_schema={"type": "object"}) for n in WRITES)])


async def call(ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> Any:
    answers, state = dumped(params.input_responses), params.request_state
    if params.name == "seen":
        return done(list(seen))
    had = ctx.session.client_capabilities
    declared = {} if had is None else had.model_dump(by_alias=True, mode="json", exclude_none=True)
    seen.append({"name": params.name, "answers": answers, "state": state, "declared": declared})
    if params.name == "lacking":
        raise MCPError(-32021, "sampling, please", {"requiredCapabilities": {"sampling": {}}})
    if params.name == "wait":
        return done("waited") if state == "later" else types.InputRequiredResult(request_state="later")
    if params.name == "steps":
        return steps(answers, state)
    if params.name == "broken":
        return {"resultType": "input_required", "inputRequests": {"x": {"method": "tools/list"}}}
    if params.name == "spend" and state != STATE:
        return types.InputRequiredResult(input_requests=QUESTIONS["spend"], request_state=STATE)
    asked = QUESTIONS[params.name]
    if set(asked) <= set(answers):
        return done(answers)
    return types.InputRequiredResult(input_requests=asked)


def steps(answers: Any, state: str | None) -> Any:
    if state == STATE and "one" in answers:
        return types.InputRequiredResult(input_requests={"two": elicit("two?")}, request_state=STATE + "2")
    if state == STATE + "2" and "two" in answers:
        return done(answers)
    return types.InputRequiredResult(input_requests={"one": elicit("one?")}, request_state=STATE)


async def prompts(ctx: ServerRequestContext[Any, Any], params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[types.Prompt(name="ask")])


async def prompt(ctx: ServerRequestContext[Any, Any], params: types.GetPromptRequestParams) -> Any:
    answers = dumped(params.input_responses)
    if "who" not in answers:
        return types.InputRequiredResult(input_requests=QUESTIONS["form"])
    text = types.TextContent(text=f"from {answers['who']['content']['name']}")
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text)])


async def resources(ctx: ServerRequestContext[Any, Any], params: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[types.Resource(uri="doc://ask", name="ask")])


async def read(ctx: ServerRequestContext[Any, Any], params: types.ReadResourceRequestParams) -> Any:
    answers = dumped(params.input_responses)
    if "who" not in answers or params.request_state != STATE:
        return types.InputRequiredResult(input_requests=QUESTIONS["form"], request_state=STATE)
    text = f"for {answers['who']['content']['name']}"
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text=text)])


def build() -> Server[Any]:
    return Server(
        "asking",
        version="1",
        on_list_tools=tools,
        on_call_tool=call,
        on_list_prompts=prompts,
        on_get_prompt=prompt,
        on_list_resources=resources,
        on_read_resource=read,
    )


async def over_stdio() -> None:
    server = build()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def over_http() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(build().streamable_http_app(), log_config=None, access_log=False, ws="none")
    await uvicorn.Server(config)._serve([sock])


if __name__ == "__main__":
    asyncio.run(over_http() if sys.argv[1:] == ["http"] else over_stdio())

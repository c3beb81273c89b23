"""The sandbox as an MCP server on the SDK. Stands alone as well: `python -m connectors.sandbox`."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema
from mcp.server import Server
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
    Tool,
)

from connectors.sandbox import documents
from connectors.sandbox.company import NAME
from connectors.sandbox.desk import Desk, Mistake
from connectors.sandbox.schemas import TOOLS

VERSION: Final = "1.0.0"
_INSTRUCTIONS: Final = (
    f"A fictional company, {NAME}: customers, orders and support tickets to try things on. "
    "Start with list_customers, or with query_customer_data for customer C-1001."
)
_SCHEMAS: Final = {tool["name"]: tool["inputSchema"] for tool in TOOLS}
_CHECKS: Final = {name: jsonschema.Draft202012Validator(schema) for name, schema in _SCHEMAS.items()}
_TOOLS: Final = ListToolsResult(tools=[Tool.model_validate(tool) for tool in TOOLS])

Context = ServerRequestContext[dict[str, Any]]
Page = PaginatedRequestParams | None


def build() -> Server[dict[str, Any]]:
    """A server with tickets of its own."""
    handlers = _Handlers(Desk())
    hour = CacheHint(ttl_ms=3_600_000, scope="public")
    server = Server(
        "sandbox",
        version=VERSION,
        title=f"{NAME} (sandbox)",
        instructions=_INSTRUCTIONS,
        cache_hints={
            "tools/list": hour,
            "prompts/list": hour,
            "resources/list": hour,
            "resources/templates/list": hour,
        },
        get_tool_input_schema=_SCHEMAS.get,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_completion=handlers.complete,
    )
    server.middleware.clear()  # the SDK's tracing costs more than a tool does; the hub traces its calls itself
    return server


class _Handlers:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list_tools(self, ctx: Context, params: Page) -> ListToolsResult:
        return _TOOLS

    async def call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        check = _CHECKS.get(params.name)
        if check is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
        given = params.arguments or {}
        problem = next(iter(check.iter_errors(given)), None)
        if problem is not None:
            where = "/".join(str(step) for step in problem.absolute_path) or "arguments"
            return _mistake(f"{where}: {problem.message}")
        try:
            found = await self._desk.answer(params.name, given, ctx.session.report_progress)
        except Mistake as mistake:
            return _mistake(str(mistake))
        text = found["report"] if "report" in found else json.dumps(found, ensure_ascii=False)
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=found)

    async def list_resources(self, ctx: Context, params: Page) -> ListResourcesResult:
        return ListResourcesResult(
            resources=[
                Resource(uri=uri, name=uri.partition("://")[2], title=title, description=description, mime_type=kind)
                for uri, title, description, kind in documents.RESOURCES
            ]
        )

    async def list_templates(self, ctx: Context, params: Page) -> ListResourceTemplatesResult:
        template = ResourceTemplate(
            uri_template=documents.TEMPLATE,
            name="customer",
            title="A customer with orders",
            description="Everything on record about one customer",
            mime_type="application/json",
        )
        return ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        try:
            text, kind = documents.read(str(params.uri))
        except Mistake as mistake:
            raise MCPError(INVALID_PARAMS, str(mistake)) from mistake
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, mime_type=kind, text=text)])

    async def list_prompts(self, ctx: Context, params: Page) -> ListPromptsResult:
        prompt = {
            "name": documents.PROMPT,
            "title": "Analyse a customer",
            "description": "A short analysis of one customer from orders and tickets",
            "arguments": list(documents.PROMPT_ARGUMENTS),
        }
        return ListPromptsResult(prompts=[Prompt.model_validate(prompt)])

    async def get_prompt(self, ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
        if params.name != documents.PROMPT:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name}")
        try:
            text = documents.analysis(params.arguments or {})
        except Mistake as mistake:
            raise MCPError(INVALID_PARAMS, str(mistake)) from mistake
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description="Customer analysis", messages=[message])

    async def complete(self, ctx: Context, params: CompleteRequestParams) -> CompleteResult:
        values = documents.complete(params.argument.name, params.argument.value)
        return CompleteResult(completion=Completion(values=values[:100], total=len(values), has_more=len(values) > 100))


def _mistake(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

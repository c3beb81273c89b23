"""A real client that exports: the SDK's, whose requests carry its span in `_meta`. Prints what it was answered.

python traced_client.py COLLECTOR_URL HUB_URL TOKEN TOOL NAME
"""

from __future__ import annotations

import asyncio
import sys

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import TextContent
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


async def main(hub: str, token: str, tool: str, name: str) -> None:
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
    async with http, Client(streamable_http_client(hub, http_client=http)) as client:
        await client.list_tools()  # the call needs the output schema: asked for here, it is no part of the turn
        with trace.get_tracer("agent").start_as_current_span("agent turn"):
            answer = await client.call_tool(tool, {"name": name})
        print("".join(block.text for block in answer.content if isinstance(block, TextContent)))


if __name__ == "__main__":
    provider = TracerProvider(resource=Resource({"service.name": "agent"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{sys.argv[1]}/v1/traces", timeout=5)))
    trace.set_tracer_provider(provider)
    asyncio.run(main(*sys.argv[2:]))
    provider.shutdown()

"""A real downstream that exports: the SDK's server, whose own middleware makes a span of each request.

python traced.py COLLECTOR_URL
"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

app = MCPServer("greeter")


@app.tool()
def greet(name: str) -> str:
    """Greet somebody."""
    with trace.get_tracer("greeter").start_as_current_span("look up the greeting"):
        return f"Hello, {name}!"


if __name__ == "__main__":
    provider = TracerProvider(resource=Resource({"service.name": "greeter"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{sys.argv[1]}/v1/traces", timeout=5)))
    trace.set_tracer_provider(provider)
    app.run()

"""`python -m connectors.sandbox`: the sandbox over stdio, for any MCP client."""

from __future__ import annotations

import anyio
from mcp.server.stdio import stdio_server

from connectors.sandbox.server import build


async def main() -> None:
    server = build()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)

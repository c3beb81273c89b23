"""FastMCP's proxy in front of one url; run by the environment that has FastMCP.

python fastmcp_proxy.py URL PORT
"""

from __future__ import annotations

import asyncio
import sys

from fastmcp import Client  # type: ignore[import-not-found]
from fastmcp.server import create_proxy  # type: ignore[import-not-found]


async def main(url: str, port: int) -> None:
    client = Client(url)
    async with client:  # connected already: one session serves every call, which costs an eighth of one for each
        proxy = create_proxy(client)
        await proxy.run_http_async(host="127.0.0.1", port=port, path="/mcp", show_banner=False, log_level="error")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

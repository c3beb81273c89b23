"""`uvx` and `npx` of the documented examples: they fetch nothing, and are a server with what the docs tell of it.

Run as a script by the wrappers that `terminal.py` puts into PATH. A second version of the time server has another
definition, as servers do.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

ZONE = {"zone": {"type": "string"}}
NOW = {
    "name": "get_now",
    "description": "Tells the time in a zone.",
    "inputSchema": {"type": "object", "properties": ZONE},
    "annotations": {"readOnlyHint": True},
}
LATER_NOW = {
    **NOW,
    "description": "Tells the time in any zone.",
    "inputSchema": {"type": "object", "properties": {"zone": {"type": "integer"}}},
}


def tool(name: str, **properties: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return {"name": name, "description": f"The tool {name}", "inputSchema": schema}


def tools(package: str) -> list[dict[str, Any]]:
    if package.startswith("mcp-server-time"):
        return [LATER_NOW if package.endswith("==2026.1.1") else NOW, tool("convert", time="string")]
    if "wiki" in package:
        return [tool("search", query="string"), tool("write_page", text="string")]
    return [tool("list_items"), tool("create_item", text="string")]


def answer(package: str, message: dict[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "initialize":
            info = {"name": package, "version": "1"}
            return {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}}
        case "ping":
            return {"result": {}}
        case "tools/list":
            return {"result": {"tools": tools(package)}}
        case "tools/call":
            told = json.dumps({"from": package, "with": sorted(name for name in os.environ if "TOKEN" in name)})
            return {"result": {"content": [{"type": "text", "text": told}]}}
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}


def main() -> None:
    package = next(word for word in sys.argv[1:] if not word.startswith("-"))
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer(package, message)}), flush=True)


if __name__ == "__main__":
    main()

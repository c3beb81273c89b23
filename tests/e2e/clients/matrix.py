"""Every client that goes through the hub in the tests: how it is run, over which roads, and what it lacks.

The tests run exactly these rows, and the table in the docs is made of them: what stands there has passed here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.equipment import NODE22, OLD_CLIENT, ROOT, Environment
from tests.equipment_clients import (
    ADK,
    AGENT_FRAMEWORK,
    CLIENTS_NPM,
    LANGCHAIN,
    LLAMA,
    OPENAI,
    PYDANTIC,
    STRANDS,
    clients_npm_missing,
)

DRIVE: Final = Path(__file__).with_name("drive.py")
ROADS: Final = ("http", "sse", "stdio")
MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"

# What a driver may report, and by which method the hub sees it.
METHODS: Final[Mapping[str, str]] = {
    "tools": "tools/list",
    "called": "tools/call",
    "resources": "resources/list",
    "read": "resources/read",
    "prompts": "prompts/list",
    "prompted": "prompts/get",
}


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of a client: over this road, in this mode of its own, speaking this revision."""

    road: str
    revision: str
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    id: str
    title: str
    package: str  # its name in the pins
    driver: str  # a module beside this file, or a script of `npm/`
    passes: tuple[Pass, ...]
    home: Environment | None = None  # for a module; None is the hub's own environment
    lacks: Mapping[str, str] = field(default_factory=dict)  # road or report -> why

    @property
    def of_npm(self) -> bool:
        return self.driver.endswith(".mjs")

    @property
    def version(self) -> str:
        """As pinned, where the tests take it from."""
        if self.of_npm:
            pinned: str = json.loads((CLIENTS_NPM / "package.json").read_text())["dependencies"][self.package]
            return pinned
        pins = self.home.packages if self.home else (ROOT / "constraints.txt").read_text().split()
        (found,) = (pin for pin in pins if re.split(r"[\[=]", pin)[0] == self.package)
        return found.partition("==")[2]

    @property
    def missing(self) -> tuple[str, ...]:
        if self.of_npm:
            return clients_npm_missing()
        lacking = self.home is not None and not self.home.ready
        return (f"python environment {self.home.name!r}",) if lacking and self.home else ()

    def command(self, task: str) -> list[str]:
        if self.of_npm:
            return [str(NODE22), str(CLIENTS_NPM / self.driver), task]
        python = str(self.home.python) if self.home else sys.executable
        return [python, str(DRIVE), self.driver, task]


def everywhere(revision: str, mode: str = "") -> tuple[Pass, ...]:
    return tuple(Pass(road, revision, mode) for road in ROADS)


_OLD_SSE: Final = Pass("sse", LEGACY, "legacy")
_ADAPTER: Final = everywhere(LEGACY)

CLIENTS: Final = (
    Client("python-1", "Python SDK 1", "mcp", "python_v1_client", everywhere(LEGACY), OLD_CLIENT),
    Client(
        "python-2",
        "Python SDK 2",
        "mcp",
        "python_v2_client",
        (
            _OLD_SSE,
            *(Pass(road, LEGACY, "legacy") for road in ("http", "stdio")),
            *(Pass(road, MODERN, mode) for road in ("http", "stdio") for mode in ("auto", MODERN)),
        ),
    ),
    Client("typescript-1", "TypeScript SDK 1", "@modelcontextprotocol/sdk", "typescript_v1.mjs", everywhere(LEGACY)),
    Client(
        "typescript-2",
        "TypeScript SDK 2",
        "@modelcontextprotocol/client",
        "typescript_v2.mjs",
        (
            _OLD_SSE,
            *(Pass(road, LEGACY, "legacy") for road in ("http", "stdio")),
            *(Pass(road, MODERN, mode) for road in ("http", "stdio") for mode in ("auto", "pinned")),
        ),
    ),
    Client(
        "inspector",
        "MCP Inspector, command line",
        "@modelcontextprotocol/inspector",
        "inspector.mjs",
        (
            _OLD_SSE,
            *(Pass(road, LEGACY, "legacy") for road in ("http", "stdio")),
            *(Pass(road, MODERN, "modern") for road in ("http", "stdio")),
        ),
    ),
    Client(
        "mcp-remote",
        "mcp-remote",
        "mcp-remote",
        "remote.mjs",
        (_OLD_SSE, Pass("http", LEGACY, "legacy"), Pass("http", MODERN, "auto")),
        lacks={"stdio": "it is what a client of stdio starts to reach an address"},
    ),
    Client(
        "langchain",
        "LangChain adapters",
        "langchain-mcp-adapters",
        "langchain_client",
        _ADAPTER,
        LANGCHAIN,
        {"prompts": "it gets a prompt by its name and has no list of them"},
    ),
    Client("openai-agents", "OpenAI Agents SDK", "openai-agents", "openai_client", everywhere(MODERN), OPENAI),
    Client(
        "pydantic-ai",
        "Pydantic AI",
        "pydantic-ai-slim",
        "pydantic_client",
        (Pass("http", MODERN), Pass("sse", LEGACY), Pass("stdio", MODERN)),
        PYDANTIC,
    ),
    Client("llama-index", "LlamaIndex tools", "llama-index-tools-mcp", "llama_client", _ADAPTER, LLAMA),
    Client("strands", "Strands Agents", "strands-agents", "strands_client", everywhere(MODERN), STRANDS),
    Client(
        "google-adk",
        "Google ADK",
        "google-adk",
        "adk_client",
        _ADAPTER,
        ADK,
        {"prompts": "a prompt is an agent's instruction, by its name; there is no list of them"},
    ),
    Client(
        "agent-framework",
        "Microsoft Agent Framework",
        "agent-framework-core",
        "agent_framework_client",
        (Pass("http", MODERN), Pass("stdio", MODERN)),
        AGENT_FRAMEWORK,
        {
            "sse": "it has no client for HTTP+SSE",
            "resources": "it has tools and prompts only",
            "read": "it has tools and prompts only",
        },
    ),
)

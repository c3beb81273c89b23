"""The clients that the end-to-end tests put before the hub: a Python environment for each adapter, one folder of npm.

Installed by `python -m tests.equipment`, after the Node that runs those of npm.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

from tests.equipment import NODE22, NODE22_PACKAGE, ROOT, Environment, install_environment

CLIENTS_NPM: Final = ROOT / "tests" / "e2e" / "clients" / "npm"
COMPANY_NPM: Final = ROOT / "tests" / "e2e" / "oauth_sso" / "npm"  # an OpenID provider to log in through

# Each beside the SDK that it was tried with: which revision it speaks hangs on that.
LANGCHAIN: Final = Environment("langchain", ("langchain-mcp-adapters==0.3.2", "mcp==1.30.0"))
OPENAI: Final = Environment("openai-agents", ("openai-agents==0.24.0", "mcp==2.3.0"))
PYDANTIC: Final = Environment("pydantic-ai", ("pydantic-ai-slim[mcp]==2.68.0", "fastmcp-slim==4.2.1", "mcp==2.3.0"))
LLAMA: Final = Environment("llama-index", ("llama-index-tools-mcp==0.6.0", "mcp==2.3.0"))
STRANDS: Final = Environment("strands", ("strands-agents==1.62.0", "mcp==2.1.1"))
ADK: Final = Environment("google-adk", ("google-adk[mcp]==2.13.0", "mcp==2.3.0"))
AGENT_FRAMEWORK: Final = Environment(
    "agent-framework", ("agent-framework-core==1.23.0", "mcp==2.3.0", "tenacity==9.2.1")
)
ADAPTERS: Final = (LANGCHAIN, OPENAI, PYDANTIC, LLAMA, STRANDS, ADK, AGENT_FRAMEWORK)


def clients_npm_missing() -> tuple[str, ...]:
    """What the clients of npm need and this checkout does not have, one line each."""
    lacks = () if NODE22.exists() else (f"{NODE22_PACKAGE} under .equipment/node",)
    there = (CLIENTS_NPM / "node_modules" / "@modelcontextprotocol" / "inspector").exists()
    return lacks if there else (*lacks, "the clients of tests/e2e/clients/npm")


def company_node() -> str:
    """The Node that runs the company's provider: its libraries refuse older ones."""
    return str(NODE22)


def company_missing() -> tuple[str, ...]:
    """What the company's provider needs and this checkout does not have, one line each."""
    lacks = () if NODE22.exists() else (f"{NODE22_PACKAGE} under .equipment/node",)
    there = (COMPANY_NPM / "node_modules" / "oidc-provider").exists()
    return lacks if there else (*lacks, "the OpenID provider of tests/e2e/oauth_sso/npm")


def install_clients() -> str | None:
    """Install every client; the reason in words when this machine cannot hold those of npm."""
    for env in ADAPTERS:
        install_environment(env)
    if shutil.which("npm") is None:
        return "npm is not on PATH: the clients of tests/e2e/clients/npm are skipped"
    if not (CLIENTS_NPM / "node_modules").exists():
        print("equipment: installing the clients of tests/e2e/clients/npm", flush=True)
        # They run on Node 22 and need no build of their own; npm itself may run on an older one.
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=CLIENTS_NPM, check=True)
    if not (COMPANY_NPM / "node_modules").exists():
        print("equipment: installing the OpenID provider of tests/e2e/oauth_sso/npm", flush=True)
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=COMPANY_NPM, check=True)
    return None

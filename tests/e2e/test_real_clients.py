"""Clients that nobody here wrote, through the hub: the SDK's own in each of its modes, and one from before 2.0."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from mcp_types import TextContent, TextResourceContents

from tests.e2e.old_client import DOCUMENT, SERVER
from tests.e2e.real import TOKEN, Road, World
from tests.equipment import OLD_CLIENT

pytestmark = pytest.mark.e2e

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
SPOKEN: Final = {"auto": MODERN, "legacy": LEGACY, MODERN: MODERN}
ROADS: Final[tuple[Road, ...]] = ("modern", "sse", "stdio")  # "modern" and "legacy" are one url
SCRIPT: Final = Path(__file__).parent / "old_client.py"


@pytest.mark.parametrize("mode", SPOKEN)
@pytest.mark.parametrize("road", ROADS)
async def test_the_sdks_client_lists_calls_reads_and_prompts_in_every_mode(world: World, road: Road, mode: str) -> None:
    async with world.hub.client(road, mode) as client:
        assert client.session.protocol_version == SPOKEN[mode]
        tools = (await client.list_tools()).tools
        assert {tool.name.split("__")[0] for tool in tools} == set(world.servers)
        called = await client.call_tool(f"{SERVER}__echo", {"message": "hi"})
        assert [block.text for block in called.content if isinstance(block, TextContent)] == ["Echo: hi"]
        structured = await client.call_tool(f"{SERVER}__get-structured-content", {"location": "Chicago"})
        assert structured.structured_content == {
            "temperature": 36,
            "conditions": "Light rain / drizzle",
            "humidity": 82,
        }
        (document,) = (await client.read_resource(DOCUMENT)).contents
        assert isinstance(document, TextResourceContents)
        assert str(document.uri) == DOCUMENT
        assert document.text.startswith("# Everything Server")
        (message,) = (await client.get_prompt(f"{SERVER}__args-prompt", {"city": "Ulm"})).messages
        assert isinstance(message.content, TextContent)
        assert message.content.text == "What's weather in Ulm?"
        assert {str(one.uri) for one in (await client.list_resources()).resources} >= {DOCUMENT}
        assert {one.name for one in (await client.list_prompts()).prompts} >= {f"{SERVER}__args-prompt"}
        assert (await client.list_resource_templates()).resource_templates


@pytest.mark.parametrize("road", ["http", "sse", "stdio"])
def test_a_client_of_the_sdk_before_2_lists_calls_reads_and_prompts(world: World, road: str) -> None:
    hub = world.hub
    target = {"http": [f"{hub.url}/mcp", TOKEN], "sse": [f"{hub.url}/sse", TOKEN], "stdio": hub.verb("stdio")}[road]
    ran = subprocess.run(
        [str(OLD_CLIENT.python), str(SCRIPT), road, *target],
        capture_output=True,
        text=True,
        timeout=90,
        env=hub.environment,
        cwd=hub.folder,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said: dict[str, Any] = json.loads(ran.stdout)
    assert said["revision"] == LEGACY
    assert said["server"] == "mcp-hub"
    assert {name.split("__")[0] for name in said["tools"]} == set(world.servers)
    assert said["called"] == "Echo: from an old client"
    assert said["structured"] == {"temperature": 36, "conditions": "Light rain / drizzle", "humidity": 82}
    assert said["read"][0] == DOCUMENT
    assert said["read"][1].startswith("# Everything Server")
    assert said["prompt"] == "What's weather in Ulm?"

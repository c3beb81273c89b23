"""What both generations of the Python SDK's client do by the same names, and what adapters hand through from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any


async def every(ask: Callable[..., Awaitable[Any]], key: str) -> list[Any]:
    """All pages of a list."""
    page = await ask()
    found = list(getattr(page, key))
    while (cursor := getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)) is not None:
        page = await ask(cursor=cursor)
        found += getattr(page, key)
    return found


def texts(blocks: Iterable[Any]) -> str:
    return "".join(block.text for block in blocks)


async def session_did(session: Any, task: dict[str, Any]) -> dict[str, Any]:
    return {
        "tools": [tool.name for tool in await every(session.list_tools, "tools")],
        "resources": [str(one.uri) for one in await every(session.list_resources, "resources")],
        "prompts": [prompt.name for prompt in await every(session.list_prompts, "prompts")],
        "called": [texts((await session.call_tool(*call)).content) for call in task["calls"]],
        "read": [texts((await session.read_resource(uri)).contents) for uri in task["reads"]],
        "prompted": [texts(m.content for m in (await session.get_prompt(*get)).messages) for get in task["gets"]],
    }

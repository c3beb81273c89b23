"""Which program a paste was written for, and the servers in it.

Claude Desktop, Claude Code, Cursor, Windsurf, Gemini, Cline: `mcpServers`. VS Code: `servers` with `inputs`, alone or
under `mcp` in its settings. Codex: TOML. The registry: `server.json`. Else one bare entry, or entries by their names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from hub.admin.paste import json5, registry
from hub.admin.paste.naming import guess
from hub.admin.paste.pasted import Input, Pasted

MAX_SERVERS: Final = 500
_UNDER: Final = ("mcpServers", "mcp_servers", "context_servers", "servers")
_ENTRY: Final = frozenset(("command", "url", "httpUrl", "serverUrl", "connector", "http_url", "server_url"))
_TOML = re.compile(r"(?m)^\s*\[\s*(?:mcp_servers|\"?mcp_servers\"?)\b|^\s*mcp_servers\.\S+\s*=")
_FENCE = re.compile(r"^\s*(```+|~~~+)[^\n]*\n(.*?)\n?[ \t]*\1[ \t]*\s*$", re.DOTALL)


class Unreadable(ValueError):
    """The paste as a whole cannot be read; the text has the line and column where that is known."""


def servers(text: str, name: str | None = None) -> tuple[Pasted, ...]:
    """Every server of the paste, in its order. `name` is for one that has none of its own. Raises Unreadable."""
    text, skipped = _unfenced(text)
    if not text.strip():
        raise Unreadable("the paste is empty")
    if _TOML.search(text):
        return _bounded(_toml(text))
    try:
        value = json5.read("\n" * skipped + text)
    except json5.NotJson as exc:
        raise Unreadable(f"this is no JSON: {exc}") from exc
    return _bounded(_of_value(value, name))


def _unfenced(text: str) -> tuple[str, int]:
    """Without the fence of a Markdown code block, and how many lines that took in front."""
    found = _FENCE.match(text)
    return (found[2], text[: found.start(2)].count("\n")) if found else (text, 0)


def _bounded(found: tuple[Pasted, ...]) -> tuple[Pasted, ...]:
    if len(found) > MAX_SERVERS:
        raise Unreadable(f"the paste names {len(found)} servers; at most {MAX_SERVERS} fit one hub")
    if not found:
        raise Unreadable("the paste names no server")
    return found


def _toml(text: str) -> tuple[Pasted, ...]:
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Unreadable(f"this is no TOML: {str(exc)[:200]}") from exc
    except RecursionError as exc:
        raise Unreadable("this TOML is nested too deeply") from exc
    entries = top.get("mcp_servers")
    if not isinstance(entries, Mapping):
        raise Unreadable("mcp_servers must be a table: [mcp_servers.NAME]")
    return _named(entries, {})


def _of_value(value: Any, name: str | None) -> tuple[Pasted, ...]:
    if isinstance(value, list):
        if not value:
            raise Unreadable("the paste names no server")
        return tuple(each for item in value for each in _of_value(item, None))
    if not isinstance(value, Mapping):
        raise Unreadable('this is no server entry: an object such as {"mcpServers": {...}} is expected')
    if registry.is_document(value):
        return registry.servers(value, name)
    if isinstance(value.get("mcp"), Mapping) and not _ENTRY & set(value):  # VS Code's settings.json
        return _of_value(value["mcp"], name)
    for key in _UNDER:
        if isinstance(value.get(key), Mapping):
            return _named(value[key], _inputs(value.get("inputs")))
    if _ENTRY & set(value):
        given = value.get("name")
        return (_bare(value, name or (given if isinstance(given, str) else None)),)
    if value and all(isinstance(entry, Mapping) for entry in value.values()):
        return _named(value, {})
    wanted = "command or url" if value else "a server"
    raise Unreadable(f"no {wanted} found; paste what the server's documentation says to put into mcp.json")


def _bare(entry: Mapping[str, Any], name: str | None) -> Pasted:
    if name is not None:
        return Pasted(name, entry)
    found = guess(entry)
    if found is None:
        return Pasted("", entry, fault="it has no name; give it one with --name ID")
    return Pasted(found, entry, warnings=(f"it has no name; it is called {found!r} after what it runs (--name ID)",))


def _named(entries: Mapping[str, Any], inputs: Mapping[str, Input]) -> tuple[Pasted, ...]:
    made = []
    for name, entry in entries.items():
        if isinstance(entry, Mapping):
            made.append(Pasted(name, entry, inputs))
        else:
            made.append(Pasted(name, {}, fault="its entry must be an object with command or url"))
    return tuple(made)


def _inputs(given: Any) -> dict[str, Input]:
    """VS Code's `inputs`."""
    made: dict[str, Input] = {}
    for item in given if isinstance(given, list) else ():
        if not isinstance(item, Mapping) or not isinstance(item.get("id"), str):
            continue
        default, options = item.get("default"), item.get("options")
        labels = [o.get("value") if isinstance(o, Mapping) else o for o in options] if isinstance(options, list) else []
        prompt = item.get("description")
        made[item["id"]] = Input(
            prompt=prompt if isinstance(prompt, str) else "",
            secret=True if item.get("password") is True else None,
            default=default if isinstance(default, str) else None,
            choices=tuple(label for label in labels if isinstance(label, str)),
        )
    return made

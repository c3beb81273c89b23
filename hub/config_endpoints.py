"""`endpoints`: which servers and tools each virtual server offers, and under which names."""

from __future__ import annotations

import re
from typing import Final

from hub.config_section import Section
from hub.config_servers import Parsed
from hub.core.ports import Endpoint, PrefixRule

PAGE_SIZE: Final = 1000  # clients that ignore cursors see every list of usual size whole
MAX_GLOBS: Final = 500
GLOB_CHARS: Final = 256
INSTRUCTIONS_CHARS: Final = 32 * 1024  # every client reads them at its start, whatever it came for
_ENDPOINT: Final = re.compile(r"/(?:([a-z0-9][a-z0-9-]{0,39})/)?mcp")


def read_endpoints(section: Section, parsed: Parsed) -> dict[str, Endpoint]:
    """All of them, by name; the default one is always there."""
    made = {"": Endpoint("", page_size=PAGE_SIZE)}
    for path, entry in section.sections():
        found = _ENDPOINT.fullmatch(path)
        if found is None:
            entry.fault(None, "must be /mcp or /NAME/mcp, NAME in lower case letters, digits and '-'")
            continue
        name = found[1] or ""
        made[name] = Endpoint(
            name=name,
            servers=_servers(entry, parsed),
            prefix=entry.choice("prefix", "server", PrefixRule),
            page_size=entry.whole("page_size", PAGE_SIZE, 1, 100_000),
            tools=_tools(entry),
            read_only=entry.flag("read_only", False),
            instructions=_instructions(entry),
        )
        if made[name].prefix == "none" and len(made[name].servers or ()) != 1:
            entry.fault("prefix", "none needs exactly one server: servers: [ID]")
        entry.close()
    return made


def _servers(entry: Section, parsed: Parsed) -> frozenset[str] | None:
    node = entry.take("servers")
    if node is None or node.value == "*":
        return None
    chosen: set[str] = set()
    for name in entry.texts("servers") or ():
        id = parsed.pasted.get(name, name)
        if id not in parsed.servers:
            entry.fault("servers", f"{name!r} is not in mcpServers")
        elif parsed.servers[id].variant_of is not None:
            entry.fault("servers", f"{name!r} is a variant and lists nothing of its own")
        chosen.add(id)
    if not chosen and isinstance(node.value, tuple):
        entry.fault("servers", 'selects nothing; write "*" or a list of server ids')
    return frozenset(chosen)


def _tools(entry: Section) -> tuple[str, ...] | None:
    node = entry.take("tools")
    if node is None or node.value == "*":
        return None
    globs = entry.texts("tools") or ()
    if not globs and isinstance(node.value, tuple):
        entry.fault("tools", 'selects nothing; write "*" or a list of patterns such as "time__get_*"')
    if len(globs) > MAX_GLOBS:
        entry.fault("tools", f"has {len(globs)} patterns; at most {MAX_GLOBS}")
        return ()
    for glob in globs:
        if not 1 <= len(glob) <= GLOB_CHARS:
            entry.fault("tools", f"a pattern must have 1 to {GLOB_CHARS} characters")
    return tuple(glob for glob in globs if len(glob) <= GLOB_CHARS)


def _instructions(entry: Section) -> str | None:
    text = entry.text("instructions", None)
    if text is not None and len(text) > INSTRUCTIONS_CHARS:
        entry.fault("instructions", f"has {len(text)} characters; at most {INSTRUCTIONS_CHARS}")
        return None
    return text

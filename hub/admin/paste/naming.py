"""Server ids for names as other programs allow them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from hub.core.names import slug

_AROUND = re.compile(r"^(?:mcp[-_]server[-_]|server[-_]|mcp[-_])|(?:[-_]mcp[-_]server|[-_]mcp|[-_]server)$")


def server_id(name: str) -> tuple[str, str | None]:
    """(the id, what was done to get it beyond the usual). Raises ValueError in words."""
    try:
        return slug(name), None
    except ValueError as exc:
        last = name.rstrip("/").rpartition("/")[2]
        plain = re.sub(r"[^A-Za-z0-9-]+", "-", last).strip("-")
        try:
            return slug(plain), f"{name!r} is called {slug(plain)!r} here (--rename 'OLD=NEW' for another name)"
        except ValueError:
            raise ValueError(f"{exc}; use --rename 'OLD=NEW'") from exc


def guess(entry: Mapping[str, Any]) -> str | None:
    """A name for an entry without one: after its package, its program or its host."""
    for word in _words(entry):
        plain = re.sub(r"[^a-z0-9]+", "-", _AROUND.sub("", word.lower())).strip("-")[:24].strip("-")
        try:
            return slug(plain)
        except ValueError:
            continue
    return None


def _words(entry: Mapping[str, Any]) -> list[str]:
    url = next((entry[key] for key in ("url", "httpUrl", "serverUrl") if isinstance(entry.get(key), str)), None)
    if url is not None:
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            return []
        parts = [part for part in host.split(".") if part not in ("mcp", "api", "www", "app", "com", "localhost")]
        return parts[-2:-1] or parts
    args = entry.get("args")
    texts = [arg for arg in args if isinstance(arg, str)] if isinstance(args, list) else []
    plain = [re.sub(r"(?<=.)(?:@|==|:).*$", "", arg.rpartition("/")[2]) for arg in texts if not arg.startswith("-")]
    return [*(word for word in plain if word not in ("run", "x", "exec", "tool")), str(entry.get("command", ""))]

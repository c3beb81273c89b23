"""Calls, items and clients for the tables of this folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hub.core.call import Call, Client, Grants, Item, Json, Kind, One, Principal

WHO = Principal("local", "local:client", "cred-a", frozenset({"mcp"}), Grants(frozenset({"*"})))
MODERN = Client("modern", "2026-07-28")
INFO = {"name": "mcp-hub", "version": "1"}


def legacy(revision: str = "2025-11-25") -> Client:
    return Client("legacy", revision)


def item(name: str, kind: Kind = "tool", writes: bool = True, **definition: Any) -> Item:
    shown = {"name": name, **definition}
    return Item(kind, "demo", name, name, shown, shown, f"sha-{name}", writes=writes)


def call(method: str = "tools/call", params: Json | None = None, client: Client = MODERN, **more: Any) -> Call:
    made = Call("id-1", WHO, "", method, {"name": "x"} if params is None else params, client, deadline=1e9)
    return replace(made, **more)


def about(name: str, writes: bool) -> Call:
    return call(target=One(item(name, writes=writes)))

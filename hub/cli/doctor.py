"""`mcp-hub doctor`: everything a hub needs, looked at once. Changes nothing and starts no hub."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from hub.admin import checkup, surroundings
from hub.admin.finding import Finding
from hub.cli.failure import FAILED, Failed
from hub.cli.hub_client import api, every
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import out, out_json, plain, waiting
from hub.running import Run

_MARKS: Final = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with waiting("looking"):
        found = list(_findings(args))
    problems = sum(each.level == "problem" for each in found)
    if args.json:
        out_json({"ok": not problems, "problems": problems, "findings": [each.shown() for each in found]})
    else:
        for each in found:
            out(plain(f"{_MARKS[each.level]}  {each.check}: {each.said}"))
            if each.next:
                out(plain(f"         -> {each.next}"))
        out("no problems" if not problems else "one problem" if problems == 1 else f"{problems} problems")
    return FAILED if problems else 0


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    where: Place | None = None
    try:
        where = place(args)
    except Failed as failed:  # the machine can be looked at all the same
        yield Finding("configuration", "problem", str(failed).replace("\n", " | "), "correct the file, then look again")
    yield surroundings.versions()
    if where is None:
        yield from surroundings.launchers({})
        yield from surroundings.isolation()
        return
    yield from _configuration(where)
    data_dir = where.config.data_dir
    hub = where.running()
    yield from checkup.store(data_dir)
    yield from checkup.modes(data_dir)
    yield checkup.disk(data_dir)
    yield checkup.clock(data_dir)
    yield surroundings.descriptors(hub.pid if hub is not None else None)
    yield from surroundings.isolation()
    yield from _servers(where, hub)


def _configuration(where: Place) -> Iterator[Finding]:
    for warning in where.config.warnings:
        yield Finding("configuration", "note", warning)
    shown = str(where.path) if where.path is not None else "none, the built-in defaults apply"
    yield Finding("configuration", "ok", f"{shown}; data_dir is {where.config.data_dir}")


def _servers(where: Place, hub: Run | None) -> Iterator[Finding]:
    """Their programs, and how they are."""
    needed = {
        spec.id: spec.command[0]
        for spec in where.config.servers
        if spec.transport == "stdio" and spec.enabled and spec.command and "PATH" not in spec.env
    }
    if hub is None:
        yield from surroundings.launchers(needed)
        yield Finding("hub", "note", "none is running: how the servers are is not known", "mcp-hub serve")
        return
    try:
        rows, trouble = every(hub, "/servers", "servers"), api(hub, "GET", "/traffic")["trouble"]
    except Failed as failed:
        yield from surroundings.launchers(needed)
        said = f"process {hub.pid} runs, but does not answer: {failed}"
        yield Finding(
            "hub", "problem", said, f"read its log on standard error; stop it (kill {hub.pid}) and start anew"
        )
        return
    # what admins added while it runs is in no file
    added = {row["id"]: row["target"] for row in rows if row["transport"] == "stdio" and row["state"] != "disabled"}
    yield from surroundings.launchers({**needed, **{id: str(target) for id, target in added.items() if target}})
    yield Finding("hub", "ok", f"it answers at {hub.url} (process {hub.pid}, version {hub.version})")
    for text in trouble:
        yield Finding("configuration", "problem", f"not in force: {text}", "correct it; then mcp-hub reload")
    yield from surroundings.servers(rows)

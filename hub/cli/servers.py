"""`mcp-hub servers`: how the servers behind the hub stand, and the approval of what changed about them."""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from hub.admin.diffs import told
from hub.cli import server_entries
from hub.cli.failure import FAILED
from hub.cli.hub_client import api, every, segment
from hub.cli.parser import add_verb
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain, waiting
from hub.running import Run

SETTLE_S: Final = 5.0  # for servers in their first start: a list of "starting" helps nobody
TEST_S: Final = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=server_entries.VerbParser)
    for name, act, summary in (
        ("list", _list, "every server: its state, its items, what waits for approval"),
        ("test", _test, "connect now and say how it went"),
        ("diff", _diff, "what changed about the server's items since they were approved"),
        ("approve", _approve, "make the changed definitions the approved ones"),
    ):
        verb = add_verb(verbs, name, summary)
        add_config(verb)
        add_json(verb)
        if name != "list":
            verb.add_argument("server", metavar="ID", help="as `servers list` prints it")
        if name == "approve":
            verb.add_argument("items", metavar="ITEM", nargs="*", help="only these (public or own names); else all")
            verb.add_argument(
                "--seen",
                metavar="SHA256",
                action="append",
                help="only definitions that `servers diff` shows with this hash",
            )
        verb.set_defaults(run=act)
    server_entries.add_verbs(verbs)


def _list(args: argparse.Namespace) -> int:
    run = place(args).reach()
    with waiting("waiting for servers that are starting"):
        rows = _settled(run)
    if args.json:
        out_json({"servers": rows})
        return 0
    cells = [
        (
            row["id"],
            row["state"],
            row["era"],
            sum(row["items"].values()),
            row["waiting"] or "",
            row["quarantined"] or "",
            row["warnings"] or "",
            row["target"],
            row["reason"],
        )
        for row in rows
    ]
    out_table(("SERVER", "STATE", "ERA", "ITEMS", "WAITING", "BROKEN", "WARNINGS", "AT", "WHY"), cells)
    for row in rows:
        if row["waiting"]:
            note(f"{row['waiting']} changed definitions of {row['id']} wait: mcp-hub servers diff {row['id']}")
    return 0


def _settled(run: Run) -> list[dict[str, Any]]:
    end = time.monotonic() + SETTLE_S
    while True:
        rows: list[dict[str, Any]] = every(run, "/servers", "servers")
        if all(row["state"] != "starting" for row in rows) or time.monotonic() > end:
            return rows
        time.sleep(0.2)


def _test(args: argparse.Namespace) -> int:
    run = place(args).reach()
    with waiting(f"connecting to {plain(args.server)}"):
        found = api(run, "POST", f"/servers/{segment(args.server)}/test", {}, TEST_S)
    if args.json:
        out_json(found)
    else:
        peer = f", {found['era']} ({found['revision']})" if found["era"] else ""
        out(plain(f"{found['id']}: {found['state']}{peer}"))
        if found["reason"]:
            out(plain(f"  {found['reason']}"))
        for kind, count in found["items"].items():
            if count:
                out(f"  {count} {kind}{'s' if count > 1 else ''}")
        for problem in found["problems"]:
            out(plain(f"  not shown: {problem['kind']} {problem['item']}: {problem['text']}"))
        for likeness in found["likenesses"]:
            out(plain(f"  warning: {likeness['text']}"))
        for line in found["stderr"]:
            out(plain(f"  stderr: {line}"))
    return 0 if found["ok"] else FAILED


def _diff(args: argparse.Namespace) -> int:
    changes = _changes(place(args).reach(), args.server)
    if args.json:
        out_json({"changes": changes})
        return 0
    if not changes:
        out(f"nothing of {args.server} waits for approval")
    for change in changes:
        out(plain(f"{change['kind']} {change['item']}  sha256 {change['sha256']}"))
        for line in told(change["diff"]):
            out(plain(f"  {line}"))
    return 0


def _approve(args: argparse.Namespace) -> int:
    run = place(args).reach()
    seen = args.seen or [change["sha256"] for change in _changes(run, args.server)]
    body = {"items": args.items or None, "seen": seen}
    with waiting("approving"):
        done = api(run, "POST", f"/servers/{segment(args.server)}/approve", body)
    if args.json:
        out_json(done)
    else:
        for name in done["approved"]:
            out(plain(f"approved {name}"))
    return 0


def _changes(run: Run, server: str) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = api(run, "GET", f"/servers/{segment(server)}/diff")["changes"]
    return changes

"""`mcp-hub connections`: the accounts that the hub speaks with at servers, and whose they are."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlencode

from hub.cli.hub_client import every
from hub.cli.login import holder
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import note, out_json, out_table, plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help="only those of this user of the hub, by name or id")
    parser.add_argument("--server", metavar="SERVER", help="only those at this server")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    query = {name: value for name in ("user", "server") if (value := getattr(args, name)) is not None}
    rows = every(place(args).reach(), f"/connections?{urlencode(query)}", "connections")
    if args.json:
        out_json({"connections": rows})
        return 0
    out_table(
        ("SERVER", "WHOSE", "ACCOUNT", "STATE", "SINCE", "ENDS", "ID"),
        [
            (
                *(row["server"], holder(row), row["account"] or row["label"], _state(row)),
                *(row["logged_in_at"], row["ends_at"], row["id"]),
            )
            for row in rows
        ],
    )
    for row in rows:
        if row["why"] is not None:
            note(plain(f"{row['id']} at {row['server']} needs a login: {row['why']}"))
    return 0


def _state(row: dict[str, Any]) -> str:
    state = "needs login" if row["state"] == "needs_login" else str(row["state"])
    return state if row["chosen"] else f"{state}, not used"

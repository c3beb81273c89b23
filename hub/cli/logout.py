"""`mcp-hub logout`: the hub forgets an account at a server, and its issuer is told to end it."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final
from urllib.parse import urlencode

from hub.cli.failure import Failed
from hub.cli.hub_client import api, every, segment
from hub.cli.login import HOLDERS, add_holder, holder
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import note, out, out_json, plain
from hub.running import Run

_ID: Final = re.compile(r"o[0-9a-f]{16}")
_REVOKED: Final = {
    "yes": "its issuer ended it too",
    "no": "its issuer ends nothing at a word: what was given runs out by itself",
    "later": "its issuer is told",
    "failed": "its issuer could not be told; if that matters, take the hub out on the issuer's own pages",
    "unreadable": "what was stored did not open, so that its issuer could not be told",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", metavar="SERVER|ID", help="a server, or one account as `connections` prints it")
    add_holder(parser)
    parser.add_argument("--all", action="store_true", help="every account there, where there are several")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    hub = place(args).reach()
    ids = [args.which] if _ID.fullmatch(args.which) else _meant(hub, args)
    gone: list[dict[str, Any]] = []
    for id in ids:
        gone.append(api(hub, "DELETE", f"/connections/{segment(id)}"))
    if args.json:
        out_json({"removed": gone})
        return 0
    for row in gone:
        out(plain(f"logged out of {row['server']} for {holder(row)} ({row['id']})"))
        note(_REVOKED.get(row["revoked"], "the hub has forgotten it"))
    return 0


def _meant(hub: Run, args: argparse.Namespace) -> list[str]:
    """Raises Failed where none is, or where nobody said which of several."""
    whose = {"user": args.user} if args.user is not None else {"holder": "shared" if args.shared else "local"}
    rows = every(hub, f"/connections?{urlencode({'server': args.which, **whose})}", "connections")
    named = args.user if args.user is not None else HOLDERS[whose["holder"]]
    if not rows:
        raise Failed(plain(f"there is no account at {args.which} for {named}: see mcp-hub connections"))
    if len(rows) > 1 and not args.all:
        listed = ", ".join(f"{row['id']} ({row['account'] or row['label'] or 'no label'})" for row in rows)
        raise Failed(plain(f"there are several accounts at {args.which}: give an id, or --all. There are {listed}"))
    return [str(row["id"]) for row in rows]

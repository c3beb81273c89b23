"""`mcp-hub log-level`: how much the running hub's own log tells, until its next start."""

from __future__ import annotations

import argparse
from typing import Final

from hub.admin.log_level import LEVELS
from hub.cli.failure import Failed
from hub.cli.hub_client import api
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import out, out_json

NO_HUB: Final = "no hub is running; the next one starts with log: {level: LEVEL} of the configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("level", metavar="LEVEL", nargs="?", choices=LEVELS, help=f"one of {', '.join(LEVELS)}")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    hub = place(args).running()
    if hub is None:
        raise Failed(NO_HUB)
    if args.level is None:
        found = api(hub, "GET", "/log-level")
    else:
        found = api(hub, "PUT", "/log-level", {"level": args.level})
    if args.json:
        out_json(found)
    elif args.level is None:
        out(found["level"])
    else:
        out(f"{found['before']} -> {found['level']}, until the next start")
    return 0

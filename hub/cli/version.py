"""`mcp-hub version`."""

from __future__ import annotations

import argparse

from hub import VERSION
from hub.cli.place import add_json
from hub.cli.screen import out, out_json
from hub.wire.revisions import LEGACY, MODERN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.json:
        out_json({"version": VERSION, "revisions": [*MODERN, *LEGACY]})
    else:
        out(f"mcp-hub {VERSION}")
    return 0

"""`mcp-hub reload`: the running hub reads its configuration file anew, and says what that changed."""

from __future__ import annotations

import argparse
from typing import Final

from hub.cli.failure import Failed
from hub.cli.hub_client import api
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import out, out_json, plain

NO_HUB: Final = "no hub is running; the next one reads its configuration at its start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        hub = place(args).running()
    except Failed as failed:  # the file itself has the faults: they are all told already
        raise Failed(f"{failed}\nA hub that runs goes on with what it has.", failed.status) from failed
    if hub is None:
        raise Failed(NO_HUB)
    done = api(hub, "POST", "/reload")
    if args.json:
        out_json(done)
        return 0
    for text in (*(done["changed"] or ["nothing changed"]), *done["restart"], *done["trouble"]):
        out(plain(text))
    return 0

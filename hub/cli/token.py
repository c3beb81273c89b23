"""`mcp-hub token`: the token that people paste into their client, or the admin's."""

from __future__ import annotations

import argparse

from hub.cli.failure import USAGE, Failed
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import out, out_json
from hub.identity.tokens import local_tokens
from hub.running import DataDir, StartRefused


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_json(parser)
    parser.add_argument("--admin", action="store_true", help="the admin's token instead of the client's")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = place(args).config
    try:
        DataDir(config.data_dir).create()
        tokens = local_tokens(config.data_dir, config.tokens)
    except StartRefused as exc:
        raise Failed(str(exc)) from exc
    except ValueError as exc:
        raise Failed(str(exc), USAGE) from exc
    token = tokens.admin if args.admin else tokens.client
    if args.json:
        out_json({"token": token})
    else:
        out(token)
    return 0

"""`mcp-hub restore`: a backup becomes a data directory, once it is proven whole. Touches no running hub."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from hub.admin.restore import Restored, restore
from hub.cli.failure import Failed
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import note, out, out_json, plain, waiting
from hub.core.errors import HubError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what mcp-hub backup made")
    parser.add_argument("--into", metavar="DIR", required=True, help="a directory that is empty or does not exist yet")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    into = Path(args.into).absolute()
    try:
        with waiting("checking the backup"):
            done = asyncio.run(restore(Path(args.file), into))
    except HubError as exc:
        raise Failed(str(exc)) from exc
    if args.json:
        out_json({"data_dir": str(into), **done.shown()})
        return 0
    out(plain(f"{into}: the hub as of {done.manifest.made_at}, {done.entries} entries of the log checked"))
    for line in _next(done, into, _is_used(args, into)):
        note(plain(line))
    return 0


def _is_used(args: argparse.Namespace, into: Path) -> bool:
    """Whether the configuration leads there; one with faults is no reason not to restore."""
    try:
        return place(args).config.data_dir.resolve() == into.resolve()
    except Failed:
        return False


def _next(done: Restored, into: Path, used: bool) -> list[str]:
    lines = [
        "start the hub: mcp-hub serve" if used else f"set data_dir: {into} in the configuration, then start the hub"
    ]
    left_out = done.manifest.left_out
    if left_out:
        lines.append(f"left out was {left_out.get('tokens', 'every token')}")
        lines += [f"set again: mcp-hub secrets set {name}" for name in left_out.get("secrets", ())]
    between = done.manifest.audit["head"]["seq"] - done.manifest.audit["before"]["seq"]
    if between:
        lines.append(f"the log's last {between} entries were written during the backup; their acts may be missing")
    return lines

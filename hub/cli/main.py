"""`mcp-hub`: finds the verb and runs it. Imports nothing that the verb at hand does not need."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from hub.cli.failure import Failed
from hub.cli.parser import Parser

VERBS: Final = {
    "up": "try it: a hub with the sandbox, and what to paste into your client",
    "serve": "run the hub until SIGTERM or SIGINT",
    "stdio": "speak MCP on standard input and output, through the running hub",
    "servers": "register, list, test, switch and approve the servers behind the hub",
    "endpoints": "virtual servers: a path of its own, with chosen servers and tools",
    "tools": "list and call tools, through the same pipeline as every client",
    "login": "log in to a server in the browser, for yourself, for a user or for everybody",
    "logout": "forget an account at a server, and have its issuer end it",
    "connections": "the accounts that the hub speaks with at servers, and whose they are",
    "users": "people who log in: add, list, change and disable them, and end what they have open",
    "keys": "create, list, rotate and revoke keys",
    "secrets": "store what servers need to know, and refer to it as secret:NAME",
    "token": "print the local client's or admin's token",
    "audit": "read the log",
    "status": "how the hub and its servers are doing now, once or live",
    "doctor": "look at everything the hub needs, and say what to do about what is wrong",
    "reload": "have the running hub read its configuration file anew",
    "log-level": "show or change how much the hub's own log tells",
    "backup": "copy the hub's data into one file, while it runs or not",
    "restore": "make a data directory from a backup",
    "render": "print what runs the hub under systemd or Docker Compose",
    "version": "print the version",
}
EPILOG: Final = """examples:
  mcp-hub up                                       a hub to try, in this terminal
  mcp-hub tools list                               what it offers, in another one
  mcp-hub serve --config hub.yaml                  your own servers
  mcp-hub keys create --name ci --server '*'       a key for somebody else
  mcp-hub audit tail --follow                      who calls what, as it happens

exit status: 0 done, 1 refused or failed, 2 wrong usage (a bad configuration too)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status; raises nothing."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(given).parse_args(given)
    except SystemExit as exc:  # argparse has said what is wrong, or printed the help
        return exc.code if isinstance(exc.code, int) else 0
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except Failed as failed:
        print(f"mcp-hub: {failed}", file=sys.stderr)
        return failed.status
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:  # `| head` has read enough; the interpreter must not try again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="mcp-hub",
        description="One MCP server in front of many; every call passes one pipeline.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    chosen = next((word for word in given if not word.startswith("-")), None)
    for verb, summary in VERBS.items():
        own = verbs.add_parser(
            verb, help=summary, description=summary[0].upper() + summary[1:] + ".", formatter_class=raw
        )
        if verb == chosen:
            import_module(f"hub.cli.{verb.replace('-', '_')}").add_arguments(own)
    return parser


if __name__ == "__main__":
    sys.exit(main())

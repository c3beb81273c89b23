"""`mcp-hub login`: an account of yours at a server, in the browser, for the hub to speak with."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Mapping
from math import ceil
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode

from hub.cli.failure import USAGE, Failed
from hub.cli.hub_client import api, segment
from hub.cli.place import add_config, add_json, place
from hub.cli.screen import note, out, out_json, plain
from hub.running import Run

TIMEOUT_S: Final = 600.0  # the page is good no longer
ASK_S: Final = 20  # that the hub waits in one answer
HOLDERS: Final = {"local": "this computer", "shared": "everybody"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="its id, as `servers list` prints it")
    add_holder(parser)
    parser.add_argument("--label", metavar="TEXT", default="", help="tells several accounts at one server apart")
    parser.add_argument("--no-browser", action="store_true", help="print the address only; open it anywhere")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="S", help=f"seconds to wait (else {TIMEOUT_S:g})"
    )
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def add_holder(parser: argparse.ArgumentParser) -> None:
    """Whose account; of this computer's own token without a word."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", metavar="NAME", help="the account of this user of the hub, by name or id")
    whose.add_argument("--shared", action="store_true", help="the one account of everybody")


def run(args: argparse.Namespace) -> int:
    if not 0 < args.timeout <= 86_400:
        raise Failed("--timeout must be seconds, more than 0 and at most a day", USAGE)
    hub = place(args).reach()
    wish: dict[str, Any] = {"server": args.server, "label": args.label}
    if args.user is not None:
        wish["user"] = args.user
    if args.shared:
        wish["shared"] = True
    offered = api(hub, "POST", "/connections", wish)
    _show(offered["url"], args)
    made = _finished(hub, offered["id"], args.timeout)
    if args.json:
        out_json({"id": offered["id"], "url": offered["url"], "state": "done", "connection": made})
    elif made is None:
        out(plain(f"logged in to {args.server}; the account was removed again meanwhile"))
    else:
        account = f" as {made['account'] or made['label']}" if made["account"] or made["label"] else ""
        out(plain(f"logged in to {made['server']}{account} for {holder(made)} ({made['id']})"))
    return 0


def holder(row: Mapping[str, Any]) -> str:
    """Whose account it is, for people."""
    return str(row["user"] or HOLDERS.get(row["holder"], row["holder_id"]))


def _show(url: str, args: argparse.Namespace) -> None:
    if args.json:
        note(f"open {url}")
    else:
        out(url)
    if args.no_browser:
        note("open this address in a browser and log in there; it is good once, for ten minutes")
    elif _open(url):
        note("a browser opens; log in there")
    else:
        note("no browser can be opened from here: open this address in one; it is good once, for ten minutes")


def _open(url: str) -> bool:
    """Never a browser within the terminal: it would take the screen and know no page that needs scripts."""
    has_display = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    is_here = has_display and "SSH_CONNECTION" not in os.environ
    if not is_here and not os.environ.get("BROWSER"):  # editors set it where they open pages on the other machine
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def _finished(hub: Run, id: str, timeout_s: float) -> Any:
    """The account that came of it. Raises Failed."""
    start = monotonic()
    while True:
        wait_s = max(0, min(ASK_S, ceil(start + timeout_s - monotonic())))
        found = api(hub, "GET", f"/connections/logins/{segment(id)}?{urlencode({'wait_s': wait_s})}")
        if found["state"] == "done":
            return found["connection"]
        if found["state"] == "gone":
            raise Failed("nobody logged in while the page was good, or the hub was started again: run this once more")
        if monotonic() - start >= timeout_s:
            raise Failed(f"nobody logged in within {timeout_s:g} s; if somebody still does, it counts")
        note(f"waiting for the login ({monotonic() - start:.0f} s) ...")

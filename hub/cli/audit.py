"""`mcp-hub audit`: the log, as entries come or by call. Works with the hub running or stopped."""

from __future__ import annotations

import argparse
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.admin.audit_file import AuditFile
from hub.cli.failure import Failed
from hub.cli.hub_client import ApiRefused, HubGone, api, segment
from hub.cli.parser import add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import out, out_json, plain

POLL_S: Final = 0.5
LIMIT: Final = 20
PAGE: Final = 1000  # the most that the hub tells at once

Entries = Sequence[Mapping[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    tail = add_verb(verbs, "tail", "the newest entries, oldest first")
    tail.add_argument("--limit", type=_limit, default=LIMIT, metavar="N", help=f"how many (else {LIMIT})")
    tail.add_argument("--follow", action="store_true", help="and those that come, until interrupted")
    tail.set_defaults(run=_tail)
    show = add_verb(verbs, "show", "every entry of one call")
    show.add_argument("call", metavar="CALL", help="a call id: the Hub-Call-Id of an answer, or `call` of an entry")
    show.set_defaults(run=_show)
    for verb in (tail, show):
        add_config(verb)
        add_json(verb)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7 or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 1000000")
    return int(text)


class Log:
    """The log of one place: asked of the hub that runs, else read from the file, at each turn anew."""

    def __init__(self, where: Place) -> None:
        self._where = where
        self._file = AuditFile(where.config.data_dir / "audit.db")

    def newest(self, limit: int) -> Entries:
        """Oldest first."""
        newest = self._ask("?limit=1", lambda: self._file.tail(1))
        seq = int(newest[-1]["seq"]) if newest else 0
        found: list[Mapping[str, Any]] = []
        after = max(0, seq - limit)
        while after < seq and (page := self.after(after)):
            found += page
            after = int(page[-1]["seq"])
        return found[-limit:] if limit else []

    def after(self, seq: int) -> Entries:
        return self._ask(f"?after={seq}&limit={PAGE}", lambda: self._file.after(seq, PAGE))

    def last(self) -> int:
        newest = self._ask("?limit=1", lambda: self._file.tail(1))
        return int(newest[-1]["seq"]) if newest else 0

    def of_call(self, call: str) -> Entries:
        return self._ask(f"/{segment(call)}", lambda: self._file.of_call(call))

    def _ask(self, path: str, read: Any) -> Entries:
        run = self._where.running()
        try:
            if run is not None:
                found: Entries = api(run, "GET", f"/audit{path}")["entries"]
                return found
        except HubGone:  # it stopped this moment: its file stands
            pass
        try:
            entries: Entries = read()
        except (OSError, sqlite3.Error) as exc:
            raise Failed(f"the log cannot be read: {exc}") from exc
        return entries


def _tail(args: argparse.Namespace) -> int:
    log = Log(place(args))
    entries = log.newest(args.limit)
    seq = int(entries[-1]["seq"]) if entries else log.last()
    _print(entries, args.json)
    try:
        while args.follow:
            entries = log.after(seq)
            _print(entries, args.json)
            if entries:
                seq = int(entries[-1]["seq"])
            if len(entries) < PAGE:
                time.sleep(POLL_S)
    except KeyboardInterrupt:  # how a follower is meant to end
        pass
    return 0


def _show(args: argparse.Namespace) -> int:
    try:
        entries = Log(place(args)).of_call(args.call)
    except ApiRefused as refused:
        if refused.http_status != 404:
            raise
        entries = ()
    if not entries:
        raise Failed(f"no entry has the call id {plain(args.call)}")
    if args.json:
        _print(entries, True)
    else:
        for entry in entries:
            for member, value in entry.items():
                out(plain(f"{member:15} {value}"))
            out("")
    return 0


def _print(entries: Entries, as_json: bool) -> None:
    for entry in entries:
        if as_json:
            out_json(entry, indent=None)
        else:
            out(plain(line_of(entry)))


def line_of(entry: Mapping[str, Any]) -> str:
    """One entry on one line, for people."""
    detail = entry.get("detail")
    act = detail.get("act") if isinstance(detail, dict) else None
    subject = entry.get("item") or act or entry.get("method") or "-"
    took = f"{entry['ms']:.0f} ms" if isinstance(entry.get("ms"), int | float) else ""
    words = (
        f"{entry.get('seq')!s:>6}",
        str(entry.get("at")),
        f"{entry.get('kind')!s:6}",
        f"{entry.get('who')!s:16}",
        f"{subject!s:40}",
        f"{entry.get('outcome')!s:14}",
        f"{took:>8}",
        str(entry.get("call")),
    )
    return " ".join(words)

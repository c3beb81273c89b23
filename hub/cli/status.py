"""`mcp-hub status`: the hub's servers, calls, denials and times, once or live. Starts no hub."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from hub.cli.failure import FAILED, Failed
from hub.cli.hub_client import HubGone, api
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import out, out_json, plain, table

EVERY_S: Final = 1.0
_HEAD: Final = ("SERVER", "STATE", "CALLS", "DENIED", "ERRORS", "CALLS/MIN", "P50 MS", "P95 MS", "WHY")
_CLEAR: Final = "\x1b[H\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="every second anew, until interrupted; one line of JSON where no one looks"
    )
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    where = place(args)
    if args.watch:
        return _watch(where, args.json or not sys.stdout.isatty())
    found = _traffic(where)
    if args.json:
        out_json(found)
    else:
        for line in lines_of(found, datetime.now(UTC)):
            out(line)
    return 0 if found["running"] else FAILED


def _traffic(where: Place) -> dict[str, Any]:
    """What the hub tells, or that there is none: no failure while somebody watches it restart."""
    run = where.running()
    if run is not None:
        try:
            return {"running": True, "pid": run.pid, "url": run.url, **api(run, "GET", "/traffic")}
        except HubGone:  # it stops at this moment
            pass
    return {"running": False, "data_dir": str(where.config.data_dir)}


def _watch(where: Place, as_json: bool) -> int:
    try:
        while True:
            try:
                found = _traffic(where)
            except Failed as failed:
                found = {"running": False, "error": str(failed)}
            now = datetime.now(UTC)
            if as_json:
                out_json({"at": now.isoformat(timespec="seconds").replace("+00:00", "Z"), **found}, indent=None)
            else:
                _redraw(lines_of(found, now))
            time.sleep(EVERY_S)
    except KeyboardInterrupt:  # how a watcher is meant to end
        return 0


def _redraw(lines: Sequence[str]) -> None:
    """As much as fits the screen, written at once so that nothing flickers."""
    width, height = shutil.get_terminal_size()
    shown = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    if len(shown) >= height:
        shown = [*shown[: max(1, height - 2)], f"... {len(lines) - max(1, height - 2)} more lines"]
    sys.stdout.write(_CLEAR + "\n".join(shown) + "\n")
    sys.stdout.flush()


def lines_of(found: dict[str, Any], now: datetime) -> list[str]:
    """For people."""
    if not found["running"]:
        why = found.get("error") or f"no hub runs on {found['data_dir']}; start one: mcp-hub serve"
        return [plain(why)]
    total, reloaded = found["total"], found["reloaded_at"]
    states: dict[str, int] = {}
    for row in found["servers"]:
        states[row["state"]] = states.get(row["state"], 0) + 1
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none"
    head = [
        plain(f"mcp-hub {found['version']} at {found['url']} (process {found['pid']})"),
        f"up {_since(found['started_at'], now)}, configuration read "
        + (f"{_since(reloaded, now)} ago" if reloaded else "at the start"),
        f"servers: {counted}",
        *(plain(f"not in force: {text}") for text in found["trouble"]),
        "",
    ]
    rows = [_cells(row["id"], row["state"], row["reason"], row) for row in found["servers"]]
    return [*head, *table(_HEAD, [*rows, _cells("all", "", "with lists", total)])]


def _cells(id: str, state: str, why: str, row: dict[str, Any]) -> tuple[object, ...]:
    minute = row["last_minute"]
    return (
        *(id, state, row["calls"], row["denied"], row["errors"], minute["calls"]),
        *(_ms(minute["p50_ms"]), _ms(minute["p95_ms"]), why),
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _since(text: str, now: datetime) -> str:
    """`3d 4h`, `4h 5m`, `5m 6s`: the two largest units."""
    seconds = max(0, int((now - datetime.fromisoformat(text)).total_seconds()))
    parts = [
        f"{amount}{unit}"
        for amount, unit in (
            (seconds // 86_400, "d"),
            (seconds // 3600 % 24, "h"),
            (seconds // 60 % 60, "m"),
            (seconds % 60, "s"),
        )
    ]
    first = next((place for place, part in enumerate(parts) if part[0] != "0"), 3)
    return " ".join(parts[first : first + 2])

"""`mcp-hub keys`: through the running hub, which is effective at once, else on the stores themselves."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hub.admin.keys import KeyDesk
from hub.audit.writer import AuditLog
from hub.cli.failure import Failed
from hub.cli.hub_client import api, segment
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain, waiting
from hub.core.errors import HubError
from hub.identity.keys import Keys
from hub.running import DataDir, Held, Run, StartRefused
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.keys import SqliteKeys

WHO: Final = "local:admin"
LOCK_S: Final = 5.0  # another verb at work on the same directory is gone by then

Act = Callable[[KeyDesk], Awaitable[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="a new key, shown once")
    create.add_argument("--name", required=True, help="what the log calls it (key:NAME)")
    create.add_argument(
        "--scope", action="append", metavar="SCOPE", help="mcp (the default), admin or audit:read; may be repeated"
    )
    create.add_argument(
        "--server", action="append", metavar="ID", help="a server it may use ('*': all); may be repeated"
    )
    create.add_argument("--tool", action="append", metavar="GLOB", help="public tool names it may use; may be repeated")
    create.add_argument("--expires", metavar="TIME", help="such as 30d, 12h or 90m; else it does not expire")
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="every key ever made")
    listing.set_defaults(run=_list)
    revoke = verbs.add_parser("revoke", help="make a key worthless at once")
    revoke.add_argument("key", metavar="KEY", help="its id or name")
    revoke.set_defaults(run=_revoke)
    for verb in (create, listing, revoke):
        add_config(verb)
        add_json(verb)


def _create(args: argparse.Namespace) -> int:
    wish = {
        "name": args.name,
        "scopes": args.scope,
        "servers": args.server,
        "tools": args.tool,
        "expires": args.expires,
    }
    made = {member: value for member, value in wish.items() if value is not None}
    found = _do(
        place(args),
        lambda run: api(run, "POST", "/keys", made),
        lambda desk: desk.create(WHO, made),
    )
    for warning in found.pop("warnings"):
        note(f"warning: {plain(warning)}")
    if args.json:
        out_json(found)
    else:
        note(f"the key {found['name']} ({found['id']}) is shown this once; keep it where secrets are kept")
        out(found["key"])
    return 0


def _list(args: argparse.Namespace) -> int:
    async def rows(desk: KeyDesk) -> Any:
        return {"keys": desk.rows()}

    found = _do(place(args), lambda run: api(run, "GET", "/keys"), rows, writes=False)
    if args.json:
        out_json(found)
        return 0
    cells = [
        (
            key["id"],
            key["name"],
            key["state"],
            ",".join(key["scopes"]),
            "-" if key["servers"] is None else ",".join(key["servers"]),
            "-" if key["tools"] is None else ",".join(key["tools"]),
            key["expires_at"] or "never",
        )
        for key in found["keys"]
    ]
    out_table(("ID", "NAME", "STATE", "SCOPES", "SERVERS", "TOOLS", "EXPIRES"), cells)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    found = _do(
        place(args),
        lambda run: api(run, "DELETE", f"/keys/{segment(args.key)}"),
        lambda desk: desk.revoke(WHO, args.key),
    )
    if args.json:
        out_json(found)
    else:
        out(f"revoked {found['name']} ({found['id']})")
    return 0


def _do(where: Place, online: Callable[[Run], Any], offline: Act, *, writes: bool = True) -> Any:
    """One act, by the hub that runs or without one. Raises Failed."""
    run = where.running()
    with waiting("waiting for the hub"):
        if run is not None:
            return online(run)
        try:
            return asyncio.run(_without_hub(where, offline, writes))
        except Held as held:
            run = where.running()  # a hub started in between
            if run is not None:
                return online(run)
            raise Failed(str(held)) from held
        except (StartRefused, HubError, ValueError) as exc:
            raise Failed(str(exc)) from exc


async def _without_hub(where: Place, act: Act, writes: bool) -> Any:
    """On the stores, which no hub may open meanwhile; logged like any other administrative act."""
    config = where.config
    data = DataDir(config.data_dir)
    await asyncio.to_thread(data.lock, "mcp-hub keys", LOCK_S)
    try:
        database = await open_database(config.data_dir / "hub.db")
        try:
            keys = Keys(SqliteKeys(database))
            await keys.load()
            journal = AuditLog(
                config.data_dir / "audit.db", policy_version=config.policy_version, hmac_key=data.key("audit-hmac")
            )
            if writes:
                await journal.start()
            try:
                return await act(KeyDesk(keys, journal, tuple(spec.id for spec in config.servers)))
            finally:
                await journal.aclose()
        finally:
            await database.aclose()
    finally:
        data.unlock()

"""`mcp-hub keys`: through the running hub, which is effective at once, else on the stores themselves."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

from hub.admin.keys import OVERLAP, KeyDesk, parse_overlap
from hub.cli.hub_client import api, every, segment
from hub.cli.parser import add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain
from hub.cli.stores import WHO, Stores, either
from hub.identity.keys import Keys
from hub.running import Run
from hub.stores.sqlite.keys import SqliteKeys

Act = Callable[[KeyDesk], Awaitable[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    create = add_verb(verbs, "create", "a new key, shown once")
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
    listing = add_verb(verbs, "list", "every key ever made")
    listing.set_defaults(run=_list)
    rotate = add_verb(verbs, "rotate", "a successor with the same name and grants, shown once")
    rotate.add_argument("key", metavar="KEY", help="its id or name")
    rotate.add_argument("--overlap", metavar="TIME", default=OVERLAP, help=f"both are good so long ({OVERLAP})")
    rotate.add_argument("--expires", metavar="TIME", help="of the new one; else it lives as long as the old one did")
    rotate.set_defaults(run=_rotate)
    revoke = add_verb(verbs, "revoke", "make a key worthless at once")
    revoke.add_argument("key", metavar="KEY", help="its id or name")
    revoke.set_defaults(run=_revoke)
    for verb in (create, listing, rotate, revoke):
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

    found = _do(place(args), lambda run: {"keys": every(run, "/keys", "keys")}, rows, writes=False)
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
            key["last_used_at"] or "never",
            f"by {key['replaced_by']}" if key["replaced_by"] else "",
        )
        for key in found["keys"]
    ]
    out_table(("ID", "NAME", "STATE", "SCOPES", "SERVERS", "TOOLS", "EXPIRES", "LAST USED", "REPLACED"), cells)
    for key in found["keys"]:
        if key["expires_soon"]:
            note(f"{key['name']} ({key['id']}) expires at {key['expires_at']}: mcp-hub keys rotate {key['name']}")
    return 0


def _rotate(args: argparse.Namespace) -> int:
    wish = {"overlap": args.overlap} | ({"expires": args.expires} if args.expires is not None else {})
    found = _do(
        place(args),
        lambda run: api(run, "POST", f"/keys/{segment(args.key)}/rotate", wish),
        lambda desk: desk.rotate(WHO, args.key, parse_overlap(args.overlap), args.expires),
    )
    if args.json:
        out_json(found)
        return 0
    old = found["replaces"]
    note(f"the key {found['name']} ({found['id']}) is shown this once; keep it where secrets are kept")
    note(f"the old one ({old['id']}) is good until {old['expires_at']}")
    out(found["key"])
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
        for id in (found["id"], *found["also_revoked"]):
            out(f"revoked {found['name']} ({id})")
    return 0


def _do(where: Place, online: Callable[[Run], Any], offline: Act, *, writes: bool = True) -> Any:
    """One act, by the hub that runs or without one. Raises Failed."""

    async def on_stores(stores: Stores) -> Any:
        keys = Keys(SqliteKeys(stores.database))
        await keys.load()
        return await offline(KeyDesk(keys, stores.journal, tuple(spec.id for spec in where.config.servers)))

    return either(where, "mcp-hub keys", online, on_stores, writes=writes)

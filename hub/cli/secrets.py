"""`mcp-hub secrets`: through the running hub, which is effective at once, else on the stores themselves.

A value comes from a prompt without echo or from standard input, never from the command line, and is never shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from getpass import getpass
from typing import Any, Final

from hub.admin.secrets import SecretDesk
from hub.cli.failure import USAGE, Failed
from hub.cli.hub_client import api, every, segment
from hub.cli.parser import add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain
from hub.cli.stores import WHO, Stores, either
from hub.config_secrets import referred
from hub.identity.kek import KekFile, VaultSealed
from hub.running import Run
from hub.stores.sqlite.registry import SqliteRegistry
from hub.stores.sqlite.secrets import SqliteSecrets

TENANT: Final = "local"
MAX_INPUT: Final = 64 * 1024

Act = Callable[[SecretDesk], Awaitable[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    put = add_verb(verbs, "set", "store a value, asked for without echo or read from standard input")
    put.add_argument("name", metavar="NAME", help="what secret:NAME in a server's entry stands for")
    put.add_argument("given", nargs="*", help=argparse.SUPPRESS)  # refused without being shown
    put.set_defaults(run=_set)
    listing = add_verb(verbs, "list", "names, versions, ages and who uses them; never a value")
    listing.set_defaults(run=_list)
    remove = add_verb(verbs, "remove", "forget one")
    remove.add_argument("name", metavar="NAME", help="as `secrets list` prints it")
    remove.add_argument("--force", action="store_true", help="even while servers refer to it")
    remove.set_defaults(run=_remove)
    rekey = add_verb(verbs, "rekey", "seal all of them under a new key")
    rekey.set_defaults(run=_rekey)
    for verb in (put, listing, remove, rekey):
        add_config(verb)
        add_json(verb)


def _set(args: argparse.Namespace) -> int:
    if args.given:
        raise Failed(
            "a value on the command line is seen by other users and kept by the shell: replace it at its origin, "
            f"then run mcp-hub secrets set {plain(args.name)} and paste it when asked, or pipe it in",
            USAGE,
        )
    where, value = place(args), _value(args.name)
    found = _do(
        where,
        lambda run: api(run, "PUT", f"/secrets/{segment(args.name)}", {"value": value}),
        lambda desk: desk.put(WHO, args.name, value),
    )
    return _told(args, found, f"stored {found['name']}, version {found['version']}")


def _list(args: argparse.Namespace) -> int:
    async def rows(desk: SecretDesk) -> Any:
        return desk.rows()

    found = _do(place(args), lambda run: every(run, "/secrets", "secrets"), rows, writes=False)
    if args.json:
        out_json({"secrets": found})
        return 0
    now = datetime.now(UTC)
    cells = [
        (row["name"], row["version"], _age(row["updated_at"], now), row["created_at"], ", ".join(row["used_by"]))
        for row in found
    ]
    out_table(("NAME", "VERSION", "AGE", "CREATED", "USED BY"), cells)
    return 0


def _remove(args: argparse.Namespace) -> int:
    query = "?force=true" if args.force else ""
    found = _do(
        place(args),
        lambda run: api(run, "DELETE", f"/secrets/{segment(args.name)}{query}"),
        lambda desk: desk.remove(WHO, args.name, force=args.force),
    )
    return _told(args, found, f"removed {found['name']}")


def _rekey(args: argparse.Namespace) -> int:
    found = _do(place(args), lambda run: api(run, "POST", "/secrets/rekey"), lambda desk: desk.rekey(WHO))
    if args.json:
        out_json(found)
    else:
        out(f"{found['secrets']} secrets are sealed under the new key {found['kek']}")
        note("backups made before hold the old key: they open what they hold, and nothing that is stored from now on")
    return 0


def _told(args: argparse.Namespace, found: dict[str, Any], words: str) -> int:
    for warning in found["warnings"]:
        note(f"warning: {plain(warning)}")
    if args.json:
        out_json(found)
    else:
        out(words)
    return 0


def _value(name: str) -> str:
    """Raises Failed, which never holds it."""
    if sys.stdin.isatty():
        try:
            value = getpass(f"value of {plain(name)} (not shown): ", sys.stderr)
        except EOFError:
            value = ""
        if not value:
            raise Failed("nothing was entered, nothing was stored", USAGE)
        return value
    data = sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise Failed(f"standard input holds more than {MAX_INPUT} bytes; this is no secret", USAGE)
    try:
        value = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Failed("standard input holds no UTF-8 text", USAGE) from None
    if not value:
        raise Failed("standard input is empty: pipe the value in, or run this in a terminal and be asked", USAGE)
    return value


def _age(at: str, now: datetime) -> str:
    minutes = max(0, int((now - datetime.fromisoformat(at)).total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


def _do(where: Place, online: Callable[[Run], Any], offline: Act, *, writes: bool = True) -> Any:
    """One act, by the hub that runs or without one. Raises Failed."""

    async def on_stores(stores: Stores) -> Any:
        from hub.identity.vault import Vault  # the cryptography is needed only here

        vault = Vault(SqliteSecrets(stores.database), KekFile(stores.data_dir / "kek"))
        try:
            await vault.load()
        except VaultSealed as exc:  # what cannot be opened can still be listed, removed and replaced
            note(f"warning: {exc}")
        uses = {name: set(ids) for name, ids in where.config.secret_uses.items()}
        for row in await SqliteRegistry(stores.database).all(TENANT):
            for name in referred(row.body):
                uses.setdefault(name, set()).add(row.id)
        shown = {name: sorted(ids) for name, ids in uses.items()}
        return await offline(SecretDesk(vault, stores.journal, lambda: shown))

    return either(where, "mcp-hub secrets", online, on_stores, writes=writes)

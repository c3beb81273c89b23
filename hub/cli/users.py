"""`mcp-hub users`: through the running hub, which is effective at once, else on the stores themselves.

A password comes from a prompt without echo or from standard input, never from the command line, and is never shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from getpass import getpass
from pathlib import Path
from time import time
from typing import Any, Final

from hub.admin.operation import LARGE_BODY
from hub.admin.user_desk import UserDesk
from hub.cli.failure import USAGE, Failed
from hub.cli.hub_client import api, every, segment
from hub.cli.parser import add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, out_table, plain
from hub.cli.stores import WHO, Stores, either
from hub.core.accounts import GrantRow, GrantStore
from hub.identity.roles import Roles
from hub.identity.users import TENANT, Users
from hub.running import Run
from hub.stores.sqlite.grants import SqliteGrants
from hub.stores.sqlite.users import SqliteUsers

MAX_PASSWORD: Final = 4096  # bytes of standard input

Act = Callable[[UserDesk], Awaitable[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    add = _verb(verbs, "add", "a new user, with a password that is asked for", _add)
    add.add_argument("--role", action="append", metavar="ROLE", help="admin, auditor, member (the default) or your own")
    add.add_argument("--group", action="append", metavar="GROUP", help="may be repeated")
    add.add_argument("--email", metavar="ADDRESS", help="shown to administrators")
    add.add_argument("--display", metavar="TEXT", help="the name that people read")
    _add_password(add)
    listing = add_verb(verbs, "list", "every user, disabled ones too")
    listing.set_defaults(run=_list)
    _verb(verbs, "show", "one user", _show)
    passwd = _verb(verbs, "passwd", "another password; what the user has open ends", _passwd)
    _add_password(passwd)
    roles = _verb(verbs, "roles", "other roles, in place of those there are", _roles)
    roles.add_argument("roles", nargs="+", metavar="ROLE", help="admin, auditor, member or your own")
    _verb(verbs, "disable", "nobody logs in as this user, and what is open ends", _disable)
    _verb(verbs, "enable", "with the password and roles as before", _enable)
    taking = add_verb(verbs, "import", "make users be as a file says, all of it or nothing")
    taking.add_argument("file", metavar="FILE", help='{"Resources": [...]} as SCIM lists users; - is standard input')
    taking.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    taking.set_defaults(run=_import)
    _verb(verbs, "sessions", "the programs that this user let in", _sessions)
    logout = _verb(verbs, "logout", "end one of these, or all", _logout)
    logout.add_argument("grant", nargs="?", metavar="GRANT", help="as `users sessions` prints it; all without it")
    invite = add_verb(verbs, "invite", "a link that makes the first user, in a browser")
    invite.set_defaults(run=_invite)
    for verb in verbs.choices.values():
        add_config(verb)
        add_json(verb)


def _verb(verbs: Any, name: str, summary: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    made = add_verb(verbs, name, summary)
    made.add_argument(
        "name", metavar="NAME", help="what is typed at the login page" + ("" if name == "add" else ", or id")
    )
    made.set_defaults(run=run)
    return made


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin", action="store_true", help="the password is the first line of standard input"
    )


def _add(args: argparse.Namespace) -> int:
    given = {"roles": args.role, "groups": args.group, "email": args.email, "display": args.display}
    where, password = place(args), _password(args)
    wish = {
        "name": args.name,
        "password": password,
        **{key: value for key, value in given.items() if value is not None},
    }
    found = _do(where, lambda run: api(run, "POST", "/users", wish), lambda desk: desk.create(WHO, wish))
    return _told(args, found, f"added {found['name']} ({found['id']}) with {_roles_of(found)}")


def _invite(args: argparse.Namespace) -> int:
    run = place(args).running()
    if run is None:
        raise Failed("no hub is running that could show the page: start it, or run mcp-hub users add NAME")
    found = api(run, "POST", "/users/invite")
    if args.json:
        out_json(found)
    else:
        out(found["url"])
        note("whoever opens this within a day becomes the first user, an administrator")
    return 0


def _list(args: argparse.Namespace) -> int:
    async def rows(desk: UserDesk) -> Any:
        return desk.rows()

    found = _do(place(args), lambda run: every(run, "/users", "users"), rows, writes=False)
    if args.json:
        out_json({"users": found})
        return 0
    cells = [
        (
            *(user["name"], _state(user), ",".join(user["roles"]), ",".join(user["groups"])),
            *(user["display"], user["email"], user["id"]),
        )
        for user in found
    ]
    out_table(("NAME", "STATE", "ROLES", "GROUPS", "DISPLAY", "EMAIL", "ID"), cells)
    return 0


def _show(args: argparse.Namespace) -> int:
    async def row(desk: UserDesk) -> Any:
        return desk.show(args.name)

    found = _do(place(args), lambda run: api(run, "GET", _path(args)), row, writes=False)
    if args.json:
        out_json(found)
        return 0
    attributes = ", ".join(f"{name}={value}" for name, value in found["attributes"].items())
    lines = {
        "name": found["name"],
        "id": found["id"],
        "state": _state(found),
        "roles": ", ".join(found["roles"]),
        "groups": ", ".join(found["groups"]),
        "display": found["display"],
        "email": found["email"],
        "attributes": attributes,
        "one-time codes": "set up" if found["otp"] else "not set up",
        "created": found["created_at"],
    }
    for label, value in lines.items():
        out(f"{label:<16}{plain(value or '-')}")
    return 0


def _passwd(args: argparse.Namespace) -> int:
    where, password = place(args), _password(args)
    found = _do(
        where,
        lambda run: api(run, "PUT", f"{_path(args)}/password", {"password": password}),
        lambda desk: desk.set_password(WHO, args.name, password),
    )
    return _told(args, found, f"{found['name']} has another password; what was open has ended")


def _roles(args: argparse.Namespace) -> int:
    wish = {"roles": args.roles}
    found = _do(
        place(args),
        lambda run: api(run, "PATCH", _path(args), wish),
        lambda desk: desk.change(WHO, args.name, wish),
    )
    return _told(args, found, f"{found['name']} has {_roles_of(found)}")


def _disable(args: argparse.Namespace) -> int:
    found = _do(
        place(args),
        lambda run: api(run, "POST", f"{_path(args)}/disable"),
        lambda desk: desk.disable(WHO, args.name),
    )
    return _told(args, found, f"disabled {found['name']}; what was open has ended")


def _enable(args: argparse.Namespace) -> int:
    found = _do(
        place(args),
        lambda run: api(run, "POST", f"{_path(args)}/enable"),
        lambda desk: desk.enable(WHO, args.name),
    )
    return _told(args, found, f"enabled {found['name']}")


def _import(args: argparse.Namespace) -> int:
    where, document = place(args), _document(args.file)
    query = "?dry_run=true" if args.dry_run else ""
    found = _do(
        where,
        lambda run: api(run, "POST", f"/users/import{query}", document),
        lambda desk: desk.take(WHO, document, dry_run=args.dry_run),
        writes=not args.dry_run,
    )
    if args.json:
        out_json(found)
        return 0
    changed = [(step["act"], step["user"], step["id"]) for step in found["users"] if step["act"] != "unchanged"]
    if changed:
        out_table(("DONE" if not args.dry_run else "WOULD BE", "USER", "ID"), changed)
    note(", ".join(f"{count} {act}" for act, count in found["counts"].items()) + _dry(args))
    return 0


def _sessions(args: argparse.Namespace) -> int:
    async def rows(desk: UserDesk) -> Any:
        return desk.grants(args.name)

    found = _do(place(args), lambda run: every(run, f"{_path(args)}/grants", "grants"), rows, writes=False)
    if args.json:
        out_json({"grants": found})
        return 0
    cells = [
        (
            *(grant["id"], grant["client_name"], grant["resource"], " ".join(grant["scopes"])),
            *(grant["created_at"], grant["used_at"] or "never", grant["expires_at"]),
        )
        for grant in found
    ]
    out_table(("GRANT", "PROGRAM", "AT", "SCOPES", "SINCE", "LAST USED", "ENDS"), cells)
    return 0


def _logout(args: argparse.Namespace) -> int:
    which = "" if args.grant is None else f"/{segment(args.grant)}"
    found = _do(
        place(args),
        lambda run: api(run, "DELETE", f"{_path(args)}/grants{which}"),
        lambda desk: desk.end(WHO, args.name, args.grant),
    )
    ended = len(found["ended"])
    return _told(args, found, f"ended {ended} of {found['user']}" if ended else f"{found['user']} had nothing open")


def _told(args: argparse.Namespace, found: dict[str, Any], words: str) -> int:
    if args.json:
        out_json(found)
    else:
        out(plain(words))
    return 0


def _path(args: argparse.Namespace) -> str:
    return f"/users/{segment(args.name)}"


def _state(user: dict[str, Any]) -> str:
    if user["disabled_at"] is not None:
        return "disabled"
    return "active" if user["password"] or user["issuer"] else "no password"


def _roles_of(user: dict[str, Any]) -> str:
    return f"the roles {', '.join(user['roles'])}" if user["roles"] else "no role"


def _dry(args: argparse.Namespace) -> str:
    return " (nothing was done: --dry-run)" if args.dry_run else ""


def _password(args: argparse.Namespace) -> str:
    """Raises Failed, which never holds it."""
    if args.password_stdin:
        data = sys.stdin.buffer.readline(MAX_PASSWORD + 1)
        if len(data) > MAX_PASSWORD:
            raise Failed(f"standard input holds more than {MAX_PASSWORD} bytes; this is no password", USAGE)
        try:
            password = data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise Failed("standard input holds no UTF-8 text", USAGE) from None
        if not password:
            raise Failed("standard input is empty: pipe the password in", USAGE)
        return password
    if not sys.stdin.isatty():
        raise Failed("run this in a terminal to be asked for the password, or pipe it in with --password-stdin", USAGE)
    try:
        password = getpass(f"password of {plain(args.name)} (not shown): ", sys.stderr)
        again = getpass("once more: ", sys.stderr) if password else ""
    except EOFError:
        password = again = ""
    if not password:
        raise Failed("nothing was entered, nothing was changed", USAGE)
    if password != again:
        raise Failed("these were two different passwords, nothing was changed", USAGE)
    return password


def _document(path: str) -> Any:
    """Raises Failed, in words."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(LARGE_BODY + 1)
        else:
            with Path(path).expanduser().open("rb") as file:
                data = file.read(LARGE_BODY + 1)
    except OSError as exc:
        raise Failed(f"{path} cannot be read: {exc.strerror}", USAGE) from exc
    if len(data) > LARGE_BODY:
        raise Failed(f"{path} is larger than {LARGE_BODY} bytes: cut it into several files", USAGE)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Failed(f"{path} holds no JSON", USAGE) from None


class StoredGrants:
    """`hub.admin.user_desk.Grants` where no hub runs: there is no token in use to be told of."""

    def __init__(self, store: GrantStore, rows: Sequence[GrantRow]) -> None:
        self._store, self._rows = store, rows

    def grants_of(self, user: str, /) -> Sequence[GrantRow]:
        now = time()
        return [row for row in self._rows if row.user == user and row.revoked_at is None and row.expires_at > now]

    async def end(self, ids: Sequence[str], reason: str, /) -> None:
        await self._store.revoke(TENANT, ids, time(), reason)

    async def end_user(self, user: str, reason: str, /) -> None:
        await self.end([row.id for row in self._rows if row.user == user], reason)


def _do(where: Place, online: Callable[[Run], Any], offline: Act, *, writes: bool = True) -> Any:
    """One act, by the hub that runs or without one. Raises Failed."""

    async def on_stores(stores: Stores) -> Any:
        users = Users(SqliteUsers(stores.database), Roles(where.config.auth.roles))
        await users.load()
        store = SqliteGrants(stores.database)
        grants = StoredGrants(store, await store.grants(TENANT))
        return await offline(UserDesk(users, grants, stores.journal))

    return either(where, "mcp-hub users", online, on_stores, writes=writes)

"""`mcp-hub servers add|import|show|enable|disable|remove`: through the running hub, else on its stores."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from hub.admin.operation import Refused
from hub.admin.paste.drafts import Rules, one
from hub.admin.paste.secretive import secret_at, secret_value
from hub.admin.registered import imported
from hub.admin.registering import Paste, RegisterDesk, needed
from hub.assembly_live import Live
from hub.cli import asking, bundles
from hub.cli.failure import FAILED, USAGE, Failed
from hub.cli.hub_client import api, seen, segment
from hub.cli.parser import Parser, add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, plain, waiting
from hub.cli.stores import WHO, Stores, either
from hub.config import Config
from hub.core.ports import Conflict
from hub.running import Run
from hub.stores.sqlite.registry import SqliteRegistry
from hub.stores.sqlite.secrets import SqliteSecrets

IMPORT_S: Final = 300.0
TRY_S: Final = 180.0
MAX_PASTE: Final = 1024 * 1024

Act = Callable[[RegisterDesk], Awaitable[Any]]


class VerbParser(Parser):
    """What stands behind `--` is the command to register, wherever the options stand before it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = list(args or ())
        if self.get_default("command") is None or "--" not in given:
            return super().parse_known_args(given, namespace)
        cut = given.index("--")
        found, unknown = super().parse_known_args(given[:cut], namespace)
        found.command = given[cut + 1 :]
        return found, unknown


def add_verbs(verbs: Any) -> None:
    """To the verbs of `mcp-hub servers`."""
    made = [_add_arguments(verbs), _import_arguments(verbs)]
    for verb in made:
        asking.add_values(verb)
        verb.add_argument("--dry-run", action="store_true", help="start it, show what it offers, change nothing")
        verb.add_argument("--allow-command", action="store_true", help="programs beyond the usual launchers")
    for name, act, summary in (
        ("show", _show, "how one server is configured; never a secret"),
        ("enable", _switch, "switch a server on"),
        ("disable", _switch, "switch a server off"),
        ("remove", _remove, "remove a registered server, with its own secrets"),
    ):
        verb = add_verb(verbs, name, summary)
        verb.add_argument("server", metavar="ID", help="as `servers list` prints it")
        verb.set_defaults(run=act, verb=name)
        made.append(verb)
    for verb in made:
        add_config(verb)
        add_json(verb)


def _add_arguments(verbs: Any) -> argparse.ArgumentParser:
    usage = "mcp-hub servers add ID [options] (--url URL | -- COMMAND ARG...)"
    add = add_verb(verbs, "add", "register one server: -- COMMAND ARG..., or --url URL", usage=usage)
    add.add_argument("server", metavar="ID", help="lower case letters, digits and -, at most 24")
    add.add_argument("--url", help="the address of a remote server")
    add.add_argument("--transport", choices=("stdio", "http", "sse"), help="what it speaks; else found out")
    add.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]", help="without a value: asked for")
    add.add_argument(
        "--header", action="append", default=[], metavar="NAME[: VALUE]", help="without a value: asked for"
    )
    add.add_argument("--cwd", metavar="DIR", help="where it is started")
    add.add_argument("--pins", choices=("off", "warn", "quarantine"), help="what to do about changed definitions")
    add.add_argument("--trusted", action="store_true", help="believe its hints, such as read-only")
    add.add_argument("--disabled", action="store_true", help="register it, and leave it off")
    add.set_defaults(run=_add, command=[])
    return add


def _import_arguments(verbs: Any) -> argparse.ArgumentParser:
    take = add_verb(verbs, "import", "register every server of a paste, a file or a .mcpb bundle")
    take.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="a paste or a bundle; - (the default) is standard input"
    )
    take.add_argument("--name", metavar="ID", help="of a server that has none")
    take.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="another name; may be repeated")
    take.add_argument("--replace", action="store_true", help="also what is registered already and differs")
    take.add_argument("--sha256", metavar="HEX", help="the SHA-256 that a bundle must have")
    take.set_defaults(run=_import)
    return take


def _add(args: argparse.Namespace) -> int:
    entry, values = _entry(args), asking.given(args)
    draft = one(args.server, entry, Rules(values, args.allow_command, own=True))
    if draft.fault is not None:
        raise Failed(f"{plain(args.server)}: {plain(draft.fault)}")
    values |= asking.ask([needed(each) for each in draft.needs])
    rules = Rules(values, args.allow_command, own=True)
    left = one(args.server, entry, rules).needs
    if left:
        raise Failed("\n".join(("it needs more:", *(_how(needed(each)) for each in left))), USAGE)
    where = place(args)
    if args.dry_run:
        text = json.dumps({"mcpServers": {args.server: entry}})
        return _tried(args, where, {"text": text, "values": values, "allow_command": args.allow_command})
    body = {"id": args.server, "entry": entry, "values": values, "allow_command": args.allow_command}
    found = _do(
        where,
        lambda run: api(run, "POST", "/servers", body),
        lambda desk: desk.add(WHO, args.server, entry, rules),
    )
    for warning in found["warnings"]:
        note(f"warning: {plain(warning)}")
    return _done(args, where, found, f"added {found['id']}; see mcp-hub servers test {found['id']}")


def _entry(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says, as an entry with holes. Raises Failed for a secret that stands in it."""
    if bool(args.url) == bool(args.command):
        raise Failed("say what to register: --url URL, or -- COMMAND ARG...", USAGE)
    entry: dict[str, Any] = {}
    for before, arg in zip(("", *args.command), args.command, strict=False):
        flag, assigned, value = arg.partition("=")
        named = flag if assigned else before if before.startswith("-") else ""
        if "${" not in arg and not arg.startswith("-") and secret_at(named, arg):
            raise _exposed("an argument")
        if assigned and "${" not in value and secret_at(flag, value):
            raise _exposed(flag)
    if args.command:
        entry = {"command": args.command[0], "args": args.command[1:]}
    else:
        if "${" not in args.url and secret_value(args.url):
            raise _exposed("the URL")
        entry = {"url": args.url}
    if args.transport is not None:
        entry["type"] = args.transport
    env = dict(_setting(text, "=") for text in args.env)
    headers = dict(_setting(text, ":") for text in args.header)
    more = {"env": env, "headers": headers, "cwd": args.cwd and os.path.abspath(args.cwd), "pins": args.pins}
    entry |= {key: value for key, value in more.items() if value}
    if args.trusted:
        entry["trusted"] = True
    if args.disabled:
        entry["enabled"] = False
    return entry


def _setting(text: str, sign: str) -> tuple[str, str]:
    name, found, value = (part.strip() for part in text.partition(sign))
    if found and "${" not in value and value.lower() not in ("bearer", "basic", "token") and secret_at(name, value):
        raise _exposed(name)
    if not found or not value:
        return name, f"${{{name}}}"
    return name, f"{value} ${{{name}}}" if value.lower() in ("bearer", "basic", "token") else value


def _exposed(what: str) -> Failed:
    return Failed(
        f"{plain(what)} holds a secret: other users can read a command line. Replace it at its origin, then write "
        "${NAME} in its place (in single quotes), or leave the value of --env or --header out, and be asked for it",
        USAGE,
    )


def _import(args: argparse.Namespace) -> int:
    where = place(args)
    text = _text(args, where)
    values = asking.given(args, stdin_taken=args.file == "-")
    body = {
        "text": text,
        "rename": dict(_renamed(each) for each in args.rename),
        "values": values,
        "allow_command": args.allow_command,
        **({"name": args.name} if args.name else {}),
    }
    looked = _take(where, {**body, "replace": args.replace, "check": True})
    needs = [need for row in looked["servers"] for need in row["needs"]]
    answers = asking.ask(needs)
    body["values"] = {**values, **answers}
    if args.dry_run:
        return _tried(args, where, body)
    found = _take(where, {**body, "replace": args.replace}) if _is_work(looked, answers) else looked
    if args.json:
        out_json(found)
    else:
        _report(found)
    return FAILED if found["refused"] else 0


def _is_work(looked: dict[str, Any], answers: dict[str, str]) -> bool:
    return bool(answers) or any(row["outcome"] in ("added", "replaced") for row in looked["servers"])


def _text(args: argparse.Namespace, where: Place) -> str:
    """Raises Failed."""
    path = Path(args.file)
    if args.file != "-" and path.suffix.lower() in bundles.SUFFIXES:
        return bundles.pasted(path, where.config.data_dir, args.sha256)
    if args.sha256 is not None:
        raise Failed("--sha256 is for a .mcpb bundle", USAGE)
    try:
        if args.file == "-":
            if sys.stdin.isatty():
                note("paste the configuration, then press Ctrl-D")
            data = sys.stdin.buffer.read(MAX_PASTE + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_PASTE + 1)
        text = data.decode("utf-8-sig")
    except OSError as exc:
        raise Failed(f"{path}: {exc.strerror}", USAGE) from exc
    except UnicodeDecodeError:
        raise Failed(f"{args.file} is no UTF-8 text", USAGE) from None
    if len(data) > MAX_PASTE or not text.strip():
        raise Failed(f"{args.file} must hold 1 to {MAX_PASTE} bytes", USAGE)
    return text


def _renamed(text: str) -> tuple[str, str]:
    old, found, new = text.rpartition("=")
    if not found or not old or not new:
        raise Failed("--rename wants OLD=NEW", USAGE)
    return old, new


def _take(where: Place, body: dict[str, Any]) -> Any:
    async def offline(desk: RegisterDesk) -> Any:
        return imported(await desk.take(WHO, Paste(**body)))

    return _do(
        where,
        lambda run: api(run, "POST", "/servers/import", body, IMPORT_S),
        offline,
        writes=not body.get("check", False),
    )


def _report(found: dict[str, Any]) -> None:
    for row in found["servers"]:
        name = row["id"] or row["name"]
        problem = f": {row['problem']}" if row["problem"] else ""
        out(plain(f"{row['outcome']} {name}{problem}"))
        for need in row["needs"]:
            out(plain(_how(need)))
        if row["outcome"] in ("added", "replaced"):
            for warning in row["warnings"]:
                note(f"warning: {plain(name)}: {plain(warning)}")
    if len(found["servers"]) > 1:
        note(f"{found['taken']} are in, {found['refused']} are not")


def _how(need: dict[str, Any]) -> str:
    option = f"--secret {need['name']}=env:VARIABLE" if need["secret"] else f"--value {need['name']}=TEXT"
    return f"  give {need['name']} ({need['where']}) in a terminal, or by {option}"


def _tried(args: argparse.Namespace, where: Place, body: dict[str, Any]) -> int:
    """A dry run needs a hub: nothing is started but by its rules."""
    run = where.reach()
    with waiting("starting it for a look"):
        found = api(run, "POST", "/servers/try", body, TRY_S)
    if args.json:
        out_json(found)
    else:
        for row in found["servers"]:
            _look(row)
    return 0 if all(row["outcome"] == "works" for row in found["servers"]) else FAILED


def _look(row: dict[str, Any]) -> None:
    era = f", {row['era']} ({row['revision']})" if row["era"] else ""
    problem = f": {row['problem']}" if row["problem"] else ""
    out(plain(f"{row['id'] or row['name']}: {row['outcome']}{era}{problem}"))
    for tool in row["tools"]:
        hints = ", ".join(hint.removesuffix("Hint") for hint, said in sorted(tool["hints"].items()) if said)
        out(plain(f"  {tool['name']}  {tool['bytes']} bytes{f'  [{hints}]' if hints else ''}"))
    for kind, count in row["items"].items():
        if count and kind != "tool":
            out(f"  {count} {kind}{'s' if count > 1 else ''}")
    if row["tools"]:
        out(f"  {len(row['tools'])} tools, {row['schema_bytes']} bytes of definitions; nothing was changed")
    for line in row["stderr"] if row["outcome"] != "works" else ():
        out(plain(f"  stderr: {line}"))
    for warning in row["warnings"]:
        note(f"warning: {plain(warning)}")


def _show(args: argparse.Namespace) -> int:
    async def offline(desk: RegisterDesk) -> Any:
        return desk.show(args.server)

    found = _do(place(args), lambda run: api(run, "GET", _at(args)), offline, writes=False)
    if args.json:
        out_json(found)
        return 0
    origin = found["provenance"] if found["version"] is None else f"{found['provenance']}, version {found['version']}"
    out(plain(f"{found['id']}: {'enabled' if found['enabled'] else 'disabled'}, from {origin}"))
    if found["updated_at"]:
        out(plain(f"  changed {found['updated_at']} by {found['updated_by']}"))
    if found["entry"] is not None:
        for line in json.dumps(found["entry"], indent=2, ensure_ascii=False).splitlines():
            out(plain(f"  {line}"))
    else:
        out(plain(f"  {found['transport']}; its entry stands in the configuration file"))
    for secret in found["secrets"]:
        if not secret["stored"]:
            note(f"warning: no secret is called {secret['name']}; run: mcp-hub secrets set {secret['name']}")
    for likeness in found["likenesses"]:
        note(f"warning: {plain(likeness['text'])}")
    return 0


def _switch(args: argparse.Namespace) -> int:
    enabled = args.verb == "enable"
    where = place(args)
    found = _do(
        where,
        lambda run: api(run, "POST", f"{_at(args)}/{args.verb}"),
        lambda desk: desk.set_enabled(WHO, args.server, enabled),
    )
    return _done(args, where, found, f"{'enabled' if enabled else 'disabled'} {found['id']}")


def _remove(args: argparse.Namespace) -> int:
    where = place(args)

    def online(run: Run) -> Any:
        _, etag = seen(run, _at(args))
        return api(run, "DELETE", _at(args), if_match=etag)

    async def offline(desk: RegisterDesk) -> Any:
        gone = await desk.remove(WHO, args.server, desk.own(args.server).version)
        return {"removed": args.server, "secrets": gone}

    found = _do(where, online, offline)
    with_it = f", and its secrets {', '.join(found['secrets'])}" if found["secrets"] else ""
    return _done(args, where, found, f"removed {found['removed']}{with_it}")


def _done(args: argparse.Namespace, where: Place, found: Any, words: str) -> int:
    if args.json:
        out_json(found)
    else:
        out(plain(words))
        if where.running() is None:
            note("no hub is running; it is in force when one starts")
    return 0


def _at(args: argparse.Namespace) -> str:
    return f"/servers/{segment(args.server)}"


def _do(where: Place, online: Callable[[Run], Any], offline: Act, *, writes: bool = True) -> Any:
    """One act, by the hub that runs or without one. Raises Failed."""

    async def on_stores(stores: Stores) -> Any:
        from hub.identity.kek import KekFile
        from hub.identity.vault import Vault  # the cryptography is needed only here

        vault = Vault(SqliteSecrets(stores.database), KekFile(stores.data_dir / "kek"))
        await vault.load()
        live = Live(
            where.config,
            SqliteRegistry(stores.database),
            stores.journal,
            _nothing_runs,
            environ=os.environ,
            secrets=vault.get,
        )
        await live.load()
        try:
            return await offline(RegisterDesk(live, vault, stores.journal))
        except (Refused, Conflict) as exc:
            raise Failed(str(exc)) from exc

    return either(where, "mcp-hub servers", online, on_stores, writes=writes)


async def _nothing_runs(config: Config) -> None:
    """What is stored is in force when the next hub starts."""

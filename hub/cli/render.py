"""`mcp-hub render`: what runs the hub under systemd or Docker Compose, with tight defaults. Replaces no file."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from hub import VERSION
from hub.cli.failure import USAGE, Failed
from hub.cli.parser import add_verb
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, plain

PROGRAM: Final = "/opt/mcp-hub/bin/mcp-hub"
CONFIG: Final = "/etc/mcp-hub/hub.yaml"
COMPOSE: Final = ("compose.yaml", "Dockerfile", "hub.yaml")
SYSTEMD: Final = ("mcp-hub.service",)
_PYTHON: Final = frozenset(("python", "python3", "uv", "uvx", "pipx"))  # launchers whose servers write no code
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="TARGET", required=True)
    systemd = add_verb(verbs, "systemd", "a unit with its own state directory and nothing else to write to")
    systemd.add_argument("--program", metavar="PATH", default=PROGRAM, help=f"the installed mcp-hub (else {PROGRAM})")
    systemd.add_argument("--user", metavar="NAME", help="an existing user to run as (else one made by systemd)")
    systemd.set_defaults(run=_systemd)
    compose = add_verb(verbs, "compose", "a read-only container without capabilities, its image, its hub.yaml")
    compose.set_defaults(run=_compose)
    for verb in (systemd, compose):
        verb.add_argument("--out", metavar="DIR", help="write the files there (else they are printed)")
        add_config(verb)
        add_json(verb)


def _systemd(args: argparse.Namespace) -> int:
    if args.user is not None and not _USER.fullmatch(args.user):
        raise Failed("--user must be a user's name", USAGE)
    if not args.program.startswith("/"):
        raise Failed("--program must be a whole path, beginning with /", USAGE)
    values = {
        "program": _word(args.program),
        "config": _word(CONFIG),
        "user": f"User={args.user}" if args.user is not None else "DynamicUser=yes",
        "write_execute": "no" if _writes_code(place(args)) else "yes",
    }
    return _told(rendered(SYSTEMD, values), args)


def _compose(args: argparse.Namespace) -> int:
    port = place(args).config.listen.port
    if port == 0:
        raise Failed("listen has port 0, which is another one at each start: name one for the container", USAGE)
    return _told(rendered(COMPOSE, {"port": str(port)}), args)


def rendered(names: tuple[str, ...], values: Mapping[str, str]) -> dict[str, str]:
    folder = files("hub") / "deploy"
    return {name: Template((folder / name).read_text("utf-8")).substitute(values, version=VERSION) for name in names}


def _word(text: str) -> str:
    """One word of a command in a unit file: quoted, specifiers and variables taken literally."""
    if any(not char.isprintable() for char in text):
        raise Failed("a path in a unit file must be printable", USAGE)
    plainly = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plainly if re.fullmatch(r"[A-Za-z0-9_./@:%$+-]+", plainly) else f'"{plainly}"'


def _writes_code(where: Place) -> bool:
    """Whether a server of the configuration may need memory that is both written and run."""
    commands = (spec.command[0] for spec in where.config.servers if spec.transport == "stdio" and spec.command)
    return any(not _is_python(Path(command).name) for command in commands)


def _is_python(name: str) -> bool:
    return name in _PYTHON or re.fullmatch(r"python3\.\d+", name) is not None


def _told(texts: Mapping[str, str], args: argparse.Namespace) -> int:
    if args.out is None:
        if args.json:
            out_json({"files": dict(texts)})
        elif len(texts) == 1:
            out("".join(texts.values()).rstrip("\n"))
        else:
            out("\n".join(f"# ---- {name}\n{text}" for name, text in texts.items()).rstrip("\n"))
        return 0
    folder = Path(args.out)
    written = _written(texts, folder)
    if args.json:
        out_json({"dir": str(folder), "written": written, "files": dict(texts)})
        return 0
    for name in written:
        out(plain(str(folder / name)))
    if len(written) < len(texts):
        note("the others are there already, just so")
    return 0


def _written(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Nothing is written when one of the files is there with other words. Raises Failed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {name: (folder / name).read_text("utf-8") for name in texts if (folder / name).exists()}
        other = [name for name, text in there.items() if text != texts[name]]
        if other:
            raise Failed(f"{folder / other[0]} exists and differs; move it away, or name another directory")
        missing = [name for name in texts if name not in there]
        for name in missing:
            draft = folder / f".{name}.{os.getpid()}"
            try:
                draft.write_text(texts[name], "utf-8")
                draft.rename(folder / name)
            finally:
                draft.unlink(missing_ok=True)
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it holds other things than text"
        raise Failed(f"{folder} cannot be written: {reason}") from exc
    return missing

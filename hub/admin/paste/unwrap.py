"""Entries that start a program only to reach a URL, and containers whose arguments carry their environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.admin.paste.argv import image_at, split
from hub.admin.paste.logins import login
from hub.admin.paste.pasted import Wrong
from hub.admin.paste.secretive import secret_at
from hub.admin.paste.template import Hole, fill, holes, parse

_BRIDGE = re.compile(r"(?:@[\w-]+/)?mcp-remote(?:@[\w.-]+)?")
_RUNNERS: Final = {"npx": (), "bun": ("x",), "bunx": (), "pnpm": ("dlx",), "yarn": ("dlx",)}
_BRIDGE_VALUES: Final = frozenset(
    re.findall(
        r"\S+",
        "--transport --host --auth-timeout --resource --ignore-tool --header -H "
        "--static-oauth-client-metadata --static-oauth-client-info --authorize-resource",
    )
)


@dataclass(frozen=True, slots=True)
class Unwrapped:
    entry: Mapping[str, Any]  # command, args, env; or url, headers, type
    warnings: tuple[str, ...]


def unwrap(command: str, args: Sequence[str], env: Mapping[str, str]) -> Unwrapped:
    """Raises Wrong for what cannot be done without the program."""
    program, parts, told = split(command, args)
    bridged = _bridge(program, parts, env)
    if bridged is not None:
        return Unwrapped(bridged.entry, (*told, *bridged.warnings))
    known = {name: text for name, text in env.items() if text and not secret_at(name, text)}
    made: dict[str, Any] = {"command": program, "args": [_with_env(arg, known) for arg in parts]}
    environment = dict(env)
    if program == "docker":
        made["args"], environment = _container(made["args"], environment)
    if environment:
        made["env"] = environment
    return Unwrapped(made, told)


def _bridge(program: str, args: Sequence[str], env: Mapping[str, str]) -> Unwrapped | None:
    """`npx mcp-remote URL`: the hub connects to the URL itself."""
    if program not in _RUNNERS:
        return None
    plain = [arg for arg in args if arg not in ("-y", "--yes", *_RUNNERS[program])]
    if not plain or not _BRIDGE.fullmatch(plain[0]):
        return None
    headers: dict[str, str] = {}
    said: dict[str, Any] = {}
    url, kind = "", ""
    warnings = ["mcp-remote is not needed: the hub connects to its URL itself"]
    for flag, value in _options(plain[1:]):
        match flag:
            case "":
                url = url or _with_env(value, env)
            case "--header" | "-H":
                name, _, text = value.partition(":")
                headers[name.strip()] = _with_env(text.strip(), env)
            case "--transport":
                kind = value
            case "--static-oauth-client-metadata" | "--static-oauth-client-info":
                said |= _login(flag, _with_env(value, env))
            case "--ignore-tool":
                warnings.append(f"{flag} is NOT applied: all its tools are offered; see mcp-hub endpoints add")
    if not re.match(r"https?://|\$\{", url):
        raise Wrong("mcp-remote is given no URL")
    entry: dict[str, Any] = {"url": url}
    if kind.startswith("sse"):
        entry["type"] = "sse"
    more, told = _logging_in(headers, said)
    entry |= more
    warnings += told
    return Unwrapped({**entry, "headers": headers} if headers else entry, tuple(warnings))


def _logging_in(headers: Mapping[str, str], said: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`auth` where it says something, and what is to be known. A token in the headers is its own login."""
    if any(name.lower() == "authorization" for name in headers):
        return {}, ()
    auth, told = login(said, own=False)
    return {} if auth is None else {"auth": auth}, ("if this server wants a login: mcp-hub login, and its name", *told)


def _login(flag: str, text: str) -> dict[str, Any]:
    """What mcp-remote is told about the app that was registered for it. Raises Wrong."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, Mapping):
        raise Wrong(f"mcp-remote {flag} is given no JSON object; give the app in auth: {{client: {{id, secret}}}}")
    return {key: said[key] for key in ("client_id", "client_secret", "scope") if isinstance(said.get(key), str)}


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(flag, value) in their order; what is no flag has an empty one."""
    left = iter(words)
    for word in left:
        if not word.startswith("-"):
            yield "", word
            continue
        flag, given, value = word.partition("=")
        yield flag, value if given else next(left, "") if flag in _BRIDGE_VALUES else ""


def _with_env(text: str, env: Mapping[str, str]) -> str:
    """The text with what the entry's own environment fills in; other holes stay."""
    parts = parse(text)
    if not holes(parts):
        return text

    def value(hole: Hole) -> str:
        default = "" if hole.default is None else f":-{hole.default}"
        return env.get(hole.name, f"${{{hole.name}{default}}}")

    return fill(parts, value) or ""


def _container(args: Sequence[str], env: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """`-e NAME=VALUE` becomes `-e NAME` and an environment: arguments are read by everybody on the machine."""
    end = image_at(args)
    if end is None:
        return list(args), env
    made: list[str] = []
    for place, arg in enumerate(args):
        flag, given, value = arg.partition("=")
        text: str | None = None
        if place < end and flag == "--env" and given:
            text = value
        elif 0 < place < end and args[place - 1] in ("-e", "--env"):
            text = arg
        elif place < end and re.fullmatch(r"-e[A-Za-z_].*", arg):
            text = arg[2:]
        if text is None:
            made.append(arg)
            continue
        name, assigned, value = text.partition("=")
        if assigned:
            env.setdefault(name, value)
        else:
            env.setdefault(name, f"${{{name}}}")
        made += [name] if text is arg else ["-e", name]
    return made, env

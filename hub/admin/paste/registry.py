"""The registry's `server.json`, of both spellings: its packages as argv, its remotes as URLs, its inputs as holes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.admin.paste.pasted import Input, Pasted, Wrong

_LAUNCHER: Final = {"npm": "npx", "pypi": "uvx", "oci": "docker", "docker": "docker", "nuget": "dnx"}
_HINTS: Final = ("npx", "uvx", "docker", "dnx", "bunx", "pipx")
_ALIASES: Final = {"registryName": "registryType", "transportType": "type", "packageName": "identifier"}
_VARIABLE = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
_OLD: Final = "its spelling is that of an old server.json (snake_case); ask its maker for a newer one"
_SCHEMA: Final = "server.schema.json"


def is_document(value: Mapping[str, Any]) -> bool:
    """Whether this is a `server.json`, an answer of the registry's API, or a list of those."""
    if isinstance(value.get("server"), Mapping):
        return is_document(value["server"])
    if isinstance(value.get("servers"), list):
        return all(isinstance(each, Mapping) and is_document(each) for each in value["servers"])
    if isinstance(value.get("$schema"), str) and value["$schema"].endswith(_SCHEMA):
        return True
    return isinstance(value.get("packages"), list) or isinstance(value.get("remotes"), list)


def servers(value: Mapping[str, Any], name: str | None) -> tuple[Pasted, ...]:
    if isinstance(value.get("servers"), list):
        return tuple(made for each in value["servers"] for made in servers(each, None))
    if isinstance(value.get("server"), Mapping):
        return servers(value["server"], name)
    modern, was_old = _camel(value)
    title = modern.get("name")
    given = name or (str(title).rpartition("/")[2] if isinstance(title, str) else "")
    warnings = (_OLD,) if was_old else ()
    try:
        if not given:
            raise Wrong("it has no name; give it one with --name ID")
        return (_Reading(modern).pasted(given, warnings),)
    except Wrong as exc:
        return (Pasted(given, {}, warnings=warnings, fault=str(exc)),)


def _camel(value: Any) -> tuple[Any, bool]:
    """The same in today's spelling, and whether it was another one."""
    if isinstance(value, list):
        pairs = [_camel(item) for item in value]
        return [item for item, _ in pairs], any(old for _, old in pairs)
    if not isinstance(value, Mapping):
        return value, False
    made: dict[str, Any] = {}
    was_old = False
    for key, item in value.items():
        if key in ("_meta", "variables"):  # free names inside
            inner = {k: _camel(v)[0] for k, v in item.items()} if isinstance(item, Mapping) else item
            made[key] = inner
            continue
        head, *rest = key.split("_") if not key.startswith("$") else (key,)
        plain = "".join((head, *(part.capitalize() for part in rest)))
        made[_ALIASES.get(plain, plain)], old = _camel(item)
        was_old = was_old or old or (plain != key)
    if "registryType" in made and "identifier" not in made and "name" in made:
        made["identifier"] = made.pop("name")
    return made, was_old


class _Reading:
    """One document being read: the holes it makes, and what there is to say."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._inputs: dict[str, Input] = {}
        self._warnings: list[str] = []

    def pasted(self, name: str, warnings: tuple[str, ...]) -> Pasted:
        remotes, packages = self._list(self._document, "remotes"), self._list(self._document, "packages")
        if remotes:
            if packages:
                self._warnings.append("it is offered as a package too; the remote server is taken")
            entry = self._remote(next((r for r in remotes if r.get("type") != "sse"), remotes[0]))
        elif packages:
            entry = self._package(packages)
        else:
            raise Wrong("this server.json offers neither packages nor remotes; nothing can be started")
        return Pasted(name, entry, self._inputs, (*warnings, *self._warnings))

    def _remote(self, remote: Mapping[str, Any]) -> dict[str, Any]:
        url = remote.get("url")
        if not isinstance(url, str):
            raise Wrong("its remote has no url")
        entry: dict[str, Any] = {"url": self._with_variables(url, remote, required=True)}
        if remote.get("type") == "sse":
            entry["type"] = "sse"
        headers = self._values(self._list(remote, "headers"))
        return {**entry, "headers": headers} if headers else entry

    def _package(self, packages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        kinds = [str(package.get("registryType", "")) for package in packages]
        chosen = next((p for p, kind in zip(packages, kinds, strict=True) if kind in _LAUNCHER), None)
        if chosen is None:
            if "mcpb" in kinds:
                raise Wrong("it is a bundle: download the .mcpb file, check its sha256, and import that file")
            raise Wrong(f"its packages are of no kind that is known here ({', '.join(sorted(set(kinds)))})")
        transport = chosen.get("transport")
        if isinstance(transport, Mapping) and transport.get("type", "stdio") != "stdio":
            raise Wrong("its package serves a local URL; start it yourself and add that URL")
        if len(packages) > 1:
            self._warnings.append(f"it comes in {len(packages)} packages; the {chosen['registryType']} one is taken")
        env = self._values(self._list(chosen, "environmentVariables"))
        command, args = self._argv(chosen, list(env))
        return {"command": command, "args": args, **({"env": env} if env else {})}

    def _argv(self, package: Mapping[str, Any], env: Sequence[str]) -> tuple[str, list[str]]:
        kind, identifier, version = package["registryType"], package.get("identifier"), package.get("version")
        if not isinstance(identifier, str) or not identifier or re.search(r"\s", identifier):
            raise Wrong("its package has no identifier")
        hint = package.get("runtimeHint")
        launcher = hint if hint in _HINTS else _LAUNCHER[kind]
        before = self._arguments(self._list(package, "runtimeArguments"))
        after = self._arguments(self._list(package, "packageArguments"))
        pinned = isinstance(version, str) and version not in ("", "latest")
        if launcher == "docker":
            tagged = ":" in identifier.rpartition("/")[2] or "@" in identifier
            image = f"{identifier}:{version}" if pinned and not tagged else identifier
            usual = [word for word in ("run", "-i", "--rm") if word not in before]
            named = [part for name in env if name not in " ".join(before) for part in ("-e", name)]
            return launcher, [*usual, *(word for word in before if word != "run"), *named, image, *after]
        package_at = f"{identifier}@{version}" if pinned else identifier
        usual = ["-y"] if launcher == "npx" and not {"-y", "--yes"} & set(before) else []
        yes = ["--yes"] if launcher == "dnx" and "--yes" not in before else []
        named_there = any(word == identifier or word.startswith(f"{identifier}@") for word in before)
        return launcher, [*usual, *before, *(() if named_there else (package_at,)), *yes, *after]

    def _arguments(self, given: Sequence[Mapping[str, Any]]) -> list[str]:
        made: list[str] = []
        for place, argument in enumerate(given):
            name = str(argument.get("name") or argument.get("valueHint") or f"argument {place + 1}")
            if argument.get("type") != "named":
                value = self._value(name, argument)
                made += [] if value is None else [value]
                continue
            if not argument.keys() & {"value", "default", "isRequired", "valueHint", "choices"}:
                made.append(name)  # a switch
                continue
            value = self._value(name, argument)
            if value is not None:
                made += [name, value] if value else [name]
        return made

    def _values(self, given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        found = {str(each["name"]): self._value(str(each["name"]), each) for each in given if each.get("name")}
        return {name: value for name, value in found.items() if value is not None}

    def _value(self, name: str, given: Mapping[str, Any]) -> str | None:
        """The text of one input: its value, or a hole where it is left to the user. None: optional and not given."""
        value = given.get("value")
        if isinstance(value, str) and value:
            return self._with_variables(value, given, required=given.get("isRequired") is True)
        default = given.get("default")
        if not given.get("isRequired") and default in (None, ""):
            if given.get("valueHint") and given.get("type") == "positional" and "isRequired" not in given:
                return self._hole(str(given["valueHint"]), given)
            self._warnings.append(f"{name} is optional and not set")
            return None
        return self._hole(name, given)

    def _with_variables(self, text: str, given: Mapping[str, Any], *, required: bool) -> str:
        variables = given.get("variables")
        known = variables if isinstance(variables, Mapping) else {}

        def hole(found: re.Match[str]) -> str:
            told = known.get(found[1])
            if not isinstance(told, Mapping):
                told = {"isSecret": given.get("isSecret") is True, "description": given.get("description")}
            fixed = told.get("value")
            return fixed if isinstance(fixed, str) else self._hole(found[1], told)

        return _VARIABLE.sub(hole, text)

    def _hole(self, name: str, given: Mapping[str, Any]) -> str:
        plain = name.lstrip("-")
        default, prompt, choices = given.get("default"), given.get("description"), given.get("choices")
        self._inputs[plain] = Input(
            prompt=prompt if isinstance(prompt, str) else "",
            secret=True if given.get("isSecret") is True else None,
            default=str(default) if default not in (None, "") and not isinstance(default, Mapping | list) else None,
            choices=tuple(c for c in choices if isinstance(c, str)) if isinstance(choices, list) else (),
        )
        return f"${{{plain}}}"

    def _list(self, of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        found = of.get(key)
        return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []

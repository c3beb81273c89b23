"""The texts of one entry, one by one: what is a secret becomes a reference, what is missing is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

from hub.admin.paste.pasted import Input, Wrong
from hub.admin.paste.secretive import placeholder, secret_at, secret_name, secret_value
from hub.admin.paste.template import Hole, Part, fill, fits, holes, parse

MAX_VALUE: Final = 16 * 1024  # what the vault takes
_REFERENCE = re.compile(r"(?:(?:Bearer|Basic|Token) +)?(env|file|secret):(?!//)(.+)", re.DOTALL)
_STORED = re.compile(r"(?:(?:Bearer|Basic|Token) +|-{0,2}[A-Za-z_][\w.-]*=)?secret:([A-Za-z0-9._-]{1,64})")
_SCHEME = re.compile(r"((?:Bearer|Basic|Token) +)(.*)", re.DOTALL)
_ASSIGNED = re.compile(r"(-{1,2}[A-Za-z][\w.-]*=|[A-Za-z_]\w*=)(.*)", re.DOTALL)
_TO_FILL = re.compile(r"<([^<>]{1,80})>|\b(YOUR_\w+)|\{(YOUR_\w+)\}")
_QUERY = re.compile(r"([?&]([^=&#?]+)=)([^&#]*)")
_MEMBER = re.compile(r'"([^"]+)"\s*:\s*"([^"]+)"')
_ASKS_SECRET = re.compile(r"(?i)passw|:pass\b|token|secret|api[- ]key")
_FLAG = re.compile(r"-{1,2}[A-Za-z][\w.-]*")


@dataclass(frozen=True, slots=True)
class Needed:
    """One value that is missing. `name` is what answers it."""

    name: str
    where: str
    secret: bool
    prompt: str = ""
    choices: tuple[str, ...] = ()


@dataclass(slots=True)
class Places:
    """Work in progress on one server."""

    id: str
    inputs: Mapping[str, Input]
    answers: Mapping[str, str]
    before: Callable[[str], str | None]  # the text that stands at a place now, if what it needs is stored
    own: bool  # the admin's own words, which may refer to stored secrets
    secrets: dict[str, str] = field(default_factory=dict)
    needs: dict[str, Needed] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def env(self, name: str, text: str) -> str:
        return self._settle(f"env.{name}", name, name, "", text)

    def header(self, name: str, text: str) -> str:
        scheme = _SCHEME.fullmatch(text)
        if scheme is not None:
            return self._settle(f"headers.{name}", name, name, scheme[1], scheme[2], secret=True)
        return self._settle(f"headers.{name}", name, name, "", text)

    def url(self, text: str) -> str:
        def opened(found: re.Match[str]) -> str:
            is_open = placeholder(found[3], secret=secret_name(found[2])) and "${" not in found[3]
            return f"{found[1]}${{{found[2]}}}" if is_open else found[0]

        asks = any(secret_name(name) and holes(parse(value)) for _, name, value in _QUERY.findall(text))
        return self._settle("url", "url", "url", "", _QUERY.sub(opened, text), secret=asks or None)

    def argument(self, place: int, before: str, text: str) -> str:
        """`before`: the argument in front of it, which may be the flag it belongs to."""
        where = f"args[{place}]"
        assigned = _ASSIGNED.fullmatch(text)
        if assigned is not None and "://" not in assigned[1]:
            name = assigned[1].strip("-=")
            return self._settle(where, name, name, assigned[1], assigned[2])
        if _FLAG.fullmatch(text):
            return text
        if text.startswith("{") and any(secret_at(name, value) for name, value in _MEMBER.findall(text)):
            return self._settle(where, before.lstrip("-") or "json", "", "", text, secret=True)
        if before in ("-H", "--header", "--headers"):
            name, found, value = text.partition(":")
            value = value.strip()
            secret = bool(found) and (secret_at(name, value) or (bool(holes(parse(value))) and secret_name(name)))
            return self._settle(where, name if found else "header", "header", "", text, secret=secret or None)
        label = before.lstrip("-") if _FLAG.fullmatch(before) else f"arg-{place + 1}"
        return self._settle(where, label, label, "", text)

    def client(self, name: str, text: str) -> str:
        """`id`, `secret` or `method` of the app by which the hub logs in."""
        label = f"client-{name}"
        return self._settle(f"auth.client.{name}", label, label, "", text, secret=name == "secret" or None)

    def plain(self, where: str, text: str) -> str:
        return self._settle(where, where, "", "", text)

    def _settle(self, where: str, label: str, name: str, front: str, text: str, *, secret: bool | None = None) -> str:
        """What stands at this place in the entry. Missing values are noted; the text then means nothing."""
        referred = _REFERENCE.fullmatch(text)
        if referred is not None:
            return front + self._reference(where, referred, text)
        is_secret = bool(secret) or (secret_at(name, text) and bool(text)) or (secret_name(name) and not text)
        parts = self._parts(text, label, is_secret)
        asked = [self._input(hole) for hole in holes(parts)]
        names = [hole.name for hole in holes(parts)]
        if any(each.secret for each in asked) or (
            names and (secret_name(name) or any(secret_name(each) for each in names))
        ):
            is_secret = True
        filled = fill(parts, self._answer)
        if filled is None:
            return self._missing(where, front, parts, text, is_secret)
        if len(filled) > MAX_VALUE:
            raise Wrong(f"{where} is longer than {MAX_VALUE} characters")
        if is_secret or secret_value(filled):
            return front + self._stored(where, label, filled)
        return front + filled

    def _stored(self, where: str, label: str, value: str) -> str:
        name = secret_id(self.id, label)
        if self.secrets.get(name, value) != value:
            name = secret_id(self.id, f"{label}-{where}")
        self.secrets[name] = value
        if where.startswith("args"):
            self.warnings.append(
                f"{where} is a secret in an argument: users of this machine can read it while it runs; prefer env"
            )
        return f"secret:{name}"

    def _parts(self, text: str, label: str, secret: bool) -> tuple[Part, ...]:
        parts = parse(text)
        if holes(parts):
            return parts
        if secret and placeholder(text, secret=True):
            return (Hole(label),)
        if not secret and placeholder(text, secret=False):
            opened = _TO_FILL.sub(lambda m: "${" + re.sub(r"[^\w-]+", "-", m[1] or m[2] or m[3]) + "}", text)
            return parse(opened) if opened != text else (Hole(label),)
        return parts

    def _input(self, hole: Hole) -> Input:
        found = self.inputs.get(hole.name) or Input()
        if found.secret is None and _ASKS_SECRET.search(found.prompt):
            return replace(found, secret=True)
        return found

    def _answer(self, hole: Hole) -> str | None:
        given = self._input(hole)
        for key in (f"{self.id}.{hole.name}", hole.name):
            if (answer := self.answers.get(key)) is not None and answer != "":
                if given.choices and answer not in given.choices:
                    raise Wrong(f"{hole.name} must be one of {', '.join(given.choices)}")
                return answer
        default = hole.default if hole.default is not None else given.default
        return default or None

    def _missing(self, where: str, front: str, parts: tuple[Part, ...], text: str, secret: bool) -> str:
        kept = self.before(where)
        if kept is not None and kept.startswith(front):
            referred = _REFERENCE.fullmatch(kept[len(front) :])
            if (referred is not None and referred[1] == "secret") if secret else fits(parts, kept[len(front) :]):
                return kept
        for hole in holes(parts):
            if self._answer(hole) is not None:
                continue
            given = self._input(hole)
            shared = hole.name in self.inputs or bool(holes(parse(text)))
            name = hole.name if shared else f"{self.id}.{hole.name}"
            prompt = given.prompt or ("" if shared or secret or not text else f"instead of {_shown(text)!r}")
            self.needs[name] = Needed(name, where, secret, prompt[:200], given.choices)
        return ""

    def _reference(self, where: str, found: re.Match[str], text: str) -> str:
        if found[1] == "secret" and self.own:
            return text
        if found[1] == "secret":
            raise Wrong(f"{where}: a paste may not use stored secrets; give the value, or change the entry yourself")
        raise Wrong(f"{where}: {found[1]}: references belong into the configuration file; give the value itself")


def references(entry: Any) -> Iterator[str]:
    """Names of the stored secrets that an entry refers to."""
    if isinstance(entry, str):
        found = _STORED.fullmatch(entry)
        if found is not None:
            yield found[1]
    elif isinstance(entry, Mapping):
        for value in entry.values():
            yield from references(value)
    elif isinstance(entry, list | tuple):
        for value in entry:
            yield from references(value)


def secret_id(server: str, label: str) -> str:
    """The name of a server's secret in the vault; the same for the same place, always."""
    name = f"{server}.{re.sub(r'[^A-Za-z0-9._-]+', '-', label).strip('-') or 'value'}"
    if len(name) <= 64:
        return name
    return f"{name[:55]}-{sha256(name.encode()).hexdigest()[:8]}"


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"

"""Text in, drafts out: the one way in for every paste, whatever program it was written for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hub.admin.paste import formats
from hub.admin.paste.argv import check
from hub.admin.paste.entry import translate
from hub.admin.paste.naming import server_id
from hub.admin.paste.pasted import Pasted, Wrong
from hub.admin.paste.places import Needed, Places
from hub.core.call import EMPTY, Json


@dataclass(frozen=True, slots=True)
class Draft:
    """One server, ready to be stored unless it has a fault or needs values."""

    name: str  # as pasted
    id: str
    entry: Json = field(default_factory=lambda: EMPTY)  # as our configuration has it; secrets as `secret:NAME`
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # for the vault
    needs: tuple[Needed, ...] = ()
    warnings: tuple[str, ...] = ()
    fault: str | None = None

    @property
    def disabled(self) -> bool:
        return self.entry.get("enabled") is False


@dataclass(frozen=True, slots=True)
class Rules:
    """How pastes are taken."""

    answers: Mapping[str, str] = field(default_factory=dict, repr=False)  # by the name of what is needed
    allow_command: bool = False  # programs beyond the launchers
    own: bool = False  # the admin's own words, not a stranger's paste


Before = Callable[[str], Json | None]  # the entry a server has now, if the secrets it names are stored


def read(
    text: str,
    rules: Rules,
    *,
    name: str | None = None,
    rename: Mapping[str, str] = {},
    before: Before = lambda id: None,
) -> tuple[Draft, ...]:
    """One draft per server of the paste, in its order. Raises `formats.Unreadable` for a paste that is none.

    With `before`, values that the paste leaves open are kept where nothing else about the entry differs: a paste that
    was taken once is complete, and cannot lead a stored secret elsewhere.
    """
    pasted = [replace(each, name=rename.get(each.name, each.name)) for each in formats.servers(text, name)]
    return _without_collisions([_draft(each, rules, before) for each in pasted])


def one(id: str, entry: Json, rules: Rules, before: Before = lambda id: None) -> Draft:
    """The draft of one entry under a name of its own."""
    return _draft(Pasted(id, entry), rules, before)


def _draft(pasted: Pasted, rules: Rules, before: Before) -> Draft:
    try:
        id, renamed = server_id(pasted.name)
    except ValueError as exc:
        return Draft(pasted.name, "", fault=pasted.fault or str(exc), warnings=pasted.warnings)
    if pasted.fault is not None:
        return Draft(pasted.name, id, fault=pasted.fault, warnings=pasted.warnings)
    told = (*pasted.warnings, *((renamed,) if renamed else ()))
    try:
        made, warnings = translate(pasted.entry, own=rules.own)
        stands = before(id)
        if stands is not None:
            draft = _filled(pasted, id, made, rules, stands)
            if not draft.needs and same(draft.entry, stands):
                return replace(draft, warnings=(*told, *warnings, *draft.warnings))
        draft = _filled(pasted, id, made, rules, None)
    except Wrong as exc:
        return Draft(pasted.name, id, fault=str(exc), warnings=told)
    return replace(draft, warnings=(*told, *warnings, *draft.warnings))


def same(one: Json, other: Json) -> bool:
    """Whether both are the same entry; on or off is decided after an import, not by it."""
    return _but_state(one) == _but_state(other)


def _but_state(entry: Json) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("enabled", "disabled")}


def _filled(pasted: Pasted, id: str, made: Mapping[str, Any], rules: Rules, stands: Json | None) -> Draft:
    places = Places(id, pasted.inputs, rules.answers, lambda where: _at(stands, where), rules.own)
    entry = dict(made)
    if "command" in entry:
        args = [str(arg) for arg in entry.get("args", ())]
        entry["command"] = places.plain("command", entry["command"])
        entry["args"] = [places.argument(n, args[n - 1] if n else "", arg) for n, arg in enumerate(args)]
        if not args:
            del entry["args"]
    for key, settle in (("env", places.env), ("headers", places.header)):
        if key in entry:
            entry[key] = {name: settle(name, text) for name, text in entry[key].items()}
    if "url" in entry:
        entry["url"] = places.url(entry["url"])
    if "cwd" in entry:
        entry["cwd"] = places.plain("cwd", entry["cwd"])
    if isinstance(auth := entry.get("auth"), Mapping) and isinstance(client := auth.get("client"), Mapping):
        entry["auth"] = {**auth, "client": {name: places.client(name, text) for name, text in client.items()}}
    warnings: Sequence[str] = ()
    if "command" in entry and not places.needs:
        warnings = check(
            entry["command"], entry.get("args", ()), tuple(entry.get("env", ())), allow_command=rules.allow_command
        )
    elif "command" in entry:  # what is refused anyway need not be asked for
        raw = [str(arg) for arg in made.get("args", ())]
        check(made["command"], raw, tuple(made.get("env", ())), allow_command=rules.allow_command)
    shown = (*places.warnings, *warnings)
    return Draft(pasted.name, id, entry, places.secrets, tuple(places.needs.values()), shown)


def _at(stands: Json | None, where: str) -> str | None:
    """The text at a place such as `env.TOKEN`, `args[2]`, `url` or `auth.client.secret`."""
    if stands is None:
        return None
    head, _, rest = where.partition(".")
    found: Any
    if head.startswith("args["):
        args, place = stands.get("args"), int(where[5:-1])
        found = args[place] if isinstance(args, list | tuple) and place < len(args) else None
    elif rest:
        inside = stands.get(head)
        if head == "auth":
            inside, rest = inside.get("client") if isinstance(inside, Mapping) else None, rest.partition(".")[2]
        found = inside.get(rest) if isinstance(inside, Mapping) else None
    else:
        found = stands.get(head)
    return found if isinstance(found, str) else None


def _without_collisions(drafts: Sequence[Draft]) -> tuple[Draft, ...]:
    """Names that become one id: neither is taken, because nobody knows which was meant."""
    names: dict[str, list[str]] = {}
    for draft in drafts:
        if draft.id:
            names.setdefault(draft.id, []).append(draft.name)
    return tuple(
        replace(draft, fault=_collision(draft.id, names[draft.id]))
        if draft.id and draft.fault is None and len(names[draft.id]) > 1
        else draft
        for draft in drafts
    )


def _collision(id: str, names: Sequence[str]) -> str:
    listed = " and ".join(repr(name) for name in names[:5])
    return f"{listed} become the server id {id!r}; tell them apart with --rename 'OLD=NEW'"

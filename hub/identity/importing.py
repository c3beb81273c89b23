"""Users from a file that an identity provider or a directory wrote: SCIM's resources (RFC 7643), read and compared.

A plan, and no change: what stands in the file is made or brought up to date, `active: false` disables, and whoever is
not in the file stays as is. Passwords are not read from files.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from hub.core.accounts import UserRow
from hub.core.call import Json
from hub.identity.profiles import Profile, fit_attributes, fit_name, fit_profile
from hub.identity.roles import MEMBER

MAX_ENTRIES: Final = 5000
MAX_FAULTS: Final = 50  # that are told at once
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"  # RFC 7643 section 4.3
EXTERNAL: Final = "externalId"
_OF_ENTERPRISE: Final = ("employeeNumber", "costCenter", "organization", "division", "department")
_NAMED: Final = frozenset(("manager", *_OF_ENTERPRISE))  # attributes that the file has the say of
_TOLD: Final = ("roles", "groups", "displayName", "emails", ENTERPRISE)

Act = Literal["created", "updated", "disabled", "enabled", "unchanged"]


class ImportRefused(ValueError):
    """The file cannot be taken as it is; nothing of it was."""

    def __init__(self, faults: Sequence[str]) -> None:
        more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        self.faults = (*faults[:MAX_FAULTS], *more)
        super().__init__("nothing was imported: " + "; ".join(self.faults))


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    active: bool
    told: frozenset[str]  # the members that the file speaks of; what the others stand for stays as it is
    profile: Profile


@dataclass(frozen=True, slots=True)
class Step:
    act: Act
    before: UserRow | None
    after: UserRow


def read(document: Any, roles: Collection[str]) -> tuple[Entry, ...]:
    """`roles`: those there are. Raises ImportRefused with every fault, each with its place in the file."""
    resources = document.get("Resources") if isinstance(document, Mapping) else None
    if not isinstance(resources, list):
        raise ImportRefused(['the file is no {"Resources": [...]} of users, as SCIM lists them'])
    if len(resources) > MAX_ENTRIES:
        raise ImportRefused([f"the file has {len(resources)} users; at most {MAX_ENTRIES} at once: cut it"])
    found: list[Entry] = []
    faults: list[str] = []
    places: dict[str, int] = {}
    for number, resource in enumerate(resources):
        try:
            entry = _entry(resource, roles)
        except ValueError as exc:
            faults.append(f"Resources[{number}]: {exc}")
            continue
        for key in (entry.name, f"#{_external(entry.profile.attributes)}"):
            if key != "#None" and places.setdefault(key, number) != number:
                faults.append(f"Resources[{number}]: the same user as Resources[{places[key]}]")
        found.append(entry)
    if faults:
        raise ImportRefused(faults)
    return tuple(found)


def plan(entries: Sequence[Entry], rows: Sequence[UserRow], tenant: str, now: float) -> tuple[Step, ...]:
    """What the entries change, in their order. A user is known again by the external id, else by the name."""
    names = {row.name: row for row in sorted(rows, key=lambda row: (row.disabled_at is None, row.created_at))}
    externals = {id: row for row in rows if (id := _external(row.attributes)) is not None}
    steps: list[Step] = []
    seen: dict[str, str] = {}
    faults: list[str] = []
    for entry in entries:
        external = _external(entry.profile.attributes)
        before = (externals.get(external) if external is not None else None) or names.get(entry.name)
        if before is not None and seen.setdefault(before.id, entry.name) != entry.name:
            faults.append(f"{entry.name} and {seen[before.id]} are both the user {before.name} ({before.id})")
            continue
        steps.append(_step(entry, before, tenant, now))
    if faults:
        raise ImportRefused(faults)
    return tuple(steps)


def _step(entry: Entry, before: UserRow | None, tenant: str, now: float) -> Step:
    given = entry.profile
    if before is None:
        id = f"u{secrets.token_hex(8)}"
        row = UserRow(
            *(tenant, id, entry.name, given.roles, given.groups, now),
            display=given.display,
            email=given.email,
            attributes=given.attributes,
            disabled_at=None if entry.active else now,
        )
        return Step("created", None, row)
    replaced = _NAMED if ENTERPRISE in entry.told else frozenset[str]()
    kept = {name: value for name, value in (before.attributes or {}).items() if name not in replaced}
    after = replace(
        before,
        name=entry.name,
        roles=given.roles if "roles" in entry.told else before.roles,
        groups=given.groups if "groups" in entry.told else before.groups,
        display=given.display if "displayName" in entry.told else before.display,
        email=given.email if "emails" in entry.told else before.email,
        attributes=({**kept, **(given.attributes or {})}) or None,
        disabled_at=None if entry.active else (now if before.disabled_at is None else before.disabled_at),
    )
    if after == before:
        return Step("unchanged", before, before)
    if (after.disabled_at is None) != (before.disabled_at is None):
        return Step("disabled" if after.disabled_at is not None else "enabled", before, after)
    return Step("updated", before, after)


def _entry(resource: Any, roles: Collection[str]) -> Entry:
    if not isinstance(resource, Mapping):
        raise ValueError("is no object")
    if "password" in resource:
        raise ValueError("holds a password: take it out of the file; mcp-hub users passwd sets one")
    active = resource.get("active", True)
    if not isinstance(active, bool):
        raise ValueError("active must be true or false")
    name = _text(resource, "userName")
    if name is None:
        raise ValueError("userName is missing")
    told = frozenset(member for member in _TOLD if resource.get(member) is not None)
    profile = Profile(
        roles=_values(resource, "roles") if "roles" in told else (MEMBER,),
        groups=_values(resource, "groups"),
        display=_text(resource, "displayName"),
        email=_email(resource),
        attributes=_attributes(resource),
    )
    return Entry(fit_name(name), active, told, fit_profile(profile, roles))


def _text(resource: Json, member: str) -> str | None:
    value = resource.get(member)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{member} must be a text")
    return value


def _values(resource: Json, member: str) -> tuple[str, ...]:
    """Texts, or SCIM's {"value": ..., "display": ...}; a group goes by its display name, which people know."""
    given = resource.get(member)
    if given is None:
        return ()
    if not isinstance(given, list):
        raise ValueError(f"{member} must be a list")
    found = []
    for each in given:
        order = ("display", "value") if member == "groups" else ("value", "display")
        text = next((each[key] for key in order if each.get(key)), None) if isinstance(each, Mapping) else each
        if not isinstance(text, str):
            raise ValueError(f"{member} must be a list of texts, or of objects with a value")
        found.append(text)
    return tuple(found)


def _email(resource: Json) -> str | None:
    """The primary one, else the first."""
    given = resource.get("emails")
    if given is None:
        return None
    if not isinstance(given, list):
        raise ValueError("emails must be a list")
    ordered = sorted(given, key=lambda each: not (isinstance(each, Mapping) and each.get("primary") is True))
    return next(iter(_values({"emails": ordered[:1]}, "emails")), None)


def _attributes(resource: Json) -> Json | None:
    extension = resource.get(ENTERPRISE)
    if extension is not None and not isinstance(extension, Mapping):
        raise ValueError(f"{ENTERPRISE} must be an object")
    found = {member: _text(extension or {}, member) for member in _OF_ENTERPRISE}
    manager = (extension or {}).get("manager")
    if isinstance(manager, Mapping):
        manager = manager.get("displayName") or manager.get("value")
    found["manager"] = manager if isinstance(manager, str) else None
    found[EXTERNAL] = _text(resource, EXTERNAL)
    return fit_attributes({name: value for name, value in found.items() if value})


def _external(attributes: Json | None) -> str | None:
    return None if attributes is None else attributes.get(EXTERNAL)

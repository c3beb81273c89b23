"""What may be said of a user, and how each of it is kept. Pure; what does not fit is a ValueError in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.core.call import Json
from hub.identity.roles import MEMBER

NAME: Final = r"[a-z0-9][a-z0-9._@+-]{0,127}"
MAX_ROLES: Final = 32  # of one user
MAX_GROUPS: Final = 256
MAX_TEXT: Final = 256  # characters: a group, a display name, an address, an attribute
MAX_ATTRIBUTES: Final = 32
_NAME: Final = re.compile(NAME)
_ID: Final = re.compile(r"u[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Profile:
    """Of a user that is to be made."""

    roles: tuple[str, ...] = (MEMBER,)
    groups: tuple[str, ...] = ()
    display: str | None = None
    email: str | None = None
    attributes: Json | None = None


def folded(name: str) -> str:
    """A name as it is looked up."""
    return name.strip().lower()


def fit_name(name: str) -> str:
    made = folded(name)
    if not _NAME.fullmatch(made) or _ID.fullmatch(made):  # an id: `show` must not find one user by another's id
        raise ValueError(
            f"{name[:140]!r} is no name for a user: begin with a letter or digit, then letters, digits and . _ @ + -, "
            "at most 128"
        )
    return made


def fit_profile(given: Profile, known: Collection[str]) -> Profile:
    """`known`: the roles there are."""
    return Profile(
        fit_roles(given.roles, known),
        fit_groups(given.groups),
        fit_text(given.display, "display name"),
        fit_text(given.email, "email address"),
        fit_attributes(given.attributes),
    )


def fit_changes(given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The members of a user's row to be replaced, by name: roles, groups, display, email, attributes."""
    fits: dict[str, Callable[[Any], Any]] = {
        "roles": lambda value: fit_roles(value, known),
        "groups": fit_groups,
        "display": lambda value: fit_text(value, "display name"),
        "email": lambda value: fit_text(value, "email address"),
        "attributes": fit_attributes,
    }
    unknown = sorted(set(given) - set(fits))
    if unknown:
        raise ValueError(f"{unknown[0][:40]!r} of a user cannot be changed so: there are {', '.join(fits)}")
    return {member: fits[member](value) for member, value in given.items()}


def fit_roles(roles: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    if len(roles) > MAX_ROLES:
        raise ValueError(f"a user has at most {MAX_ROLES} roles")
    for role in roles:
        if role not in known:
            there = ", ".join(sorted(known)[:20])
            raise ValueError(f"there is no role {role[:80]!r}: there are {there}")
    return tuple(dict.fromkeys(roles))


def fit_groups(groups: Sequence[str]) -> tuple[str, ...]:
    if len(groups) > MAX_GROUPS:
        raise ValueError(f"a user is in at most {MAX_GROUPS} groups")
    for group in groups:
        if not group or fit_text(group, "group") != group:
            raise ValueError("the name of a group is a text without blanks around it")
    return tuple(dict.fromkeys(groups))


def fit_text(text: str | None, what: str) -> str | None:
    """Nothing that a terminal or a page would take for more than text."""
    made = None if text is None else text.strip()
    if not made:
        return None
    if len(made) > MAX_TEXT or not made.isprintable():
        raise ValueError(f"this {what} does not fit: at most {MAX_TEXT} printable characters")
    return made


def fit_attributes(given: Json | None) -> Json | None:
    """Texts by name."""
    if not given:
        return None
    if len(given) > MAX_ATTRIBUTES:
        raise ValueError(f"a user has at most {MAX_ATTRIBUTES} attributes")
    made: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str) or not fit_text(name, "attribute's name"):
            raise ValueError("attributes are texts by name")
        text = fit_text(value, f"attribute {name}")
        if text is not None:
            made[name] = text
    return made or None

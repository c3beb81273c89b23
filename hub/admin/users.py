"""Users over the admin API: what may be asked, and with which status it is refused. The desk does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hub.admin import paging
from hub.admin.operation import LARGE_BODY, Answer, Asked, Operation, Refused, object_of
from hub.admin.schemas import COUNT, FLAG, OBJECT, TEXT, TEXTS, answered, or_null, rows_of
from hub.admin.user_desk import UnknownGrant, UserDesk
from hub.core.call import Json
from hub.identity import importing
from hub.identity.passwords import LONGEST, SHORTEST, Busy
from hub.identity.profiles import MAX_GROUPS, MAX_ROLES, MAX_TEXT
from hub.identity.users import InviteRefused, NameTaken, UnknownUser

_NAME: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$",
    "description": "what is typed at the login page; capitals count as small letters",
}
_USER: Final[Mapping[str, Json]] = {"user": {**_NAME, "description": "a user's name or id"}}
_GRANT: Final[Json] = {"type": "string", "pattern": "^g[0-9a-f]{16}$", "description": "as the user's grants show it"}
_PASSWORD: Final[Json] = {
    "type": "string",
    "minLength": SHORTEST,
    "maxLength": LONGEST,
    "description": "kept as an argon2id hash, and never told again",
}
_LINE: Final[Json] = {"anyOf": [{"type": "string", "maxLength": MAX_TEXT}, {"type": "null"}]}
_ROLES: Final[Json] = {"type": "array", "maxItems": MAX_ROLES, "items": {"type": "string", "maxLength": 64}}
_GROUPS: Final[Json] = {"type": "array", "maxItems": MAX_GROUPS, "items": {"type": "string", "maxLength": MAX_TEXT}}
_CHANGES: Final[dict[str, Json]] = {"roles": _ROLES, "groups": _GROUPS, "display": _LINE, "email": _LINE}
_IMPORT: Final[Json] = {
    "type": "object",
    "properties": {"Resources": {"type": "array", "maxItems": importing.MAX_ENTRIES, "items": OBJECT}},
    "required": ["Resources"],
    "description": "users as SCIM lists them (RFC 7643)",
}
_DRY: Final[Json] = {"type": "boolean", "description": "say what would be done, and do nothing"}
_USER_SHOWN: Final[dict[str, Json]] = {
    "id": TEXT,
    "name": TEXT,
    "display": or_null(TEXT),
    "email": or_null(TEXT),
    "roles": TEXTS,
    "groups": TEXTS,
    "attributes": OBJECT,
    "password": FLAG,
    "otp": FLAG,
    "issuer": or_null(TEXT),
    "created_at": TEXT,
    "disabled_at": or_null(TEXT),
    "version": COUNT,
}
ROW: Final = answered(_USER_SHOWN)
GRANT: Final = answered(
    {
        "id": TEXT,
        "client": TEXT,
        "client_name": TEXT,
        "resource": TEXT,
        "scopes": TEXTS,
        "strength": TEXT,
        "created_at": TEXT,
        "used_at": or_null(TEXT),
        "expires_at": TEXT,
    }
)
STEP: Final = answered({"user": TEXT, "id": TEXT, "act": TEXT})
IMPORTED: Final = answered({"dry_run": FLAG, "counts": OBJECT, "users": rows_of(STEP)})


class _Acts:
    """What is asked over the API, done by the desk."""

    def __init__(self, desk: UserDesk) -> None:
        self._desk = desk

    async def invite(self, asked: Asked) -> Answer:
        return Answer(await self._desk.invite(asked.who.name))

    async def listed(self, asked: Asked) -> Answer:
        rows, cursor = paging.page(self._desk.rows(), asked.query, lambda row: f"{row['name']} {row['id']}")
        return Answer({"users": rows, "next": cursor})

    async def show(self, asked: Asked) -> Answer:
        return _versioned(self._desk.show(asked.path["user"]))

    async def create(self, asked: Asked) -> Answer:
        return _versioned(await self._desk.create(asked.who.name, asked.body))

    async def change(self, asked: Asked) -> Answer:
        return _versioned(await self._desk.change(asked.who.name, asked.path["user"], asked.body, _seen(asked)))

    async def set_password(self, asked: Asked) -> Answer:
        password = asked.body["password"]
        return _versioned(await self._desk.set_password(asked.who.name, asked.path["user"], password, _seen(asked)))

    async def disable(self, asked: Asked) -> Answer:
        return _versioned(await self._desk.disable(asked.who.name, asked.path["user"], _seen(asked)))

    async def enable(self, asked: Asked) -> Answer:
        return _versioned(await self._desk.enable(asked.who.name, asked.path["user"], _seen(asked)))

    async def reset_otp(self, asked: Asked) -> Answer:
        return _versioned(await self._desk.reset_otp(asked.who.name, asked.path["user"], _seen(asked)))

    async def take(self, asked: Asked) -> Answer:
        return Answer(await self._desk.take(asked.who.name, asked.body, dry_run=asked.query.get("dry_run", False)))

    async def grants(self, asked: Asked) -> Answer:
        rows = self._desk.grants(asked.path["user"])
        told, cursor = paging.page(rows, asked.query, lambda row: f"{row['created_at']} {row['id']}")
        return Answer({"grants": told, "next": cursor})

    async def end(self, asked: Asked) -> Answer:
        return Answer(await self._desk.end(asked.who.name, asked.path["user"], asked.path.get("grant")))


def operations(desk: UserDesk) -> tuple[Operation, ...]:
    return (*_of_users(_Acts(desk)), *_of_one(_Acts(desk)), *_of_grants(_Acts(desk)))


def _of_users(do: _Acts) -> tuple[Operation, ...]:
    listed = answered({"users": rows_of(ROW), "next": paging.NEXT})
    wish = object_of({"name": _NAME}, {**_CHANGES, "password": _PASSWORD})
    return (
        Operation(
            *("GET", "/users", "users.list", "every user, by name", do.listed), query=paging.QUERY, answer=listed
        ),
        Operation(
            *("POST", "/users", "users.create", "a new user", _worded(do.create)),
            body=wish,
            answer=ROW,
            refusals=(409,),
        ),
        Operation(
            *("POST", "/users/invite", "users.invite", "a link that makes the first user", _worded(do.invite)),
            answer=answered({"url": TEXT, "expires_in_s": COUNT}),
            refusals=(409,),
        ),
        Operation(
            *("POST", "/users/import", "users.import", "make users be as a file says", _worded(do.take)),
            body=_IMPORT,
            query={"dry_run": _DRY},
            answer=IMPORTED,
            refusals=(409, 412),
            body_bytes=LARGE_BODY,
        ),
    )


def _of_one(do: _Acts) -> tuple[Operation, ...]:
    one = "/users/{user}"
    writes: Mapping[str, Any] = {"parts": _USER, "answer": ROW, "refusals": (409, 412)}
    return (
        Operation(*("GET", one, "users.show", "one user", _worded(do.show)), parts=_USER, answer=ROW),
        Operation(
            *("PATCH", one, "users.change", "other roles, groups, display name or address", _worded(do.change)),
            body=object_of({}, _CHANGES),
            **writes,
        ),
        Operation(
            *("PUT", f"{one}/password", "users.password", "another password; logins end", _worded(do.set_password)),
            body=object_of({"password": _PASSWORD}),
            **writes,
        ),
        Operation(
            *("POST", f"{one}/disable", "users.disable", "nobody logs in as this user", _worded(do.disable)), **writes
        ),
        Operation(
            *("POST", f"{one}/enable", "users.enable", "with password and roles as before", _worded(do.enable)),
            **writes,
        ),
        Operation(
            *("DELETE", f"{one}/otp", "users.otp_reset", "ask for no one-time code", _worded(do.reset_otp)), **writes
        ),
    )


def _of_grants(do: _Acts) -> tuple[Operation, ...]:
    all_of = "/users/{user}/grants"
    ended = answered({"user": TEXT, "ended": TEXTS})
    return (
        Operation(
            *("GET", all_of, "users.grants", "the programs this user let in", _worded(do.grants)),
            query=paging.QUERY,
            parts=_USER,
            answer=answered({"grants": rows_of(GRANT), "next": paging.NEXT}),
        ),
        Operation(
            *("DELETE", all_of, "users.logout", "end all that this user let in", _worded(do.end)),
            parts=_USER,
            answer=ended,
        ),
        Operation(
            *("DELETE", f"{all_of}/{{grant}}", "users.logout_one", "end one of them", _worded(do.end)),
            parts={**_USER, "grant": _GRANT},
            answer=ended,
        ),
    )


def _worded(handler: Callable[[Asked], Awaitable[Answer]]) -> Callable[[Asked], Awaitable[Answer]]:
    """The same, with refusals by their status."""

    async def asked_for(asked: Asked) -> Answer:
        try:
            return await handler(asked)
        except (UnknownUser, UnknownGrant) as exc:
            raise Refused(404, "not_found", str(exc)) from exc
        except NameTaken as exc:
            raise Refused(409, "exists", str(exc)) from exc
        except (Busy, InviteRefused) as exc:
            raise Refused(409, "not_done", str(exc)) from exc
        except importing.ImportRefused as exc:
            raise Refused(422, "invalid", str(exc), faults=list(exc.faults)) from exc
        except ValueError as exc:
            raise Refused(422, "invalid", str(exc)) from exc

    return asked_for


def _seen(asked: Asked) -> int | None:
    """The version of If-Match, for those who send it: a change names what it changes, so nobody's else is lost."""
    return None if asked.if_match is None else asked.version()


def _versioned(made: dict[str, Any]) -> Answer:
    return Answer(made, etag=str(made["version"]))

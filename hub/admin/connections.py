"""Accounts at downstreams over the admin API: what may be asked, and with which status it is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from hub.admin import paging
from hub.admin.connection_desk import ConnectionDesk, NoLogin, UnknownConnection, Wish
from hub.admin.operation import Answer, Asked, Operation, Refused, object_of
from hub.admin.schemas import COUNT, FLAG, TEXT, TEXTS, answered, or_null, rows_of
from hub.core.call import Json
from hub.identity.outbound.refresher import MAX_LABEL
from hub.identity.users import UnknownUser

WAIT_S: Final = 20  # that one request waits for a login

_ONE: Final[Mapping[str, Json]] = {"id": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}}
_LOGIN: Final[Mapping[str, Json]] = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$", "description": "as the offer of the login says"}
}
_USER: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$",
    "description": "a user's name or id",
}
_SERVER: Final[Json] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,23}$", "description": "a server's id"}
_LABEL: Final[Json] = {
    "type": "string",
    "maxLength": MAX_LABEL,
    "description": "tells several accounts of one holder at one server apart",
}
_HOLDER: Final[Json] = {"type": "string", "enum": ["user", "local", "key", "shared"], "description": "whose they are"}
_WAIT: Final[Json] = {
    "type": "integer",
    "minimum": 0,
    "maximum": WAIT_S,
    "description": "seconds to wait for the end of the login",
}
_WISH: Final = object_of(
    {"server": _SERVER},
    {
        "user": {**_USER, "description": "whose account it will be; without it and `shared`, this computer's"},
        "shared": {"type": "boolean", "description": "the account of everybody"},
        "label": _LABEL,
    },
)
_CHANGES: Final = object_of(
    {}, {"label": _LABEL, "chosen": {"enum": [True], "description": "of several accounts there, use this one"}}
)
_SHOWN: Final[dict[str, Json]] = {
    "id": TEXT,
    "server": TEXT,
    "holder": TEXT,
    "user": or_null(TEXT),
    "holder_id": TEXT,
    "account": or_null(TEXT),
    "label": TEXT,
    "issuer": TEXT,
    "resource": TEXT,
    "scopes": TEXTS,
    "grant": TEXT,
    "state": TEXT,
    "why": or_null(TEXT),
    "chosen": FLAG,
    "logged_in_at": TEXT,
    "renewed_at": TEXT,
    "ends_at": or_null(TEXT),
}
ROW: Final = answered(_SHOWN)
OFFERED: Final = answered({"id": TEXT, "url": TEXT, "expires_in_s": COUNT})
PENDING: Final = answered({"state": {"enum": ["waiting", "done", "gone"]}, "connection": or_null(ROW)})
REMOVED: Final = answered({**_SHOWN, "revoked": {"enum": ["yes", "no", "failed", "later", "unreadable"]}})


class _Acts:
    """What is asked over the API, done by the desk."""

    def __init__(self, desk: ConnectionDesk) -> None:
        self._desk = desk

    async def listed(self, asked: Asked) -> Answer:
        found = self._desk.rows(asked.query.get("user"), asked.query.get("server"), asked.query.get("holder"))
        rows, cursor = paging.page(found, asked.query, lambda row: f"{row.server} {row.id}")
        return Answer({"connections": [self._desk.shown(row) for row in rows], "next": cursor})

    async def get(self, asked: Asked) -> Answer:
        return Answer(self._desk.show(asked.path["id"]))

    async def login(self, asked: Asked) -> Answer:
        body = asked.body
        wish = Wish(body["server"], body.get("user"), body.get("shared", False), body.get("label", ""))
        return Answer(await self._desk.login(asked.who.name, wish))

    async def pending(self, asked: Asked) -> Answer:
        return Answer(await self._desk.pending(asked.path["id"], float(asked.query.get("wait_s", 0))))

    async def change(self, asked: Asked) -> Answer:
        return Answer(await self._desk.change(asked.who.name, asked.path["id"], asked.body))

    async def remove(self, asked: Asked) -> Answer:
        return Answer(await self._desk.remove(asked.who.name, asked.path["id"]))


def operations(desk: ConnectionDesk) -> tuple[Operation, ...]:
    return (*_of_all(_Acts(desk)), *_of_one(_Acts(desk)))


def _of_all(do: _Acts) -> tuple[Operation, ...]:
    listed = answered({"connections": rows_of(ROW), "next": paging.NEXT})
    summary = "the accounts that the hub speaks with at servers, by server"
    return (
        Operation(
            *("GET", "/connections", "connections.list", summary, _worded(do.listed)),
            query={**paging.QUERY, "user": _USER, "server": _SERVER, "holder": _HOLDER},
            answer=listed,
            refusals=(404,),
        ),
        Operation(
            *("POST", "/connections", "connections.login", "a page to log in at, good once", _worded(do.login)),
            body=_WISH,
            answer=OFFERED,
            status=201,
            refusals=(404, 409),
        ),
        Operation(
            *("GET", "/connections/logins/{id}", "connections.pending", "how such a login goes", _worded(do.pending)),
            query={"wait_s": _WAIT},
            parts=_LOGIN,
            answer=PENDING,
        ),
    )


def _of_one(do: _Acts) -> tuple[Operation, ...]:
    one = "/connections/{id}"
    return (
        Operation(
            *("GET", one, "connections.get", "one account", _worded(do.get)),
            parts=_ONE,
            answer=ROW,
        ),
        Operation(
            *("PATCH", one, "connections.change", "another label, or use it from now on", _worded(do.change)),
            body=_CHANGES,
            parts=_ONE,
            answer=ROW,
            refusals=(409,),
        ),
        Operation(
            *("DELETE", one, "connections.remove", "forget it, and have its issuer end it", _worded(do.remove)),
            parts=_ONE,
            answer=REMOVED,
        ),
    )


def _worded(handler: Callable[[Asked], Awaitable[Answer]]) -> Callable[[Asked], Awaitable[Answer]]:
    """The same, with refusals by their status."""

    async def asked_for(asked: Asked) -> Answer:
        try:
            return await handler(asked)
        except (UnknownConnection, UnknownUser) as exc:
            raise Refused(404, "not_found", str(exc)) from exc
        except NoLogin as exc:
            raise Refused(409, "not_done", str(exc)) from exc
        except ValueError as exc:
            raise Refused(422, "invalid", str(exc)) from exc

    return asked_for

"""A hub's part that holds connections, as a process of its own: to be killed while it renews one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import time

from hub.identity.outbound.book import Clocks
from hub.identity.outbound.held import NeedsLogin, NotNow
from hub.identity.outbound.refresher import Connections
from hub.identity.sealer import KeySealer
from hub.stores.sqlite.connections import SqliteConnections
from hub.stores.sqlite.database import open_database
from tests.identity.outbound.rotating import RESOURCE, OverHttp

Told = tuple[str, str]  # "token", "needs_login" or "not_now", and what more there is to say


@dataclass(frozen=True)
class Order:
    database: Path
    issuer: str
    key: bytes
    later_s: float  # how far its clock is ahead
    users: tuple[str, ...]


def run(order: Order, answers: Connection) -> None:
    asyncio.run(_serve(order, answers))


async def _serve(order: Order, answers: Connection) -> None:
    database = await open_database(order.database)
    clocks = Clocks(wall=lambda: time() + order.later_s)
    store = SqliteConnections(database)
    connections = Connections(store, KeySealer(order.key), OverHttp(order.issuer), clocks)
    await connections.load()
    tokens = [await connections.token("wiki", user, RESOURCE) for user in order.users]
    answers.send([_told(token) for token in tokens])
    await connections.aclose()
    await database.aclose()


def _told(token: str | NeedsLogin | NotNow) -> Told:
    match token:
        case NeedsLogin(reason):
            return "needs_login", reason
        case NotNow(why):
            return "not_now", why
    return "token", token

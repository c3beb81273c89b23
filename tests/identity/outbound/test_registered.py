"""Registrations at issuers are kept, told to no other issuer, and not used again once they were refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hub.core.connections import ConnectionStore
from hub.identity.outbound.parties import Client
from hub.identity.outbound.registered import Registered
from hub.identity.sealer import KeySealer
from hub.stores.memory.connections import MemoryConnections
from tests.identity.outbound.holding import SEALER
from tests.identity.outbound.rotating import Times

CLIENT = Client("https://as", "c1", "dynamic", "client_secret_basic", "s3cret", 9e9, ("http://127.0.0.1/cb",))


def registrations(store: ConnectionStore, times: Times) -> Registered:
    return Registered(store, SEALER, times.wall)


async def test_what_was_registered_comes_back_whole_and_at_its_issuer_only() -> None:
    store, times = MemoryConnections(), Times()
    await registrations(store, times).keep(CLIENT)
    assert await registrations(store, times).known("https://as") == CLIENT
    assert await registrations(store, times).known("https://as/") is None
    (row,) = await store.registrations("local")
    assert "s3cret" not in repr(row)
    assert b"s3cret" not in (row.sealed or b"")


async def test_a_login_takes_the_newest_and_none_that_was_refused() -> None:
    store, times = MemoryConnections(), Times()
    kept = registrations(store, times)
    public = Client("https://as", "c2", "dynamic", redirect_uris=("http://127.0.0.1/cb",))
    await kept.keep(CLIENT)
    times.pass_by(1)
    await kept.keep(public)
    assert await kept.known("https://as") == public
    _, newest = await store.registrations("local")
    await store.put_registration(replace(newest, version=2, refused_at=times.wall()), 1)
    assert await kept.known("https://as") == CLIENT
    await kept.keep(public)  # the issuer gave the same again
    assert await kept.known("https://as") == public
    times.pass_by(1)
    await kept.keep(replace(CLIENT, secret="another"))
    assert await kept.known("https://as") == replace(CLIENT, secret="another")
    assert len(await store.registrations("local")) == 2


async def test_many_who_keep_one_registration_at_once_all_do() -> None:
    store, times = MemoryConnections(), Times()
    await asyncio.gather(*(registrations(store, times).keep(CLIENT) for _ in range(4)))
    assert await registrations(store, times).known("https://as") == CLIENT


async def test_a_secret_that_does_not_open_is_no_client() -> None:
    store, times = MemoryConnections(), Times()
    await registrations(store, times).keep(CLIENT)
    assert await Registered(store, KeySealer(b"x" * 32), times.wall).known("https://as") is None
    (row,) = await store.registrations("local")
    await store.put_registration(replace(row, issuer="https://evil"), None)
    assert await registrations(store, times).known("https://evil") is None  # sealed for another issuer

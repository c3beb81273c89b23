"""Who is gone leaves no connection, whether or not somebody was told of the going."""

from __future__ import annotations

from datetime import timedelta

from hub.assembly_offboarding import abandoned, sweep, swept
from hub.core.call import LOCAL
from hub.identity.keys import Keys
from hub.identity.profiles import Profile
from hub.stores.memory.keys import MemoryKeys
from tests.edge.fakes import eventually
from tests.identity.outbound.office import an_office
from tests.identity.user_parts import PASSWORD, Clock, People


async def ada(people: People) -> str:
    await people.users.load()
    return (await people.users.create("ada", Profile(roles=("member",)), PASSWORD)).id


async def test_the_connections_of_a_key_end_with_it_and_those_of_others_stay() -> None:
    async with an_office() as office:
        people, clock = People(), Clock()
        keys = Keys(MemoryKeys(), clock)
        await keys.load()
        user = await ada(people)
        revoked, _ = await keys.create("old")
        ended, _ = await keys.create("short", expires_in=timedelta(hours=1))
        standing, _ = await keys.create("ci")
        accounts = [f"key:{row.id}" for row in (revoked, ended, standing)]
        for account in (*accounts, user, LOCAL):
            await office.log_in(account)
        assert abandoned(office.connections.rows(), people.users, keys) == {}
        await keys.revoke(revoked.id)
        clock.at += 3601
        assert set(abandoned(office.connections.rows(), people.users, keys)) == set(accounts[:2])
        await sweep(office.connections, office.leaving, people.users, keys)
        left = {row.user for row in await office.store.all("local")}
        assert left == {accounts[2], user, LOCAL}
        await eventually(lambda: len(office.bank.revoked) == 4)


async def test_a_user_who_was_disabled_while_nobody_listened_loses_all_at_the_next_start() -> None:
    async with an_office() as office:
        people, keys = People(), Keys(MemoryKeys())
        await keys.load()
        user = await ada(people)
        await office.log_in(user)
        row = people.users.by_id(user)
        assert row is not None
        await people.users.disable(user, row.version)
        async with swept(office.connections, office.leaving, people.users, keys, every_s=3600.0):
            await eventually(lambda: office.connections.rows() == ())
        assert office.log.events[-1][3]["act"] == "connections.logout"

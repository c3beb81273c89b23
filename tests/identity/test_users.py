"""Users: made, changed, disabled, and what of it others are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hub.core.accounts import UserRow
from hub.core.ports import Conflict
from hub.identity.profiles import Profile
from hub.identity.users import InviteRefused, NameTaken, UnknownUser
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.users import SqliteUsers
from tests.identity.user_parts import HERE, OTHER, PASSWORD, People


@pytest.fixture
def people() -> People:
    return People()


async def test_a_new_user_is_found_by_name_and_id_and_kept(people: People) -> None:
    profile = Profile(("ops", "member"), ("a", "b"), "Ada", "ada@example.com", {"team": "x"})
    row = await people.users.create(" Ada.L@Example.com ", profile, PASSWORD)
    assert row.id[0] == "u"
    assert len(row.id) == 17
    assert (row.name, row.roles, row.groups, row.version) == ("ada.l@example.com", ("ops", "member"), ("a", "b"), 1)
    assert row.password is not None
    assert row.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert people.users.find("ADA.L@example.com") == people.users.by_id(row.id) == people.users.meant(row.id) == row
    again = people.anew()
    await again.load()
    assert again.rows() == (row,)


async def test_a_login_is_possible_only_once_somebody_has_a_password(people: People) -> None:
    assert people.users.any() is False
    row = await people.users.create("ada")
    assert people.users.any() is False
    await people.users.set_password(row.id, PASSWORD)
    assert people.users.any() is True
    await people.users.disable(row.id)
    assert people.users.any() is False


@pytest.mark.parametrize("name", ["", "  ", "a b", "ädä", "-a", "a" * 129, "a\nb", "u0123456789abcdef", "a:b", "a/b"])
async def test_what_is_no_name_is_refused(people: People, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a user"):
        await people.users.create(name)
    assert people.users.rows() == ()


async def test_a_name_is_one_users_also_while_that_one_is_disabled(people: People) -> None:
    row = await people.users.create("ada")
    with pytest.raises(NameTaken, match=r"'ada' already$"):
        await people.users.create("ADA")
    await people.users.disable(row.id)
    with pytest.raises(NameTaken, match="users enable"):
        await people.users.create("ada")


async def test_of_many_who_make_one_user_at_once_one_does(people: People) -> None:
    done = await asyncio.gather(*(people.users.create("ada") for _ in range(10)), return_exceptions=True)
    assert [type(each) for each in done].count(NameTaken) == 9
    assert len(people.users.rows()) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"roles": ("root",)}, "no role 'root'"),
        ({"roles": ("member",) * 33}, "at most 32 roles"),
        ({"groups": ("",)}, "group"),
        ({"groups": (" x",)}, "group"),
        ({"groups": tuple(map(str, range(257)))}, "at most 256 groups"),
        ({"display": "a\u202eb"}, "printable"),
        ({"display": "x" * 257}, "at most 256"),
        ({"email": "a\nb"}, "printable"),
        ({"attributes": {"a": 1}}, "texts by name"),
        ({"attributes": {str(n): "x" for n in range(33)}}, "at most 32 attributes"),
        ({"password": "x"}, "cannot be changed so"),
    ],
)
async def test_what_does_not_fit_is_refused_and_changes_nothing(people: People, given: dict, words: str) -> None:  # type: ignore[type-arg]
    row = await people.users.create("ada")
    with pytest.raises(ValueError, match=words):
        await people.users.change(row.id, given)
    assert people.users.rows() == (row,)


async def test_every_change_counts_and_only_those_that_end_something_are_told(people: People) -> None:
    row = await people.users.create("ada", None, PASSWORD)
    for given in ({"display": "Ada"}, {"email": "a@b"}, {"attributes": {"team": "x"}}):
        await people.users.change(row.id, given)
    assert people.told == []
    await people.users.change(row.id, {"roles": ("auditor",)})
    await people.users.change(row.id, {"groups": ("x",)})
    await people.users.set_password(row.id, OTHER)
    await people.users.disable(row.id)
    assert people.told == [row.id] * 4
    await people.users.enable(row.id)
    assert people.told == [row.id] * 4
    now = people.users.by_id(row.id)
    assert now is not None
    assert now.version == 9
    again = people.anew()
    await again.load()
    assert again.rows() == (now,)


async def test_what_changes_nothing_is_no_new_version(people: People) -> None:
    row = await people.users.create("ada")
    assert await people.users.change(row.id, {"roles": ("member",)}) == row
    gone = await people.users.disable(row.id)
    people.clock.at += 60
    assert await people.users.disable(row.id) == gone


async def test_a_change_of_what_somebody_else_changed_is_refused(people: People) -> None:
    row = await people.users.create("ada")
    await people.users.change(row.id, {"display": "x"}, 1)
    with pytest.raises(Conflict):
        await people.users.change(row.id, {"display": "y"}, 1)
    with pytest.raises(UnknownUser):
        await people.users.change("u0000000000000000", {"display": "y"})


async def test_a_row_that_another_process_changed_is_read_again(people: People) -> None:
    row = await people.users.create("ada")
    newer = replace(row, version=2, display="by another")
    await people.store.put((newer,), (1,))
    with pytest.raises(Conflict):
        await people.users.change(row.id, {"display": "mine"})
    assert people.users.rows() == (newer,)


async def test_one_watcher_that_fails_keeps_no_other_from_hearing(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(id: str) -> None:
        raise RuntimeError("no")

    later: list[str] = []
    people.users.watch(broken)
    people.users.watch(later.append)
    row = await people.users.create("ada")
    await people.users.disable(row.id)
    assert later == people.told == [row.id]
    assert "did not take the end" in caplog.text


class Failing:
    """A store whose disk is full."""

    async def all(self, tenant: str) -> tuple[UserRow, ...]:
        return ()

    async def put(self, rows: object, expected: object) -> None:
        raise OSError("disk full")


async def test_what_is_not_stored_is_not_in_force() -> None:
    people = People(store=Failing())
    with pytest.raises(OSError, match="disk full"):
        await people.users.create("ada", None, PASSWORD)
    assert (people.users.rows(), people.users.any(), people.told) == ((), False, [])


async def test_several_changes_are_made_together_or_not_at_all(people: People) -> None:
    ada, bob = await people.users.create("ada"), await people.users.create("bob")
    with pytest.raises(NameTaken):
        await people.users.replace_all([(ada, replace(ada, display="x")), (None, replace(bob, id="u9"))])
    with pytest.raises(Conflict):
        await people.users.replace_all([(ada, replace(ada, display="x")), (replace(bob, version=7), bob)])
    assert people.users.rows() == (ada, bob)
    made = await people.users.replace_all([(ada, replace(ada, name="bob")), (bob, replace(bob, name="ada"))])
    assert [(row.id, row.version) for _, row in made] == [(ada.id, 2), (bob.id, 2)]
    assert [row.id for row in people.users.rows()] == [bob.id, ada.id]
    assert set(people.told) == {ada.id, bob.id}


async def test_what_is_put_back_is_as_before_and_a_new_one_leaves_its_name(people: People) -> None:
    old = await people.users.create("ada", None, PASSWORD)
    changed = await people.users.change(old.id, {"roles": ("admin",)})
    new = await people.users.create("bob", None, PASSWORD)
    await people.users.put_all_back([(old, changed), (None, new)])
    back, gone = people.users.by_id(old.id), people.users.by_id(new.id)
    assert back == replace(old, version=3)
    assert gone is not None
    assert (gone.name, gone.password, gone.disabled_at is None) == (new.id, None, False)
    await people.users.create("bob")


async def test_what_was_changed_since_is_not_put_back(people: People) -> None:
    old = await people.users.create("ada")
    changed = await people.users.change(old.id, {"roles": ("admin",)})
    since = await people.users.change(old.id, {"display": "x"})
    await people.users.put_back(changed, old)
    assert people.users.rows() == (since,)


async def test_the_first_user_comes_by_a_link_that_is_good_once(people: People) -> None:
    code = await people.users.invite()
    row = await people.users.accept(code, "Ada", PASSWORD)
    assert (row.name, row.roles) == ("ada", ("admin",))
    assert await people.login() == "password"
    with pytest.raises(InviteRefused, match="void"):
        await people.users.accept(code, "eve", PASSWORD)
    with pytest.raises(InviteRefused, match="there is a user"):
        await people.users.invite()


async def test_a_link_is_void_after_a_day_after_a_newer_one_and_with_any_other_code(people: People) -> None:
    old = await people.users.invite()
    code = await people.users.invite()
    for wrong in (old, "", code[:-1], code + "x", "\ud800", "x" * 10_000):
        with pytest.raises(InviteRefused):
            await people.users.accept(wrong, "eve", PASSWORD)
    people.clock.at += 86_400
    with pytest.raises(InviteRefused):
        await people.users.accept(code, "eve", PASSWORD)
    assert people.users.rows() == ()


async def test_a_link_is_void_once_somebody_can_log_in(people: People) -> None:
    code = await people.users.invite()
    await people.users.create("ada", None, PASSWORD)
    with pytest.raises(InviteRefused, match="there is a user"):
        await people.users.accept(code, "eve", PASSWORD)


async def test_a_link_survives_a_password_that_is_too_weak(people: People) -> None:
    code = await people.users.invite()
    with pytest.raises(ValueError, match="between 12"):
        await people.users.accept(code, "ada", "short")
    assert (await people.users.accept(code, "ada", PASSWORD)).name == "ada"


async def test_of_many_with_one_link_one_becomes_the_first_user(people: People) -> None:
    code = await people.users.invite()
    done = await asyncio.gather(
        *(people.users.accept(code, f"user{number}", PASSWORD) for number in range(8)), return_exceptions=True
    )
    assert [type(each) for each in done].count(InviteRefused) == 7
    assert len(people.users.rows()) == 1


async def test_no_password_or_code_is_in_any_file_or_text(tmp_path: Path) -> None:
    database = await open_database(tmp_path / "hub.db")
    people = People(store=SqliteUsers(database))
    code = await people.users.invite()
    row = await people.users.accept(code, "ada", PASSWORD)
    secret, _ = people.users.begin_otp(row.id, "MCP Hub")
    await people.users.check("ada", PASSWORD, None, HERE)
    await database.aclose()
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for text in (PASSWORD, code, secret):
        assert text.encode() not in held
    assert PASSWORD not in repr(people.users.rows())

"""Logging in: by password and one-time code, and how often it may fail."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from dataclasses import replace

import pytest

from hub.identity.oauth.asked import Login
from hub.identity.throttle import Attempts, Buckets, Rate, network
from hub.identity.users import Wrong
from tests.identity.user_parts import HERE, OTHER, PASSWORD, THERE, Clock, People


@pytest.fixture
async def people() -> People:
    made = People()
    await made.users.create("ada", None, PASSWORD)
    return made


async def otp_of(people: People) -> bytes:
    """The secret of ada's one-time codes, in force."""
    row = people.users.meant("ada")
    text, uri = people.users.begin_otp(row.id, "MCP Hub")
    assert re.fullmatch(r"otpauth://totp/MCP%20Hub:ada\?.*", uri)
    assert f"secret={text}" in uri
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    await people.users.confirm_otp(row.id, people.code(secret))
    people.clock.at += 30
    return secret


async def test_name_and_password_log_in(people: People) -> None:
    found = await people.users.check(" ADA ", PASSWORD, None, HERE)
    assert found == Login(people.users.meant("ada"), people.clock.at, "password")


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", OTHER), ("eve", PASSWORD), ("", ""), ("ada", ""), ("ada", "\ud800"), ("ada", PASSWORD + "x" * 300)],
)
async def test_everything_else_is_wrong_in_one_word(people: People, name: str, password: str) -> None:
    assert await people.users.check(name, password, None, HERE) == Wrong("wrong")


async def test_who_is_disabled_or_has_no_password_reads_as_unknown(people: People) -> None:
    await people.users.create("bob")
    await people.users.disable(people.users.meant("ada").id)
    assert [await people.login(name) for name in ("ada", "bob", "eve")] == ["wrong"] * 3


async def test_who_is_disabled_while_the_password_is_compared_is_not_in(people: People) -> None:
    login = asyncio.create_task(people.users.check("ada", PASSWORD, None, HERE))
    await asyncio.sleep(0)
    await people.users.disable(people.users.meant("ada").id)
    assert await login == Wrong("wrong")


async def test_a_name_that_nobody_has_costs_what_a_wrong_password_costs(people: People) -> None:
    async def cost(name: str) -> float:
        best = 9.0
        for number in range(6):
            began = time.perf_counter()
            assert await people.login(name, OTHER, at=f"203.0.113.{number}") == "wrong"
            best = min(best, time.perf_counter() - began)
        return best

    known, unknown = await cost("ada"), await cost("nobody")
    assert unknown > known / 3  # without the hash it would be a hundredth


async def test_a_password_typed_in_another_normal_form_is_the_same(people: People) -> None:
    await people.users.create("bob", None, "caf\u00e9 au lait \ufb01ne")
    assert await people.login("bob", "cafe\u0301 au lait fine") == "password"


async def test_after_ten_failures_an_address_waits_and_then_goes_on(people: People) -> None:
    assert [await people.login(f"u{number}", OTHER) for number in range(10)] == ["wrong"] * 10
    found = await people.users.check("ada", PASSWORD, None, HERE)
    assert isinstance(found, Wrong)
    assert (found.kind, 0 < found.wait_s <= 6) == ("wait", True)
    people.clock.at += found.wait_s
    assert await people.login() == "password"


async def test_a_valid_login_is_not_locked_out_by_failures_from_elsewhere(people: People) -> None:
    for number in range(30):
        await people.login("ada", OTHER, at=f"203.0.113.{number}")
    assert await people.login(at=THERE) == "password"
    assert await people.login(at=THERE) == "password"


async def test_an_account_under_attack_takes_one_guess_from_each_address(people: People) -> None:
    for number in range(10):
        await people.login("ada", OTHER, at=f"203.0.113.{number}")
    assert await people.login("ada", OTHER, at=THERE) == "wrong"
    assert await people.login("ada", OTHER, at=THERE) == "wait"


async def test_many_at_once_count_as_many(people: People) -> None:
    found = await asyncio.gather(*(people.login("ada", OTHER) for _ in range(40)))
    assert (found.count("wrong"), found.count("wait")) == (10, 30)


async def test_logins_that_succeed_do_not_count(people: People) -> None:
    assert [await people.login() for _ in range(15)] == ["password"] * 15


async def test_more_than_can_be_compared_are_told_to_wait_and_count_for_nothing(people: People) -> None:
    found = await asyncio.gather(*(people.login("ada", PASSWORD, at=f"203.0.113.{n}") for n in range(9)))
    assert set(found) == {"password"}
    many = await asyncio.gather(*(people.login(f"x{n}", OTHER, at=f"198.18.{n}.1") for n in range(60)))
    assert (many.count("wrong"), many.count("wait")) == (34, 26)
    assert await people.login("x59", OTHER, at="198.18.59.1") == "wrong"


async def test_with_one_time_codes_the_password_alone_is_not_enough(people: People) -> None:
    secret = await otp_of(people)
    assert await people.login() == "otp_needed"
    assert await people.login(code="") == "otp_needed"
    assert await people.login(password=OTHER, code=people.code(secret)) == "wrong"
    assert await people.login(code=people.code(secret)) == "otp"


async def test_a_code_is_good_once_and_with_it_every_older_one(people: People) -> None:
    secret = await otp_of(people)
    older, code, newer = (people.code(secret, steps) for steps in (-1, 0, 1))
    assert await people.login(code=code) == "otp"
    assert [await people.login(code=each) for each in (code, older)] == ["otp_wrong"] * 2
    assert await people.login(code=f"{newer[:3]} {newer[3:]}") == "otp"


async def test_of_many_with_one_code_one_gets_in(people: People) -> None:
    code = people.code(await otp_of(people))
    found = await asyncio.gather(*(people.login(code=code, at=f"203.0.113.{n}") for n in range(5)))
    assert (found.count("otp"), found.count("otp_wrong")) == (1, 4)


@pytest.mark.parametrize(("steps", "fits"), [(-2, False), (-1, True), (1, True), (2, False)])
async def test_clocks_may_differ_by_one_step(people: People, steps: int, fits: bool) -> None:
    secret = await otp_of(people)
    people.clock.at += 300
    assert await people.login(code=people.code(secret, steps)) == ("otp" if fits else "otp_wrong")


@pytest.mark.parametrize("code", ["12345", "1234567", "abcdef", "\u0661" * 6, "-12345", "1" * 10_000, "12\u00b2456"])
async def test_what_is_no_code_is_wrong(people: People, code: str) -> None:
    await otp_of(people)
    assert await people.login(code=code) == "otp_wrong"


async def test_codes_are_guessed_five_times_and_then_once_a_minute_wherever_from(people: People) -> None:
    secret = await otp_of(people)
    wrong = "000000" if people.code(secret) != "000000" else "111111"
    found = [await people.login(code=wrong, at=f"203.0.113.{n}") for n in range(7)]
    assert found == ["otp_wrong"] * 5 + ["wait"] * 2
    people.clock.at += 61
    assert await people.login(code=people.code(secret), at=THERE) == "otp"


async def test_a_secret_that_does_not_open_lets_nobody_in(people: People, caplog: pytest.LogCaptureFixture) -> None:
    secret = await otp_of(people)
    other = People(store=people.store, clock=people.clock)  # with another key
    await other.users.load()
    assert await other.login(code=other.code(secret)) == "otp_wrong"
    assert "does not open" in caplog.text


async def test_a_sealed_secret_in_another_users_row_does_not_open(people: People) -> None:
    secret = await otp_of(people)
    bob = await people.users.create("bob", None, PASSWORD)
    await people.users.replace_all([(bob, replace(bob, otp=people.users.meant("ada").otp))])
    assert await people.login("bob", code=people.code(secret)) == "otp_wrong"


async def test_a_reset_asks_for_the_password_alone_and_ends_what_is_open(people: People) -> None:
    await otp_of(people)
    assert people.told == []  # setting it up took nothing away
    row = people.users.meant("ada")
    await people.users.reset_otp(row.id)
    assert people.told == [row.id]
    assert await people.login() == "password"


async def test_a_new_secret_is_in_force_only_once_a_code_confirmed_it(people: People) -> None:
    row = people.users.meant("ada")
    people.users.begin_otp(row.id, "MCP Hub")
    assert await people.login() == "password"
    with pytest.raises(ValueError, match="not the code of now"):
        await people.users.confirm_otp(row.id, "12345")
    people.clock.at += 600
    with pytest.raises(ValueError, match="begin again"):
        await people.users.confirm_otp(row.id, "123456")
    assert people.users.meant("ada").otp is None


def test_a_bucket_that_many_fill_keeps_those_that_matter_most() -> None:
    clock = Clock()
    buckets, rate = Buckets(clock, most=100), Rate(10, 10)
    for _ in range(10):
        buckets.take(("guilty",), rate)
    for number in range(1000):
        buckets.take((f"n{number}",), rate)
    assert len(buckets) <= 100
    assert buckets.wait(("guilty",), rate) > 0
    clock.at += 61
    buckets.take(("x",), rate)
    assert buckets.wait(("guilty",), rate) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("nonsense", "nonsense", True),
    ],
)
def test_addresses_of_one_customer_are_one_place(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


def test_places_and_accounts_of_any_length_are_bounded() -> None:
    attempts = Attempts(Clock())
    assert attempts.begin("a", "x" * 100_000) == 0.0
    assert len(network("x" * 100_000)) == 64
    assert len(attempts) == 3

"""Which passwords are good enough, how they are kept, and one-time codes by the book."""

from __future__ import annotations

import asyncio
import time

import pytest

from hub.identity.otp import OneTimeCodes
from hub.identity.passwords import Busy, Passwords, fit


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "Tr0ub4dor&3-extra", "\u79c1\u306e\u30d1\u30b9\u30ef\u30fc\u30c9" * 2, "x7$Kq!9zLm2#"],
)
def test_long_and_mixed_passwords_are_taken(password: str) -> None:
    assert fit(password, "ada")


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("elevenchars", "between 12 and 256"),
        ("x" * 257, "between 12 and 256"),
        ("\ud800" * 12, "between 12 and 256"),
        ("", "between 12 and 256"),
        ("aaaaaaaaaaaaaa", "too simple"),
        ("abababababab", "too simple"),
        ("123456789012", "too simple"),
        ("098765432109", "too simple"),
        ("ada.lovelace", "user's name"),
        ("Ada.Lovelace2026!", "user's name"),
        ("Password2026!", "commonest"),
        ("passwordpassword", "commonest"),
        ("qwertyuiop12", "commonest"),
        ("Administrator1", "commonest"),
        ("correcthorsebatterystaple", "commonest"),
    ],
)
def test_short_simple_and_common_ones_are_refused_without_being_told(password: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        fit(password, "ada.lovelace@example.com")
    assert not password or password not in str(raised.value)


async def test_a_hash_matches_its_password_alone() -> None:
    passwords = Passwords()
    made, again = await passwords.hashed("correct horse"), await passwords.hashed("correct horse")
    assert made != again
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.matches("correct horse", made)
    assert not await passwords.matches("correct horsf", made)
    assert not await passwords.matches("correct horse", None)
    assert not await passwords.matches("correct horse", "$argon2id$rubbish")
    assert not await passwords.matches("correct horse", "")


async def test_two_are_compared_at_once_and_a_bounded_number_waits() -> None:
    passwords = Passwords(at_once=1, waiting=3)
    found = await asyncio.gather(*(passwords.hashed(str(number)) for number in range(10)), return_exceptions=True)
    assert [type(each) for each in found].count(Busy) == 6
    assert await passwords.hashed("x")  # and the room is free again


async def test_the_loop_goes_on_while_passwords_are_compared() -> None:
    passwords = Passwords()
    work = asyncio.gather(*(passwords.hashed(str(number)) for number in range(6)))
    turns, began = 0, time.perf_counter()
    while not work.done() and time.perf_counter() - began < 5:
        await asyncio.sleep(0)
        turns += 1
    await work
    assert turns > 50


SECRET = b"12345678901234567890"  # RFC 6238 appendix B


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_rfc(at: int, code: str) -> None:
    assert OneTimeCodes(lambda: at).use("u1", SECRET, code)
    assert not OneTimeCodes(lambda: at).use("u1", SECRET, f"{(int(code) + 1) % 10**6:06}")
    assert not OneTimeCodes(lambda: at + 90).use("u1", SECRET, code)

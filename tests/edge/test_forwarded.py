from __future__ import annotations

import pytest

from hub.edge.forwarded import caller_address, seen_by

PROXIES = ("10.0.0.0/8", "::1", "127.0.0.1")


def scope(address: str) -> dict[str, object]:
    return {"type": "http", "client": (address, 4242)}


def header(text: str) -> dict[str, str]:
    return {"x-forwarded-for": text}


def test_without_trusted_proxies_the_header_says_nothing() -> None:
    assert caller_address(scope("127.0.0.1"), header("198.51.100.7"), ()) == "127.0.0.1"


def test_a_caller_that_is_no_proxy_cannot_say_who_it_is() -> None:
    assert caller_address(scope("203.0.113.5"), header("198.51.100.7"), PROXIES) == "203.0.113.5"


@pytest.mark.parametrize(
    ("peer", "text", "address"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "192.0.2.1, 198.51.100.7", "198.51.100.7"),  # the left one is the caller's own word
        ("127.0.0.1", "192.0.2.1, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("::ffff:127.0.0.1", "198.51.100.7:5555", "198.51.100.7"),
        ("::1", "[2001:db8::7]:443", "2001:db8::7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, 10.0.0.9, not an address", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7,", "127.0.0.1"),
    ],
)
def test_the_address_is_the_first_that_is_no_trusted_proxys(peer: str, text: str, address: str) -> None:
    assert caller_address(scope(peer), header(text), PROXIES) == address


def test_a_long_header_costs_a_bounded_look() -> None:
    text = ", ".join(["198.51.100.7"] + ["10.0.0.1"] * 5000)
    assert caller_address(scope("127.0.0.1"), header(text), PROXIES) == "10.0.0.1"


def test_what_is_behind_the_door_sees_the_callers_address() -> None:
    asked = scope("127.0.0.1")
    assert seen_by(asked, header("198.51.100.7"), PROXIES)["client"] == ("198.51.100.7", 4242)
    assert seen_by(asked, {}, PROXIES) is asked
    assert asked["client"] == ("127.0.0.1", 4242)

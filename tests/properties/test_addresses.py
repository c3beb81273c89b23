"""No way of writing an address makes it look better than it is."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from hub.core.addresses import URL_CAP, Target, fit_url, judge

INNER: Final = (  # of every kind that is not public: network, and the bits that stay free in it
    ("0.0.0.0", 24),
    ("10.0.0.0", 24),
    ("100.64.0.0", 22),
    ("100.100.100.200", 0),
    ("127.0.0.0", 24),
    ("168.63.129.16", 0),
    ("169.254.0.0", 16),
    ("172.16.0.0", 20),
    ("192.0.0.0", 8),
    ("192.0.2.0", 8),
    ("192.168.0.0", 16),
    ("198.18.0.0", 17),
    ("198.51.100.0", 8),
    ("203.0.113.0", 8),
    ("224.0.0.0", 28),
    ("240.0.0.0", 28),
)


def _inside(kind: tuple[str, int]) -> st.SearchStrategy[IPv4Address]:
    first = int(IPv4Address(kind[0]))
    return st.integers(first, first + 2 ** kind[1] - 1).map(IPv4Address)


def _at(prefix: str, *places: int) -> Callable[[IPv4Address, bytes], IPv6Address]:
    """The address of a prefix with the IPv4 address in these bytes, and anything in those behind it."""

    def put(inner: IPv4Address, filling: bytes) -> IPv6Address:
        packed = bytearray(IPv6Address(prefix).packed)
        packed[max(places) + 1 :] = filling[max(places) + 1 :]
        for place, byte in zip(places, inner.packed, strict=True):
            packed[place] = byte
        return IPv6Address(bytes(packed))

    return put


def _teredo_client(inner: IPv4Address, filling: bytes) -> IPv6Address:
    return IPv6Address(bytes.fromhex("2001000008080808") + filling[:4] + bytes(byte ^ 0xFF for byte in inner.packed))


def _isatap(inner: IPv4Address, filling: bytes) -> IPv6Address:
    first = bytes([0x20 | filling[0] & 0x1F])  # of 2000::/3, where the public ones are
    return IPv6Address(first + filling[1:8] + bytes([filling[8] & 3]) + b"\x00\x5e\xfe" + inner.packed)


FORMS: Final[tuple[Callable[[IPv4Address, bytes], IPv6Address], ...]] = (
    _at("::ffff:0:0", 12, 13, 14, 15),
    _at("::ffff:0:0:0", 12, 13, 14, 15),
    _at("::", 12, 13, 14, 15),
    _at("64:ff9b::", 12, 13, 14, 15),
    _at("64:ff9b:1:808:8:800::", 12, 13, 14, 15),
    _at("64:ff9b:1:808:8:800::", 9, 10, 11, 12),
    _at("64:ff9b:1:808:8:800::", 7, 9, 10, 11),
    _at("64:ff9b:1:808:8:800::", 6, 7, 9, 10),
    _at("2002::", 2, 3, 4, 5),
    _at("2001::", 4, 5, 6, 7),
    _teredo_client,
    _isatap,
)
inner = st.sampled_from(INNER).flatmap(_inside)


@given(inner)
def test_every_address_of_the_own_networks_is_known(address: IPv4Address) -> None:
    assert judge(address) != "public"


@given(inner, st.sampled_from(FORMS), st.binary(min_size=16, max_size=16))
def test_no_ipv6_form_of_an_inner_ipv4_address_is_public(
    address: IPv4Address, form: Callable[[IPv4Address, bytes], IPv6Address], filling: bytes
) -> None:
    assert judge(form(address, filling)) != "public"


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_only_unicast_and_what_carries_ipv4_can_be_public(address: IPv6Address) -> None:
    if judge(address) == "public":
        assert address.packed[0] >> 5 == 1 or address.packed.startswith((b"\x00\x64\xff\x9b", bytes(10) + b"\xff\xff"))
        assert not address.is_multicast
        assert not address.is_link_local


@given(st.text(max_size=80) | st.text(alphabet="htps:/.@[]#?%\\0127aé。", max_size=60).map("https://".__add__))
def test_a_url_is_read_or_refused_with_words_and_what_is_read_is_plain(url: str) -> None:
    target = _read(url)
    if isinstance(target, ValueError):
        assert str(target).startswith("the ")  # in the hub's own words
        assert not isinstance(target, UnicodeError)
        return
    assert len(url) <= URL_CAP
    assert 1 <= target.port <= 65535
    assert target.path_and_query.isascii()
    assert target.path_and_query.startswith("/")
    assert target.host == target.host.lower()
    assert fit_url(f"{target.scheme}://{target.authority}{target.path_and_query}", plain_loopback=True) == target


def _read(url: str) -> Target | ValueError:
    try:
        return fit_url(url, plain_loopback=True)
    except ValueError as exc:
        return exc

"""Where an address that came from outside may lead: judged by its numbers, and urls read in one way only. Pure.

The tables are the hub's own: what `ipaddress` calls private or global differs from release to release.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

URL_CAP: Final = 2048
HOST_CAP: Final = 253  # RFC 1035 §2.3.4, without the last dot

Address = IPv4Address | IPv6Address
Reach = Literal["public", "local", "never"]
_ORDER: Final[tuple[Reach, ...]] = ("public", "local", "never")  # the worst last

_NEVER4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # "this network", RFC 1122 §3.2.1.3; many systems take it for loopback
            "100.100.100.200/32",  # metadata of Alibaba Cloud, inside the shared space
            "168.63.129.16/32",  # the host agent of Azure
            "169.254.0.0/16",  # link-local, RFC 3927: most clouds' metadata
            "192.0.0.0/24",  # protocol assignments, RFC 6890; metadata of Oracle Cloud
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.88.99.0/24",  # 6to4 relays, RFC 7526
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_LOCAL4: Final = tuple(
    map(IPv4Network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")  # RFC 4291 §2.5.5.2
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215: of any prefix length from 48 on
_NAT64_PLACES: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))  # RFC 6052 §2.2
_6TO4: Final = IPv6Network("2002::/16")  # RFC 3056 §2
_TEREDO: Final = IPv6Network("2001::/32")  # RFC 4380 §4

# The first that holds an address is right; what none holds is never asked. IPv4-compatible (::/96) and IPv4-translated
# (::ffff:0:0:0/96) addresses are among these: no host of the internet has one.
_JUDGED6: Final[tuple[tuple[IPv6Network, Reach], ...]] = (
    (_MAPPED, "public"),  # these five say nothing themselves: the IPv4 addresses in them do
    (_NAT64, "public"),
    (_NAT64_LOCAL, "public"),
    (_6TO4, "public"),
    (_TEREDO, "public"),
    (IPv6Network("::1/128"), "local"),
    (IPv6Network("fd00:42::42/128"), "never"),  # metadata of Scaleway
    (IPv6Network("fd00:100::100:200/128"), "never"),  # of Alibaba Cloud
    (IPv6Network("fd00:a9fe:a9fe::1/128"), "never"),  # of Akamai
    (IPv6Network("fd00:c1::a9fe:a9fe/128"), "never"),  # of Oracle Cloud
    (IPv6Network("fd00:ec2::/32"), "never"),  # of AWS, with all else its hosts offer
    (IPv6Network("fd20:ce::254/128"), "never"),  # of Google Cloud
    (IPv6Network("fc00::/7"), "local"),  # RFC 4193
    (IPv6Network("2001::/23"), "never"),  # protocol assignments, RFC 2928
    (IPv6Network("2001:db8::/32"), "never"),  # documentation, RFC 3849
    (IPv6Network("3fff::/20"), "never"),  # documentation, RFC 9637
    (IPv6Network("2000::/3"), "public"),
)


def judge(ip: Address) -> Reach:
    """ "public": a host of the internet. "local": this machine or a private network. "never": no peer of the hub's.

    An IPv6 address that carries IPv4 ones is as bad as the worst of them. What cannot be told by the address alone: a
    translator with a prefix of the network's own, and networks that use public addresses inside.
    """
    if isinstance(ip, IPv4Address):
        return _judge4(ip)
    if ip.scope_id is not None:
        return "never"  # good on one link only
    own: Reach = next((reach for network, reach in _JUDGED6 if ip in network), "never")
    return max((own, *map(_judge4, _carried(ip))), key=_ORDER.index)


def is_loopback(ip: Address) -> bool:
    """This machine, in either family or mapped."""
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return ip.is_loopback


def _judge4(ip: IPv4Address) -> Reach:
    if any(ip in network for network in _NEVER4):
        return "never"
    return "local" if any(ip in network for network in _LOCAL4) else "public"


def _carried(ip: IPv6Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that somebody on the way might send the packet to."""
    packed = ip.packed
    if ip in _MAPPED or ip in _NAT64:
        yield IPv4Address(packed[12:])
    elif ip in _NAT64_LOCAL:
        for places in _NAT64_PLACES:
            yield IPv4Address(bytes(packed[place] for place in places))
    elif ip in _6TO4:
        yield IPv4Address(packed[2:6])
    elif ip in _TEREDO:
        yield IPv4Address(packed[4:8])
        yield IPv4Address(bytes(byte ^ 0xFF for byte in packed[12:]))
    if packed[8] & 0xFC == 0 and packed[9:12] == b"\x00\x5e\xfe":  # ISATAP, RFC 5214 §6.1; under any prefix
        yield IPv4Address(packed[12:])


# -- urls


@dataclass(frozen=True, slots=True)
class Target:
    """A url that can be read in one way only."""

    scheme: Literal["https", "http"]
    host: str  # lower case, ASCII; an IPv6 address without its brackets
    port: int
    path_and_query: str  # as written; "/" for an empty path

    @property
    def literal(self) -> Address | None:
        """The address that the host is, if it is no name."""
        return _literal(self.host)

    @property
    def authority(self) -> str:
        """Host and port, as people read them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


_URL: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.IGNORECASE)
_PLACE: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:]*))?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?")  # RFC 3986 §3.3
_QUERY: Final = re.compile(r"(?:\?(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?")  # RFC 3986 §3.4
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LETTERS: Final = frozenset({"Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Mn", "Nd"})
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label like this makes a host an IPv4 address to somebody


def fit_url(url: str, *, plain_loopback: bool = False) -> Target:
    """Raises ValueError with the reason in words, which never repeat the url.

    `plain_loopback`: http:// is fine where the host is `localhost` or a loopback address. That an address is fit to
    be asked is not said: see `judge`.
    """
    if len(url) > URL_CAP:
        raise ValueError(f"the url is longer than {URL_CAP} characters")
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ValueError("the url holds blanks or characters that cannot be seen")
    if "\\" in url:
        raise ValueError("the url holds a backslash")
    if "#" in url:
        raise ValueError("the url has a fragment")
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("the url does not start with https://")
    scheme, place, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    host, port = _split(place)
    _check_path(path, query)
    target = Target("https" if scheme == "https" else "http", host, port or (443 if scheme == "https" else 80), "")
    if target.scheme == "http" and not (plain_loopback and _is_loopback_host(target)):
        raise ValueError("the url does not start with https://")
    return Target(target.scheme, target.host, target.port, (path or "/") + query)


def ascii_host(host: str) -> str:
    """A host name or address in its one spelling: lower case, ASCII, an IPv6 address without brackets.

    Raises ValueError with the reason.
    """
    if not host:
        raise ValueError("the url names no host")
    if len(host) > HOST_CAP:
        raise ValueError("the host of the url is no host name")
    host = (host if host.isascii() else _idna(host)).lower()
    if host.startswith("["):
        return _ipv6(host[1:-1])
    if host.endswith("."):
        raise ValueError("the host of the url ends with a dot")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(host)
    if len(host) > HOST_CAP or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("the host of the url is no host name")
    return host


def _split(place: str) -> tuple[str, int | None]:
    if "@" in place:
        raise ValueError("the url holds a user name or password")
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ValueError("the host of the url is no host name")
    host = ascii_host(found[1])
    if found[2] is None:
        return host, None
    if not _PORT.fullmatch(found[2]) or int(found[2]) > 65535:
        raise ValueError("the port of the url is not a number from 1 to 65535")
    return host, int(found[2])


def _idna(host: str) -> str:
    """Only letters and digits that read the same in both forms: other dots, wide digits and ß are read differently."""
    if any(not char.isascii() and unicodedata.category(char) not in _LETTERS for char in host):
        raise ValueError("the host of the url holds signs that are no letters; write it in its ASCII form")
    try:
        encoded = host.encode("idna")
        same = encoded.decode("idna") == host.lower()
    except UnicodeError as exc:
        raise ValueError("the host of the url is no host name") from exc
    if not same:
        raise ValueError("the host of the url can be read in several ways; write it in its ASCII form")
    return encoded.decode("ascii")


def _ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))  # four decimal numbers without leading zeros, nothing else
    except ValueError as exc:
        raise ValueError("the host of the url is an oddly written IPv4 address; write four decimal numbers") from exc


def _ipv6(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError as exc:
        raise ValueError("the host of the url is no IPv6 address") from exc
    if address.scope_id is not None:
        raise ValueError("the host of the url is an address of one link only")
    return str(address)


def _check_path(path: str, query: str) -> None:
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise ValueError("the path or query of the url holds characters that must be percent-encoded")
    if any(part.lower().replace("%2e", ".") in (".", "..") for part in path.split("/")):
        raise ValueError("the path of the url has dot segments")


def _is_loopback_host(target: Target) -> bool:
    literal = target.literal
    return target.host == "localhost" if literal is None else is_loopback(literal)


def _literal(host: str) -> Address | None:
    if ":" in host:
        return IPv6Address(host)
    return IPv4Address(host) if host.rpartition(".")[2].isdigit() else None

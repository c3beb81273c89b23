"""The bytes of an HTTP/1.1 request: where it goes, and headers that cannot say more than one thing.

Pure. What could end a line, split a message or collide with the hub's own headers is refused, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urljoin, urlsplit

Verb = Literal["GET", "POST", "DELETE"]

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_SAFE: Final = "/%:@!$&'()*+,;=-._~?"
_OURS: Final = frozenset(  # framing and protocol: a configured header may not speak for them
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. `path` is ASCII, with its query, ready for the request line."""

    host: str
    port: int
    tls: bool
    path: str

    @property
    def authority(self) -> str:
        """For `Host`, and to compare origins."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def same_origin(self, other: Target) -> bool:
        return (self.tls, self.host, self.port) == (other.tls, other.host, other.port)

    def head(self, verb: Verb, headers: Mapping[str, str]) -> bytes:
        """Request line, `Host` and these headers, without the blank line at the end. Raises ValueError."""
        return f"{verb} {self.path} HTTP/1.1\r\nhost: {self.authority}\r\n".encode("ascii") + header_lines(headers)


def parse_url(url: str) -> Target:
    """Raises ValueError with words for the operator; the text never holds a user name or password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("its url must start with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("its url holds a user name or password; put credentials into `headers` instead")
    if not parts.hostname:
        raise ValueError("its url names no host")
    port = parts.port or (443 if parts.scheme == "https" else 80)  # .port raises ValueError beyond 65535
    try:
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
        path = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")
    except UnicodeError as exc:
        raise ValueError("its url cannot be written in ASCII") from exc
    if not _HOST.fullmatch(host):
        raise ValueError("its url has no valid host name")
    return Target(host, port, parts.scheme == "https", path)


def resolve(base: str, reference: str) -> Target:
    """What `reference` means in a document at `base`. Raises ValueError."""
    return parse_url(urljoin(base, reference))


def header_lines(headers: Mapping[str, str]) -> bytes:
    """`name: value` lines. Raises ValueError naming the header, never its value."""
    lines = []
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is no header name")
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"the value of header {name} has blanks around it, line ends or characters outside printable ASCII"
            )
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii")


def check_configured(headers: Mapping[str, str]) -> None:
    """Raises ValueError when configured headers cannot be sent or would override the hub's own."""
    header_lines(headers)
    for name in headers:
        if name.lower() in _OURS:
            raise ValueError(f"header {name} is set by the hub itself; remove it from `headers`")

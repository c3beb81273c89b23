"""What looks like a secret, and what only stands where one belongs. Guesses, on the careful side.

A harmless text taken for a secret costs a line in the vault; a secret taken for harmless would stand in a database.
"""

from __future__ import annotations

import re
from math import log2
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_NAME = re.compile(
    r"(?i)token|secret|passw|pwd|passphrase|api[-_ ]?key|apikey|credential|authorization|private[-_]?key|"
    r"access[-_]?key|auth[-_]?key|encryption[-_]?key|cookie|session|bearer|webhook|"
    r"(?:^|[-_.])(?:key|auth|pat|dsn|jwt|sid|pin)$|connection[-_]?string"
)
_HARMLESS_NAME = re.compile(
    r"(?i)(?:file|path|dir|folder|limit|ttl|timeout|expiry|expires|count|size|length|type|scope|host|port|region|"
    r"endpoint|enabled|mode|names?|version)$|max_?(?:output_?|input_?)?tokens?$|tokens$"
)
_WORDS = re.compile(r"(?i)true|false|yes|no|on|off|none|null|auto|default|enabled|disabled|stdio|http|sse")
_SHAPE = re.compile(
    r"sk-[\w-]{16,}|(?:sk|rk|pk)_(?:live|test)_\w{8,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|gl(?:pat|dt|rt)-[\w-]{16,}|"
    r"xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|"
    r"eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*|npm_\w{20,}|pypi-[\w-]{20,}|hf_\w{16,}|(?:ntn|secret)_\w{20,}|lin_api_\w{16,}|"
    r"fig[du]_[\w-]{16,}|dop_v1_\w{32,}|SG\.[\w-]{16,}\.[\w-]{16,}|shp(?:at|ss|ca)_\w{16,}|tvly-[\w-]{12,}|"
    r"pplx-\w{16,}|r8_\w{16,}|ATATT[\w=-]{16,}|BSA[\w-]{20,}|fc-[0-9a-f]{24,}|re_\w{16,}|pat-\w+-[\w-]{16,}|"
    r"sntrys?_[\w=+/-]{16,}|AGE-SECRET-KEY-\w+|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_RANDOM = re.compile(r"[A-Za-z0-9_+/=.~-]+")
_PLACEHOLDER = re.compile(
    r"(?i)<[^<>]*>|\[[^\[\]]*\]|\.{3}|…|\*{3,}|x{4,}|(?:^|[-_ .:/])(?:your|my)[-_ ]\w+|^your\w+|placeholder|"
    r"change[-_ ]?me|insert[-_ ]|replace[-_ ]|enter[-_ ]|paste[-_ ]|(?:^|[-_])todo(?:$|[-_])|[-_ ]here\b|\bhere$|"
    r"^(?:secret|token|password|pass|key|api[-_]?key|value|xxx|abc|abc123|123|changeit|dummy|example)$"
)
_OPEN_PLACEHOLDER = re.compile(
    r"(?i)^<[^<>]+>$|(?:^|[/=@.])(?:<[^<>]+>)|\byour[-_ ][\w-]+|^YOUR_\w+$|_here$|/path/to/|/absolute/path|^path/to/|"
    r"^x{4,}$|^\.{3}$|^…$"
)
_URL_PLACEHOLDER = re.compile(
    r"(?i)<[^<>]*>|\[[^\[\]:]*\]|\byour[-_ ]?\w+|://[^/@]*:(?:pass(?:word)?|pwd|secret|\*+|x+|\.{3})@|=(?:x{3,}|\.{3}|\*+)(?:&|$)"
)
RANDOM_CHARS: Final = 24
_BITS: Final = 3.2  # per character; English words stay below
_WORD_OF_SCHEME = re.compile(r"(?i)^(?:Bearer|Basic|Token) +")


def secret_name(name: str) -> bool:
    """Whether what is called so holds a secret."""
    return bool(_NAME.search(name)) and not _HARMLESS_NAME.search(name)


def secret_value(text: str) -> bool:
    """Whether the text itself is one, whatever it is called."""
    bare = _WORD_OF_SCHEME.sub("", text)
    if bare != text and bare:
        return True
    if _SHAPE.search(text):
        return True
    if "://" in text:
        return secret_url(text)
    return _is_random(text)


def secret_at(name: str, text: str) -> bool:
    """Whether this text under this name is a secret."""
    if secret_value(text):
        return True
    if not secret_name(name) or _WORDS.fullmatch(text):
        return False
    return not _is_path(text)


def secret_url(url: str) -> bool:
    """A password before the host, a secret in the query, or a path that is one."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return False
    if password:
        return True
    if any(secret_at(name, value) for name, value in parse_qsl(parts.query) if value):
        return True
    return any(_SHAPE.search(part) or _is_random(part) for part in (unquote(p) for p in parts.path.split("/")))


def masked_path(path: str) -> str:
    """The path of a URL to be shown: some servers take their key in it."""
    parts = [(part, unquote(part)) for part in path.split("/")]
    return "/".join("***" if _SHAPE.search(plain) or _is_random(plain) else part for part, plain in parts)


def placeholder(text: str, *, secret: bool) -> bool:
    """Whether the text only says what belongs here. Where secrets belong, more texts are taken for that."""
    bare = _WORD_OF_SCHEME.sub("", text).strip()
    if "://" in bare:
        return bool((_URL_PLACEHOLDER if secret else _OPEN_PLACEHOLDER).search(bare))
    if secret:
        return not bare or (bool(_PLACEHOLDER.search(bare)) and not _is_random(bare))
    return bool(_OPEN_PLACEHOLDER.search(bare))


def _is_path(text: str) -> bool:
    return bool(re.match(r"[~.]{0,2}/[\w.@ -]+(?:/|$)|[A-Za-z]:[\\/]|~", text)) and not text.endswith("=")


def _is_random(text: str) -> bool:
    """Long, without blanks, with digits among the letters, and as mixed as chance makes it."""
    if len(text) < RANDOM_CHARS or not _RANDOM.fullmatch(text) or text.startswith(("-", "/", "./", "~")):
        return False
    longest = max(re.split(r"[-_./]", text), key=len)
    if len(longest) < 16 or not re.search(r"\d", longest) or not re.search(r"[A-Za-z]", longest):
        return False
    return -sum((n := longest.count(c) / len(longest)) * log2(n) for c in set(longest)) >= _BITS

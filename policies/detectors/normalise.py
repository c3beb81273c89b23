"""The views of a text that rules read, and what its disguise alone tells. Pure: text in, values out.

Plain ASCII costs one `lower()`. Whatever else was done to a text to get past a reader is undone once, here.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import re2

_ZERO_WIDTH: Final = "\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff\ufe00-\ufe0f"
_BIDI: Final = "\u202a-\u202e\u2066-\u2069"
_TAGS: Final = "\U000e0000-\U000e007f\U000e0100-\U000e01ef"
_UNSEEN: Final = re.compile(f"[{_ZERO_WIDTH}{_BIDI}{_TAGS}]")
_SPLIT_WORD: Final = re.compile(f"[A-Za-z][{_ZERO_WIDTH}]+(?=[A-Za-z])")
_OVERRIDE: Final = re.compile("[\u202d\u202e\u2066-\u2068][^\u202c\u2069\n]{4}")
_TAG_RUN: Final = re.compile("(?<!\U0001f3f4)[\U000e0020-\U000e007e]{8,}")
_MIXED: Final = re.compile(
    "[a-z][\u0370-\u03ff\u0400-\u04ff\u0500-\u052f]|[\u0370-\u03ff\u0400-\u04ff\u0500-\u052f][a-z]"
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
_LEET_WORDS: Final = (
    r"\b(?:1gn0r[e3]|pr[e3]v10u[s5]|1n[s5][t7]ruc[t7]10n[s5]?|0v[e3]rr1d[e3]|f0ll0w1ng|7h15|y0ur?|4nd|7h3|"
    r"pl[e3]4[s5][e3]|[i1]mp0r7[a4]n7|[s5]y[s5]7[e3]m|74[s5]k)\b"
)
_LEET: Final = re.compile(_LEET_WORDS)

_BLANKS: Final = re.compile(r"[ \t\xa0]{2,}")

_SIGN_PATTERNS: Final = {
    "html": r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});",
    "percent": r"%2",
    "base64": r"[a-z0-9+/_-]{32}",
    "rot13": r"rot-?13",
    "leet": _LEET_WORDS,
    "conceal": r"\x1b\[8m",
    "blanks": r"[a-z,.!:][ \t\x{a0}]{4,}[a-z]",
}
_SIGN_NAMES: Final = tuple(_SIGN_PATTERNS)
# Base64 of 24 printable characters of ASCII, which leave few letters for the first three of every four. A run of 32
# letters of any kind would be a state of the search at every place; this one is given up within a word.
_READABLE_BASE64: Final = (
    r"(?-i:(?:^|[^A-Za-z0-9+/_-])(?:[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]){8})"
)
_LOOSE: Final = {"base64": _READABLE_BASE64, "blanks": r"[a-z,.!:][ \t]{4}"}
SIGNS: Final = tuple(_LOOSE.get(name, pattern) for name, pattern in _SIGN_PATTERNS.items())
"""For a search that ignores case: an ASCII text that none of them matches has one reading, and nothing in disguise."""
_SIGNS: Final[Any] = re2.Set.SearchSet()
for _pattern in _SIGN_PATTERNS.values():
    _SIGNS.Add(_pattern)
_SIGNS.Compile()

_LOOKALIKES: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝѵьвкмнтгзбАЕОРСУХІЈЅВКМНТαεορυχικνητβρμγλΑΕΟΡΥΧΙΚΝΗΤΒΜΖ",
    "aeopcyxijshdqwvbbkmhtr36aeopcyxijsbkmhtaeopuxiknhtbpmylaeopyxiknhtbmz",
)
_PLAIN: Final = str.maketrans("013457$@", "oieastsa")
_ROT13: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")

_MOST_FRAGMENTS: Final = 32
_FRAGMENT_CHARS: Final = 16 * 1024


class View(NamedTuple):
    """One reading of a text, in lower case."""

    how: str  # "plain", "folded", "base64", ...
    text: str


class Views(NamedTuple):
    views: tuple[View, ...]  # the first is the text itself
    disguises: tuple[str, ...]  # ids of what was done to it, each an evidence


def views_of(text: str) -> Views:
    """Every reading of `text`. The number of views and their size are bounded by its own."""
    if text.isascii():
        plain = text.lower()
        if _SIGNS.Match(plain) is None:
            return Views((View("plain", plain),), ())
        return _decoded(text, plain, [])
    disguises = []
    hidden = "".join(chr(ord(c) - 0xE0000) for run in _TAG_RUN.findall(text) for c in run)
    if len(_SPLIT_WORD.findall(text)) >= 4:
        disguises.append("zero_width")
    if _OVERRIDE.search(text):
        disguises.append("bidi")
    seen = _UNSEEN.sub("", text) if _UNSEEN.search(text) else text
    plain = unicodedata.normalize("NFKC", seen).lower()
    more = []
    if len(_MIXED.findall(plain)) >= 3:
        disguises.append("homoglyph")
        more.append(View("folded", plain.translate(_LOOKALIKES)))
    if hidden:
        disguises.append("tags")
        more.append(View("tags", hidden.lower()))
    made = _decoded(seen, plain, more)
    return Views(made.views, (*disguises, *made.disguises))


def _decoded(seen: str, plain: str, more: list[View]) -> Views:
    """Adds what stands encoded in the text."""
    signs = _SIGNS.Match(plain) or ()
    disguises: list[str] = []
    for sign in signs:
        match _SIGN_NAMES[sign]:
            case "html":
                more = [*more, View("html", html.unescape(plain).lower())]
            case "percent":
                more = [*more, View("percent", unquote(unquote(plain)).lower())]
            case "base64" if fragments := _base64_texts(seen):
                more = [*more, View("base64", "\n".join(fragments).lower())]
            case "rot13":
                more = [*more, View("rot13", plain.translate(_ROT13))]
                disguises.append("rot13")
            case "leet" if len(_LEET.findall(plain)) >= 3:
                more = [*more, View("leet", plain.translate(_PLAIN))]
                disguises.append("leet")
            case "conceal":
                disguises.append("conceal")
            case "blanks":
                more = [*more, View("blanks", _BLANKS.sub(" ", plain))]
    return Views((View("plain", plain), *more), tuple(disguises))


def _base64_texts(text: str) -> list[str]:
    """Readable texts that stand in base64 in it."""
    found = []
    for match in _BASE64.finditer(text):
        raw = match.group()[:_FRAGMENT_CHARS].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            decoded = base64.b64decode(raw[: len(raw) - len(raw) % 4] + _padding(raw)).decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            continue
        if " " in decoded and decoded.isprintable():
            found.append(decoded)
            if len(found) == _MOST_FRAGMENTS:
                break
    return found


def _padding(raw: str) -> str:
    rest = len(raw) % 4
    return raw[-rest:] + "=" * (4 - rest) if rest >= 2 else ""

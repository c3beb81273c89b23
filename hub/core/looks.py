"""How texts look to people: what they cannot see is spelled out, what they cannot tell apart is folded. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Printable by the book, and yet nothing to see: fillers, blanks, variation selectors, a joiner of graphemes.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, range(0xFE00, 0xFE10))
)
_NAMED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_APART: Final = re.compile(r"[\W_]+")
_LOOKALIKES: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝѵьвкмнтгзбαεορυχικνητβρμγλıɑɡ",
    "aeopcyxijshdqwvbbkmhtr36aeopuxiknhtbpmyliag",
)
_DIGITS: Final = str.maketrans("01", "ol")


def visible(text: str) -> str:
    """The text on one line, without anything that hides or turns what stands beside it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() and char not in _BLANK else _spelled(char) for char in text)


def spelled(text: str) -> str:
    """Like `visible`, and with every character beyond ASCII spelled out: lookalikes show."""
    return "".join(char if " " <= char <= "~" else _spelled(char) for char in text)


def fold(text: str) -> str:
    """The same for texts that look the same: case, separators, accents, widths and other alphabets set aside.

    Empty for a text without letters and digits.
    """
    if not text.isascii():
        marks = unicodedata.normalize("NFKD", text).casefold().translate(_LOOKALIKES)
        text = "".join(char for char in marks if not unicodedata.combining(char))
    return _APART.sub("", text.lower()).translate(_DIGITS)


def _spelled(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

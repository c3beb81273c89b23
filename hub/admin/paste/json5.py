"""JSON as people paste it: comments, trailing commas, single quotes, bare keys. Mistakes are told by line and column.

Knows no key of anybody's. A key given twice is a mistake, never a silent choice.
"""

from __future__ import annotations

import re
from typing import Any, Final

MAX_CHARS: Final = 1024 * 1024
MAX_DEPTH: Final = 32
_BLANK = re.compile(r"(?:[ \t\r\n\ufeff\u00a0\u2028\u2029]+|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_$][\w$-]*")
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None, "undefined": None}
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": ""}
_PLAIN = {'"': re.compile(r'[^"\\\n]*'), "'": re.compile(r"[^'\\\n]*")}
_CURLY: Final = "\u201c\u201d\u2018\u2019"


class NotJson(ValueError):
    """What stands at `line` and `column` is no JSON. The text quotes at most one character of it."""

    def __init__(self, line: int, column: int, text: str) -> None:
        super().__init__(f"line {line}, column {column}: {text}")
        self.line, self.column, self.text = line, column, text


def read(text: str) -> Any:
    """The one value of the text; members without braces around them count as an object. Raises NotJson."""
    if len(text) > MAX_CHARS:
        raise NotJson(1, 1, f"the paste is longer than {MAX_CHARS} characters")
    reader = _Reader(text)
    reader.skip()
    if reader.is_member():
        return reader.members(None, 1)
    value = reader.value(0)
    reader.end()
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        if self._text.startswith("/*", self._at):
            raise self._wrong("this comment has no end: */ is missing")

    def is_member(self) -> bool:
        """Whether a `key:` stands here: a fragment cut out of an object."""
        start = self._at
        try:
            if self._peek() in ('"', "'"):
                self._string()
            elif (word := _KEY.match(self._text, self._at)) is not None:
                self._at = word.end()
            self.skip()
            return self._at > start and self._peek() == ":"
        except NotJson:
            return False
        finally:
            self._at = start

    def end(self) -> None:
        self.skip()
        if self._peek() in (",", ";"):
            self._at += 1
            self.skip()
        if self._at < len(self._text):
            raise self._wrong(f"{self._shown()} stands after the end; is a brace before it one too many?")

    def value(self, depth: int) -> Any:
        self.skip()
        if depth > MAX_DEPTH:
            raise self._wrong(f"nested deeper than {MAX_DEPTH} levels")
        char = self._peek()
        if char == "{":
            opened, self._at = self._at, self._at + 1
            return self.members(opened, depth + 1)
        if char == "[":
            return self._list(depth + 1)
        if char in ('"', "'"):
            return self._string()
        if (number := _NUMBER.match(self._text, self._at)) is not None:
            return self._number(number)
        if (word := _WORD.match(self._text, self._at)) is not None and word[0] in _WORDS:
            self._at = word.end()
            return _WORDS[word[0]]
        raise self._unexpected("a value")

    def members(self, opened: int | None, depth: int) -> dict[str, Any]:
        """Up to the brace, or to the end of the text where none was opened."""
        made: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while True:
            self.skip()
            char = self._peek()
            if (char == "}" and opened is not None) or (char == "" and opened is None):
                self._at += 1
                return made
            if char == "" and opened is not None:
                raise self._cut("object", opened)
            start = self._at
            key = self._key()
            if key in made:
                raise self._wrong(f"{key!r} is given twice; the first stands on line {lines[key]}", start)
            lines[key] = self._place(start)[0]
            self.skip()
            if self._peek() != ":":
                raise self._cut("object", opened) if self._is_cut(opened) else self._unexpected("':'")
            self._at += 1
            self.skip()
            if self._is_cut(opened):
                raise self._cut("object", opened)
            made[key] = self.value(depth)
            self._comma("}" if opened is not None else "", "object", opened)

    def _list(self, depth: int) -> list[Any]:
        opened, self._at = self._at, self._at + 1
        made: list[Any] = []
        while True:
            self.skip()
            if self._peek() == "]":
                self._at += 1
                return made
            if self._peek() == "":
                raise self._cut("list", opened)
            made.append(self.value(depth))
            self._comma("]", "list", opened)

    def _comma(self, close: str, what: str, opened: int | None) -> None:
        self.skip()
        char = self._peek()
        if char == ",":
            self._at += 1
        elif char != close:
            raise (
                self._cut(what, opened) if self._is_cut(opened) else self._unexpected(f"',' or {close or 'the end'}")
            )

    def _key(self) -> str:
        if self._peek() in ('"', "'"):
            return self._string()
        word = _KEY.match(self._text, self._at)
        if word is None:
            raise self._unexpected("a key")
        self._at = word.end()
        return word[0]

    def _string(self) -> str:
        opened, quote = self._at, self._text[self._at]
        self._at += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN[quote].match(self._text, self._at)
            assert plain is not None
            parts.append(plain[0])
            self._at = plain.end()
            char = self._peek()
            if char == quote:
                self._at += 1
                return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if char != "\\":
                raise self._wrong(f"this text has no end: {quote} is missing", opened)
            parts.append(self._escape())

    def _escape(self) -> str:
        char = self._text[self._at + 1 : self._at + 2]
        length = {"u": 4, "x": 2}.get(char, 0)
        if not length:
            self._at += 2
            return _ESCAPES.get(char, char)
        digits = self._text[self._at + 2 : self._at + 2 + length]
        if not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digits):
            raise self._wrong(f"\\{char} needs {length} hexadecimal digits")
        self._at += 2 + length
        return chr(int(digits, 16))

    def _number(self, found: re.Match[str]) -> int | float:
        text = found[0]
        after = self._text[found.end() : found.end() + 1]
        if after.isalnum() or after in ("_", ".") or len(text) > 400:
            raise self._unexpected("a value")
        self._at = found.end()
        if "x" in text.lower():
            return int(text, 16)
        return float(text) if re.search(r"[.eE]", text) else int(text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _is_cut(self, opened: int | None) -> bool:
        return opened is not None and self._at >= len(self._text)

    def _cut(self, what: str, opened: int | None) -> NotJson:
        line, column = self._place(opened or 0)
        return self._wrong(f"the paste ends inside the {what} that opens on line {line}, column {column}")

    def _unexpected(self, wanted: str) -> NotJson:
        if self._at >= len(self._text):
            return self._wrong(f"the paste ends where {wanted} is expected")
        if self._peek() in _CURLY:
            return self._wrong('a typographic quote; write " instead')
        return self._wrong(f"{wanted} is expected, not {self._shown()}")

    def _shown(self) -> str:
        return ascii(self._peek())

    def _wrong(self, text: str, at: int | None = None) -> NotJson:
        return NotJson(*self._place(self._at if at is None else at), text)

    def _place(self, at: int) -> tuple[int, int]:
        before = self._text[:at]
        return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1

"""Canonical JSON and the chain of hashes over it. Pure: no file, no clock.

An entry's hash is SHA-256 over its line; the line holds the hash of the line before. So an edit, a removal or a change
of order breaks a link somewhere, for everybody who does not rewrite all that follows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64  # what the first entry names as the one before it

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no blanks: equal values, equal bytes. Never refuses a value.

    What strict JSON does not know is written all the same, in escapes (lone surrogates) or as the name of its type,
    because an entry that could not be written would be a way to stay out of the log.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):  # a UnicodeEncodeError is a ValueError
        pass
    try:
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":")).encode()
    except RecursionError:
        return b'"<nested too deeply>"'


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        value = {name: given for name, given in msgspec.structs.asdict(value).items() if given is not None}
    if isinstance(value, Mapping):
        return {str(name): _plain(given) for name, given in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(given) for given in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return f"<{type(value).__name__}>"


def hash_of(line: bytes) -> bytes:
    return sha256(line).digest()


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as it is stored. The columns beside the line are there to be searched, and must agree with it."""

    seq: int
    tenant: str
    call: str
    kind: str
    line: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainReport:
    ok: bool
    entries: int  # that were looked at and hold
    first_bad_seq: int | None = None
    reason: str | None = None


def check_rows(rows: Iterable[Row], *, after_seq: int = 0, prev: str | None = GENESIS) -> ChainReport:
    """Whether the rows continue the chain after `after_seq`. `prev` None: the first row's own word is taken."""
    good = 0
    seq = after_seq
    for row in rows:
        seq += 1
        if row.seq != seq:
            return ChainReport(False, good, seq, f"entry {seq} is missing; the next one is {row.seq}")
        if (fault := _fault(row, prev)) is not None:
            return ChainReport(False, good, seq, fault)
        prev = row.hash.hex()
        good += 1
    return ChainReport(True, good)


def _fault(row: Row, prev: str | None) -> str | None:
    if hash_of(row.line) != row.hash:
        return f"entry {row.seq} was changed: its hash does not fit its content"
    try:
        said = json.loads(row.line)
    except ValueError:
        return f"entry {row.seq} is not JSON"
    if not isinstance(said, dict):
        return f"entry {row.seq} is not an object"
    if prev is not None and said.get("prev") != prev:
        return f"entry {row.seq} does not continue the entry before it"
    stored = {"seq": row.seq, "tenant": row.tenant, "call": row.call, "kind": row.kind}
    for name, value in stored.items():
        if said.get(name) != value:
            return f"entry {row.seq} is filed under another {name} than it says"
    return None

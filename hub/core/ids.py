"""Call ids: unique over restarts, short enough to read out, in the order of their minting within one process."""

from __future__ import annotations

from itertools import count
from secrets import token_hex

_RUN = token_hex(6)
_next = count(1).__next__


def new_call_id() -> str:
    """`<12 hex of this process>-<counter>`; says nothing of the caller and opens nothing."""
    return f"{_RUN}-{_next():06x}"

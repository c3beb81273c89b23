"""What the specification asks of a hub, one row per requirement, each tied to the tests that show it.

Both eras, in both of the hub's roles. `python -m conformance.requirements` prints what is not done as it is asked.
"""

from __future__ import annotations

from typing import Final

from conformance.requirements import (
    authorization,
    authorization_server,
    features,
    http_modern,
    lists,
    messages,
    patterns,
    rounds,
    sessions,
    stdio,
)
from conformance.requirements.row import Requirement

TOPICS: Final = (
    *(messages, http_modern, sessions, stdio, patterns, rounds, features, lists),
    *(authorization, authorization_server),
)
REQUIREMENTS: Final[tuple[Requirement, ...]] = tuple(row for topic in TOPICS for row in topic.ROWS)

"""What those who speak, offer logins and end them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hub.identity.outbound.acts import Acts
from hub.identity.outbound.asking import Attempts
from hub.identity.outbound.book import Clocks
from hub.identity.outbound.challenges import Challenges
from hub.identity.outbound.clients import Clients
from hub.identity.outbound.protected import Protected
from hub.identity.outbound.refresher import Connections
from hub.identity.outbound.registration import HubClient


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one hub, on one event loop."""

    protected: Callable[[], Mapping[str, Protected]]
    """The servers that are logged in to, by id, as they are entered now. Asked with every request: it must cost
    nothing, and give the very same values until one changes."""
    hub: Callable[[], HubClient | None]  # as issuers know it now; None while no browser reaches it
    clients: Clients
    connections: Connections
    acts: Acts
    challenges: Challenges = field(default_factory=Challenges)
    attempts: Attempts = field(default_factory=Attempts)  # by account, server and label
    clocks: Clocks = field(default_factory=Clocks)

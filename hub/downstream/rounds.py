"""Calls in several rounds: a question, sealed for its caller, and the caller's answer opened again.

A server asks, or the hub itself when a login is needed: that answer is the hub's alone.

What must last is in the seal, which the client holds; here is only what a seal cannot say: that it was used. Both
memories are bounded and go with the process: after a restart a used seal could be used once more until it expires.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

from hub.core.call import Call, Denied, Effect, Item, Json
from hub.wire.asking import RESPONSES, STATE
from hub.wire.seal import KEY_BYTES, TTL_S, Opened, Seals, binding

REMEMBERED: Final = 65_536  # seals that were used, and questions that are open; the oldest are forgotten first


class Rounds:
    def __init__(self, seals: Seals, clock: Callable[[], float] = time.time, remembered: int = REMEMBERED) -> None:
        self._seals, self._clock, self._remembered = seals, clock, remembered
        self._used: dict[bytes, float] = {}  # by mark: when it expires
        self._open: dict[bytes, float] = {}  # by binding: until when a state is waited for

    @staticmethod
    def of_this_process() -> Rounds:
        """Under a key that nobody keeps: open questions do not outlive the process."""
        keys = (os.urandom(KEY_BYTES),)
        return Rounds(Seals(lambda: keys))

    def asked(self, call: Call, item: Item, server: str, state: str | None) -> str:
        """The `requestState` to show the caller. Every question gets one, whether its server gave a state or not."""
        bound = binding(call, item)
        if state is not None:
            self._remember(self._open, bound, self._clock() + TTL_S)
        return self._seals.seal(bound, server, state)

    def offered(self, call: Call, item: Item, server: str, login: str) -> str:
        """As `asked`, where the hub asks the caller to log in to that server."""
        bound = binding(call, item)
        self._remember(self._open, bound, self._clock() + TTL_S)  # an answer to the hub goes down to no server
        return self._seals.seal_login(bound, server, login)

    def retried(self, call: Call, item: Item) -> Opened | Denied | None:
        """What a call with a `requestState` or answers goes on with; None: answers that nobody asked for.

        The seal of a call that may change something counts as used from here on, until it is given back.
        """
        sealed, bound = call.params.get(STATE), binding(call, item)
        if sealed is None:  # a server may be told more than it asked, but not without the state that it relies on
            if self._open.get(bound, 0.0) > self._clock():
                return _refused("left out, though one was given", "It was left out.")
            return None
        opened = self._seals.open(bound, sealed)
        if not isinstance(opened, Opened):
            return _refused(opened, "It has expired." if opened == "expired" else None)
        if opened.mark in self._used:
            return _refused("used before", "It was used before.")
        self._open.pop(bound, None)
        if call.writes:
            self._remember(self._used, opened.mark, opened.expires)
        return opened

    def give_back(self, call: Call, item: Item, opened: Opened) -> None:
        """Nothing left the hub: the same seal may be tried again."""
        self._used.pop(opened.mark, None)
        if opened.state is not None or opened.login is not None:
            self._remember(self._open, binding(call, item), opened.expires)

    def _remember(self, memory: dict[bytes, float], key: bytes, until: float) -> None:
        """All are kept for about the same time, so that the oldest stand in front."""
        now = self._clock()
        memory.pop(key, None)
        while memory and (len(memory) >= self._remembered or memory[next(iter(memory))] <= now):
            del memory[next(iter(memory))]
        memory[key] = until


def answers_of(call: Call, opened: Opened | None) -> Json:
    """What goes down with the call: the answers as they came, and the server's own state, exact or absent."""
    found: dict[str, Any] = {}
    if RESPONSES in call.params:
        found[RESPONSES] = call.params[RESPONSES]
    if opened is not None and opened.state is not None:
        found[STATE] = opened.state
    return found


def _refused(reason: str, told: str | None) -> Denied:
    return Denied("state_refused", f"requestState: {reason}", told, Effect.NONE)

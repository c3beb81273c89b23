"""Known bugs, to be put into the hub so that the simulator can show that it finds them.

Each is one that somebody could write on a bad day, at a seam that stays; none can be switched on from outside.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import hub.audit.logfile
import hub.downstream.dispatch
from hub.audit.writer import AuditLog
from hub.core.call import ANY, Call, Denied, Done, Effect, Outcome
from hub.core.errors import DownstreamError, Late
from hub.core.pipeline import Record
from hub.core.ports import Allowed
from hub.core.watch import Watch
from hub.downstream.counted import Counted
from hub.edge.outbox import Outbox
from hub.identity.authenticate import Identities
from policies.authorize import Authorize
from policies.endpoint import Selection


def widens() -> None:
    """A gate that cannot decide lets pass."""
    inner = Authorize.decide

    def decide(self: Authorize, call: Call, item: Any, arguments: Any) -> Any:
        return Allowed() if random.random() < 0.02 else inner(self, call, item, arguments)

    Authorize.decide = decide  # type: ignore[method-assign]


def lists_more_than_it_calls() -> None:
    """An endpoint's selection that is asked for calls only."""
    inner = Selection.decide

    def decide(self: Selection, call: Call, item: Any, arguments: Any) -> Any:
        return Allowed() if arguments is ANY else inner(self, call, item, arguments)

    Selection.decide = decide  # type: ignore[method-assign]


def drops_entries() -> None:
    """An auditor that loses one in a hundred."""
    inner = AuditLog.finish

    async def finish(self: AuditLog, record: Record, outcome: Outcome) -> None:
        if random.random() > 0.01:
            await inner(self, record, outcome)

    AuditLog.finish = finish  # type: ignore[method-assign]


def answers_before_the_log() -> None:
    """An auditor that does not wait for the disk."""
    inner = AuditLog.finish

    async def finish(self: AuditLog, record: Record, outcome: Outcome) -> None:
        task = asyncio.create_task(inner(self, record, outcome))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    AuditLog.finish = finish  # type: ignore[method-assign]


def sends_before_the_intent() -> None:
    """A write that leaves while its intent is still on the way to the disk."""

    async def intent(self: AuditLog, record: Record) -> None:
        return None

    AuditLog.intent = intent  # type: ignore[method-assign]


def retries_writes() -> None:
    """A link that tries again what got no answer."""
    inner = Counted.request

    async def request(self: Counted, method: str, params: Any, exchange: Any) -> Any:
        try:
            return await inner(self, method, params, exchange)
        except Late:
            return await inner(self, method, params, replace(exchange))

    Counted.request = request  # type: ignore[method-assign]


def calls_the_unknown_nothing() -> None:
    """A late answer, told as if the call had never left."""
    inner = hub.downstream.dispatch.denial

    def denial(call: Call, exc: DownstreamError) -> Denied:
        denied = inner(call, exc)
        return replace(denied, effect=Effect.NONE) if denied.code == "downstream_late" else denied

    hub.downstream.dispatch.denial = denial


def mixes_up_answers() -> None:
    """A cache whose key leaves out who asks."""
    last: list[Any] = []
    inner = Counted.request

    async def request(self: Counted, method: str, params: Any, exchange: Any) -> Any:
        answer = await inner(self, method, params, exchange)
        if method == "prompts/get":
            last.append(answer)
            return last[0]
        return answer

    Counted.request = request  # type: ignore[method-assign]


def loses_answers() -> None:
    """An outbox that drops when nobody looks."""
    inner = Outbox.put

    async def put(self: Outbox, data: bytes) -> None:
        if random.random() > 0.01:
            await inner(self, data)

    Outbox.put = put  # type: ignore[method-assign]


def answers_twice() -> None:
    """An outbox that is not sure."""
    inner = Outbox.put

    async def put(self: Outbox, data: bytes) -> None:
        await inner(self, data)
        if random.random() < 0.01:
            await inner(self, data)

    Outbox.put = put  # type: ignore[method-assign]


def waits_for_ever() -> None:
    """No end to a call but its server's."""
    inner = Counted.request

    async def request(self: Counted, method: str, params: Any, exchange: Any) -> Any:
        exchange.timeout_s = exchange.hard_deadline = 1e9
        return await inner(self, method, params, exchange)

    Counted.request = request  # type: ignore[method-assign]
    Watch.ring = lambda self: None  # type: ignore[method-assign]


def one_server_holds_up_all() -> None:
    """One lock around all downstreams."""
    inner, lock = Counted.request, asyncio.Lock()

    async def request(self: Counted, method: str, params: Any, exchange: Any) -> Any:
        if method != "tools/call":
            return await inner(self, method, params, exchange)
        async with lock:
            return await inner(self, method, params, exchange)

    Counted.request = request  # type: ignore[method-assign]


def revoked_keys_live_on() -> None:
    """A cache of verified tokens that nobody empties."""
    inner = Identities.verify
    known: dict[tuple[str, str], Any] = {}

    def verify(self: Identities, token: str, surface: Any) -> Any:
        found = known.get((token, surface)) or inner(self, token, surface)
        if found is not None:
            known[token, surface] = found
        return found

    Identities.verify = verify  # type: ignore[method-assign]


def leaks_tasks() -> None:
    """One task a call that nobody ends."""
    inner = Counted.request
    kept = set()

    async def request(self: Counted, method: str, params: Any, exchange: Any) -> Any:
        kept.add(asyncio.create_task(asyncio.Event().wait()))
        return await inner(self, method, params, exchange)

    Counted.request = request  # type: ignore[method-assign]


def leaks_timers() -> None:
    """One timer a call that nobody puts back."""
    inner = Counted.request

    async def request(self: Counted, method: str, params: Any, exchange: Any) -> Any:
        asyncio.get_running_loop().call_later(1e9, lambda: None)
        return await inner(self, method, params, exchange)

    Counted.request = request  # type: ignore[method-assign]


def keeps_everything_for_who_does_not_read() -> None:
    """An outbox without an end."""
    inner = Outbox.__init__

    def endless(self: Outbox, messages: int, *given: Any, **named: Any) -> None:
        inner(self, 10**9, *given, **named)

    Outbox.__init__ = endless  # type: ignore[method-assign]


def breaks_the_chain() -> None:
    """An entry in a few hundred whose hash is another's."""
    names = vars(hub.audit.logfile)
    inner = names["hash_of"]
    names["hash_of"] = lambda line: inner(line + b" " if random.random() < 0.02 else line)


def hides_the_outcome_of_cancelled_calls() -> None:
    """A cancelled call leaves no entry of its end."""
    inner = AuditLog.finish

    async def finish(self: AuditLog, record: Record, outcome: Outcome) -> None:
        if not (isinstance(outcome, Denied) and outcome.code == "cancelled"):
            await inner(self, record, outcome)

    AuditLog.finish = finish  # type: ignore[method-assign]


def makes_up_success() -> None:
    """A server that is down is answered for, so that nobody is alarmed."""
    inner = hub.downstream.dispatch.Dispatch.__call__

    async def dispatch(self: Any, call: Call, next: Any, /) -> Outcome:
        outcome = await inner(self, call, next)
        down = isinstance(outcome, Denied) and outcome.code == "downstream_down" and call.method == "tools/call"
        return Done({"content": []}) if down else outcome

    hub.downstream.dispatch.Dispatch.__call__ = dispatch  # type: ignore[method-assign]


BUGS: Final[dict[str, Callable[[], None]]] = {
    bug.__name__: bug
    for bug in (
        widens,
        lists_more_than_it_calls,
        drops_entries,
        answers_before_the_log,
        sends_before_the_intent,
        retries_writes,
        calls_the_unknown_nothing,
        mixes_up_answers,
        loses_answers,
        answers_twice,
        waits_for_ever,
        one_server_holds_up_all,
        revoked_keys_live_on,
        leaks_tasks,
        leaks_timers,
        keeps_everything_for_who_does_not_read,
        breaks_the_chain,
        hides_the_outcome_of_cancelled_calls,
        makes_up_success,
    )
}

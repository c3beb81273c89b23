"""What one entry says: from a call and its outcome to the fields of the log. Pure: no file, no clock.

It holds no argument, no result and no secret: only names, sizes, times, verdicts and keyed hashes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, assert_never

import msgspec

from hub.audit.chain import canonical
from hub.core.call import Asked, Call, Client, Denied, Done, Effect, Json, Listed, One, Outcome
from hub.core.ports import EventKind

if TYPE_CHECKING:
    from hub.core.pipeline import Record

EntryKind = Literal["call", "intent", "list", "auth", "admin", "system"]
LOCAL: Final = "local"  # the tenant of what belongs to no caller
_CAP: Final = 512  # characters of any text that came from outside
_LISTS: Final = "/list"
_OPEN_CODES: Final = frozenset(
    {
        "deadline",
        "downstream_late",
        "downstream_lost",
        "downstream_garbled",
        "too_large",
        "internal",
    }
)


class Caller(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The program that called, in its own words but for era, revision and transport."""

    era: str
    name: str | None = None
    revision: str
    transport: str
    version: str | None = None


class Entry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line of the log, in the order in which it is written. `prev` and `seq` are set once, by the writer."""

    args_hmac: str | None = None
    at: str
    call: str
    client: Caller | None = None
    code: str | None = None
    credential: str | None = None
    detail: Json | None = None
    effect: str | None = None
    endpoint: str | None = None
    item: str | None
    kind: str
    method: str | None = None
    ms: float | None = None
    notes: tuple[str, ...] | None = None
    outcome: str
    policy_version: str
    prev: str = ""
    reason: str | None = None
    request_bytes: int | None = None
    result_bytes: int | None = None
    result_hmac: str | None = None
    route: dict[str, str] | None = None
    seq: int = 0
    server: str | None = None
    tenant: str
    verdicts: list[tuple[str, str, float]] | None = None
    who: str


_in_order = msgspec.json.Encoder().encode


def line_of(entry: Entry) -> bytes:
    """`canonical(entry)`. Fields are declared in the order of their names: only a `detail` needs sorting, 0.15 us."""
    if entry.detail is None:
        try:
            return _in_order(entry)
        except (TypeError, ValueError, RecursionError):
            pass  # what strict JSON does not know
    return canonical(entry)


def intent_entry(record: Record, at: str, policy_version: str) -> Entry:
    """A write is about to leave the hub. What became of it is not known yet."""
    entry = _entry(record.call, "intent", "unknown", at, policy_version)
    entry.verdicts = None
    return entry


def call_entry(record: Record, outcome: Outcome, at: str, now: float, policy_version: str) -> Entry:
    """How a call ended. `now` in the seconds of `record.started`."""
    call = record.call
    kind: EntryKind = "list" if call.method.endswith(_LISTS) else "call"
    entry = _entry(call, kind, outcome_word(call, outcome), at, policy_version)
    entry.ms = _ms(now - record.started)
    entry.verdicts = verdicts(record)
    if isinstance(outcome, Denied):
        entry.code, entry.effect = outcome.code, record.effect.value
        entry.reason = printable(outcome.reason)
    elif isinstance(outcome, Done):
        entry.result_bytes = outcome.size_bytes
    if isinstance(outcome, Done | Asked) and outcome.notes:
        entry.notes = tuple(printable(note) for note in outcome.notes)
    return entry


def event_entry(
    kind: EventKind, call_id: str, who: str, outcome: str, item: str | None, detail: Json, at: str, policy_version: str
) -> Entry:
    """What is not a call. `detail` must be plain JSON that nobody changes any more."""
    return Entry(
        at=at,
        call=call_id,
        detail=detail or None,
        item=None if item is None else printable(item),
        kind=kind,
        outcome=outcome,
        policy_version=policy_version,
        tenant=LOCAL,
        who=printable(who),
    )


def closing_entry(intent: Json, at: str, policy_version: str) -> Entry:
    """The end of a write whose outcome an earlier run of the hub did not live to note."""
    return Entry(
        at=at,
        call=intent["call"],
        credential=intent.get("credential"),
        effect=Effect.UNKNOWN.value,
        endpoint=intent.get("endpoint"),
        item=intent["item"],
        kind="call",
        method=intent.get("method"),
        outcome="unknown",
        policy_version=policy_version,
        reason="the hub ended before the outcome was noted",
        server=intent.get("server"),
        tenant=intent["tenant"],
        who=intent["who"],
    )


def outcome_word(call: Call, outcome: Outcome) -> str:
    """done | error | asked | denied:CODE | cancelled | unknown."""
    if isinstance(outcome, Done):
        return "error" if outcome.result.get("isError") is True else "done"
    if isinstance(outcome, Denied):
        if outcome.code == "downstream_error":
            return "error"
        if outcome.code == "cancelled":
            return "cancelled"
        if outcome.effect is Effect.UNKNOWN and call.writes and outcome.code in _OPEN_CODES:
            return "unknown"
        return f"denied:{outcome.code}"
    if isinstance(outcome, Listed):
        return "done"
    if isinstance(outcome, Asked):
        return "asked"
    assert_never(outcome)


def verdicts(record: Record) -> list[tuple[str, str, float]]:
    """The stages that made the answer, innermost first: the last one that ran, and each that changed what it got."""
    told: list[tuple[str, str, float]] = []
    below: Outcome | None = None
    for stage, verdict, seconds, _ in record.verdicts:
        if verdict is not below:
            told.append((stage, outcome_word(record.call, verdict), _ms(seconds)))
            below = verdict
    return told


def printable(text: str) -> str:
    """The text, bounded, with everything that is not printable spelled out: no line and no screen is forged with it."""
    if len(text) > _CAP:
        text = text[: _CAP - 1] + "…"
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in text)


def _entry(call: Call, kind: EntryKind, outcome: str, at: str, policy_version: str) -> Entry:
    who, target, route = call.who, call.target, call.route
    item = target.item if isinstance(target, One) else None
    return Entry(
        at=at,
        call=call.id,
        client=_caller(call.client),
        credential=who.credential,
        endpoint=call.endpoint,
        item=_asked(call.params) if item is None else printable(item.name),
        kind=kind,
        method=call.method,
        outcome=outcome,
        policy_version=policy_version,
        request_bytes=call.size_bytes,
        route=None if route is None else {"reason": printable(route.reason), "server": route.server},
        server=None if item is None else item.server,
        tenant=who.tenant,
        who=who.name,
    )


def _caller(client: Client) -> Caller:
    name, version = client.info.get("name"), client.info.get("version")
    return _known_caller(
        client.era,
        name if isinstance(name, str) else None,
        client.revision,
        client.transport,
        version if isinstance(version, str) else None,
    )


@lru_cache(maxsize=256)
def _known_caller(era: str, name: str | None, revision: str, transport: str, version: str | None) -> Caller:
    return Caller(era=era, name=_own_word(name), revision=revision, transport=transport, version=_own_word(version))


def _asked(params: Json) -> str | None:
    """What the caller called it, where nothing was found under that name."""
    ref = params.get("ref")
    named = ref if isinstance(ref, dict) else params
    return _own_word(named.get("name", named.get("uri")))


def _own_word(given: Any) -> str | None:
    return printable(given) if isinstance(given, str) else None


def _ms(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1000  # to the microsecond; `round` takes 0.3 us longer

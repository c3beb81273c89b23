"""What an answer may weigh and must not say: the output budget, and the obligations on the way back.

Cuts and masks; adds nothing but marks of what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import re2

from hub.core.call import Asked, Call, Denied, Done, Mute, Obligation, One, Outcome
from hub.core.ports import Next
from hub.wire import jsonrpc
from policies.cut import cut
from policies.texts import masked

DISCHARGES: Final = frozenset({"cap", "mask"})
"""The obligations this stage takes care of. `cap`: {"bytes": int}. `mask`: {"pattern": RE2, "with"?: str}."""

_MASKED: Final = "[masked]"


@dataclass(frozen=True, slots=True)
class _Duties:
    cap_bytes: int
    masks: tuple[Callable[[str], str], ...]


class Shape:
    """Keeps answers within `max_output_bytes`. An obligation it does not know refuses the call: none is dropped."""

    name = "shape"

    def __init__(self, max_output_bytes: int) -> None:
        self._max_bytes = max_output_bytes

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        if not call.obligations:
            outcome = await next(call)
            if not isinstance(outcome, Done):
                return _bounded(outcome, self._max_bytes)
            if outcome.size_bytes <= self._max_bytes:
                return outcome
            return cut(outcome, self._max_bytes, _must_fit_schema(call))
        duties = self._duties(call.obligations)
        if isinstance(duties, Denied):
            return duties
        if duties.masks:  # what comes on the way is not masked, so it does not come
            call = replace(call, client=replace(call.client, back=Mute()))
        outcome = _masked(await next(call), duties.masks)
        if isinstance(outcome, Done) and outcome.size_bytes > duties.cap_bytes:
            return cut(outcome, duties.cap_bytes, _must_fit_schema(call))
        return _bounded(outcome, duties.cap_bytes)

    def _duties(self, obligations: tuple[Obligation, ...]) -> _Duties | Denied:
        cap_bytes, masks = self._max_bytes, []
        for obligation in obligations:
            value = obligation.value
            match obligation.kind:
                case "cap" if type(value.get("bytes")) is int and value["bytes"] >= 0:
                    cap_bytes = min(cap_bytes, value["bytes"])
                case "mask" if (mask := _mask(value.get("pattern"), value.get("with", _MASKED))) is not None:
                    masks.append(mask)
                case kind:
                    return Denied("internal", f"nothing discharges the obligation {kind!r} as it is given")
        return _Duties(cap_bytes, tuple(masks))


def _bounded(outcome: Outcome, cap_bytes: int) -> Outcome:
    """A server's own error loses its data when it is larger than an answer may be: nobody can say what to cut.

    Nor can anybody of a question, which is refused whole.
    """
    if isinstance(outcome, Asked) and len(jsonrpc.dumps(outcome.requests)) > cap_bytes:
        return Denied("too_large", f"a question of more than {cap_bytes} bytes", told="It is a question.")
    if not isinstance(outcome, Denied) or outcome.relayed is None or "data" not in outcome.relayed:
        return outcome
    if len(jsonrpc.dumps(outcome.relayed["data"])) <= cap_bytes:
        return outcome
    return replace(outcome, relayed={key: value for key, value in outcome.relayed.items() if key != "data"})


def _must_fit_schema(call: Call) -> bool:
    return isinstance(call.target, One) and call.target.item.definition.get("outputSchema") is not None


def _mask(pattern: Any, put: Any) -> Callable[[str], str] | None:
    if not isinstance(pattern, str) or not pattern or not isinstance(put, str):
        return None
    try:
        compiled = re2.compile(pattern)
    except re2.error:
        return None
    return lambda text: str(compiled.sub(lambda match: put, text))


def _masked(outcome: Outcome, masks: tuple[Callable[[str], str], ...]) -> Outcome:
    for mask in masks:
        if isinstance(outcome, Done):
            outcome = replace(outcome, result=masked(outcome.result, mask))
        elif isinstance(outcome, Asked):
            outcome = replace(outcome, requests=masked(outcome.requests, mask))
        elif isinstance(outcome, Denied) and outcome.relayed is not None:
            outcome = replace(outcome, relayed=masked(outcome.relayed, mask))
    return outcome

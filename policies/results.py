"""A downstream's structured answer against its own output schema. Judges; never changes a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from hub.core.call import Call, Denied, Done, One, Outcome
from hub.core.ports import Next
from policies.arguments import problems_of
from policies.schemas import Schemas, Uncompilable

Mode = Literal["off", "warn", "strict"]

_TOLD: Final = "The server's answer does not fit the output schema it declares, so it was not passed on."


class CheckResult:
    """`warn` notes what does not fit and passes it on, `strict` refuses it. Error results are never looked at."""

    name = "results"
    steady = True

    def __init__(self, schemas: Schemas, mode: Mode) -> None:
        self._schemas, self._mode = schemas, mode

    def passes(self, call: Call, /) -> bool:
        target = call.target
        return (
            self._mode == "off"
            or call.method != "tools/call"
            or not isinstance(target, One)
            or target.item.definition.get("outputSchema") is None
        )

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        outcome = await next(call)
        target = call.target
        if self.passes(call) or not isinstance(outcome, Done) or not isinstance(target, One):
            return outcome
        if outcome.result.get("isError") is True:
            return outcome
        item = target.item
        schema = item.definition["outputSchema"]
        fault = self._fault(item.sha256, schema, outcome)
        if fault is None:
            return outcome
        if self._mode == "strict":
            return Denied("result_invalid", fault, told=_TOLD)
        return replace(outcome, notes=(*outcome.notes, f"result:{fault}"))

    def _fault(self, sha256: str, schema: object, done: Done) -> str | None:
        compiled = self._schemas.get(sha256, "output", schema)
        if isinstance(compiled, Uncompilable):
            return f"not checked, the output schema cannot be used: {compiled.why}"
        if "structuredContent" not in done.result:
            return "no structuredContent, although an output schema is declared"
        value = done.result["structuredContent"]
        too_much = compiled.unaffordable(value, done.size_bytes)
        if too_much is not None:
            return f"not checked, {too_much}"
        if compiled.accepts(value):
            return None
        return "; ".join(problems_of(compiled, value, done.size_bytes))

"""What a caller passes, against what the item declares, told in words a model can act on. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from hub.core.call import Call, Denied, Item, Json, One, Outcome
from hub.core.ports import Next
from hub.wire import headers
from policies.schema_walk import MAX_GUARDED
from policies.schemas import Compiled, Schemas, Uncompilable

_MOST: Final = 5  # problems told
_ERRORS_BYTES: Final = 64 * 1024  # above this, only the first problem is looked for
_RECURSIVE_DEPTH: Final = 4  # collecting the errors of a recursive schema doubles with every level
_FORBIDDEN: Final = {
    "additionalProperties": "takes none but the declared properties",
    "else": f"has more than the {MAX_GUARDED} characters that this pattern can be checked on",
}
_SECRET: Final = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])\S{20,}")


class CheckArguments:
    """Tools against their input schema, prompts against their declared arguments; nothing else has arguments."""

    name = "arguments"

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def passes(self, call: Call, /) -> bool:
        return self._denied(call) is None

    async def __call__(self, call: Call, next: Next, /) -> Outcome:
        denied = self._denied(call)
        return await next(call) if denied is None else denied

    def _denied(self, call: Call) -> Denied | None:
        target = call.target
        if isinstance(target, One):
            if call.method == "tools/call":
                return self._check_tool(call, target.item)
            if call.method == "prompts/get":
                return _check_prompt(call, target.item)
        return None

    def _check_tool(self, call: Call, item: Item) -> Denied | None:
        schema, arguments = item.definition.get("inputSchema"), call.arguments
        compiled = self._schemas.get(item.sha256, "input", schema)
        if isinstance(compiled, Uncompilable):
            return _refused(
                f"the input schema cannot be used: {compiled.why}",
                f"The input schema of this tool cannot be checked ({compiled.why}), so it cannot be called. "
                "Whoever runs its server has to correct the schema.",
            )
        if call.client.param_headers is not None and compiled.has_headers and isinstance(schema, Mapping):
            wrong = headers.mismatch(item.sha256, schema, arguments, call.client.param_headers)
            if wrong is not None:
                return Denied("header_mismatch", wrong, told=wrong)
        too_much = compiled.unaffordable(arguments, call.size_bytes)
        if too_much is not None:
            return _refused(
                too_much, f"The arguments are too large for this tool's schema: {too_much}. Send less at once."
            )
        if compiled.accepts(arguments):
            return None
        problems = problems_of(compiled, arguments, call.size_bytes)
        return _refused(
            f"schema: {len(problems)} problems",
            "The arguments do not fit this tool's input schema:\n" + "\n".join(f"- {line}" for line in problems),
        )


def _refused(reason: str, told: str) -> Denied:
    return Denied("invalid_arguments", reason, told=told)


def _check_prompt(call: Call, item: Item) -> Denied | None:
    given = call.arguments
    declared = item.definition.get("arguments")
    problems = [
        f"{_shown(argument.get('name'))}: is required"
        for argument in (declared if isinstance(declared, list | tuple) else ())
        if isinstance(argument, Mapping) and argument.get("required") is True and argument.get("name") not in given
    ]
    problems += [f"{_shown(name)}: must be a string" for name, value in given.items() if not isinstance(value, str)]
    if not problems:
        return None
    told = "The arguments do not fit this prompt:\n" + "\n".join(f"- {line}" for line in _few(problems))
    return _refused(f"prompt arguments: {len(problems)} problems", told)


def problems_of(compiled: Compiled, value: Any, size_bytes: int) -> list[str]:
    """At most five lines `path: what is expected`; no value of the caller's stands in them."""
    if compiled.weight.recursive and _deeper_than(value, _RECURSIVE_DEPTH):
        return ["does not fit the schema (which is recursive: no single place can be named)"]
    if size_bytes > _ERRORS_BYTES:
        return [*_lines(compiled.first_error(value)), "there may be more"]
    return _few(_lines(compiled.errors(value))) or ["cannot be checked"]


def _few(lines: Iterable[str]) -> list[str]:
    told = list(islice(lines, _MOST + 1))
    return told if len(told) <= _MOST else [*told[:_MOST], "and more"]


def _lines(errors: Iterable[Any]) -> Iterable[str]:
    for error in errors:
        path = "/".join(_shown(step) for step in error.instance_path[:8]) or "the arguments"
        yield f"{path}: {_expected(error)}"


def _expected(error: Any) -> str:
    details: Json = error.kind.as_dict()
    match error.kind.name:
        case "required":
            return f"{_shown(details['property'])} is required"
        case "additionalProperties" | "unevaluatedProperties":
            return "takes no " + ", ".join(_shown(name) for name in details["unexpected"][:_MOST])
        case "pattern":
            return f"must match the pattern {_clipped(str(details['pattern']), 80)}"
        case "falseSchema":
            return _FORBIDDEN.get(error.schema_path[-1] if error.schema_path else "", "is not allowed")
        case "propertyNames":
            return "has a property whose name is not allowed"
        case _:
            return _clipped(str(error.message).replace("[value]", "this value"), 160)


def _shown(name: Any) -> str:
    """A name out of the caller's own arguments, unless it looks like a secret somebody put in the wrong place."""
    text = str(name)
    if len(text) > 48 or _SECRET.fullmatch(text):
        return "(a long name)"
    return "".join(c if c.isprintable() else "?" for c in text)


def _clipped(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _deeper_than(value: Any, levels: int) -> bool:
    here = [value]
    for _ in range(levels):
        here = [
            child
            for one in here
            for child in (one.values() if isinstance(one, Mapping) else one if isinstance(one, list | tuple) else ())
            if isinstance(child, Mapping | list | tuple)
        ]
        if not here:
            return False
    return True

"""JSON Schemas of downstreams, compiled once per definition. They are hostile: nothing is fetched, and what may cost
much is refused before it runs, because a validation cannot be interrupted.

What bounds what: size and depth of the document; the number of subschemas when every `$ref` is written out; that
number, and the number of patterns, against the size of what is checked. Patterns run on a linear engine; those that
need look-around run with a backtracking limit, on short strings only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import jsonschema_rs
import msgspec
from jsonschema_rs import Draft202012Validator, FancyRegexOptions, RegexOptions, ValidationError, validator_for

from policies.schema_walk import NotBounded, Weight, guard_patterns, weigh

Which = Literal["input", "output"]

_LINEAR: Final = RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
_FANCY: Final = FancyRegexOptions(backtrack_limit=10_000, size_limit=1 << 20, dfa_size_limit=1 << 20)
_MASK: Final = "[value]"  # stands in messages where the value would
_PATTERN_BYTES: Final = 200_000_000  # patterns times bytes: about 0.2 s of the linear engine
_VISITS: Final = 10_000_000  # subschemas times values: about 0.1 s
_FANCY_VALUES: Final = 500  # times 0.2 ms, the worst a look-around costs on a string it is run on


@dataclass(frozen=True, slots=True)
class Uncompilable:
    """Why a schema cannot be used, in words for whoever runs its server."""

    why: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A validator and what bounds its cost."""

    validator: Any
    weight: Weight
    has_headers: bool  # an `x-mcp-header` stands in it

    def accepts(self, value: Any) -> bool:
        """False also for what cannot be checked."""
        try:
            return bool(self.validator.is_valid(value))
        except (ValueError, TypeError, OverflowError):  # lone surrogates, nesting beyond the validator's own limit
            return False

    def errors(self, value: Any) -> Iterator[Any]:
        """The validator's own errors, without the value in their words; none for what cannot be checked at all."""
        try:
            yield from self.validator.iter_errors(value)
        except (ValueError, TypeError, OverflowError):
            return

    def first_error(self, value: Any) -> tuple[Any, ...]:
        try:
            self.validator.validate(value)
        except ValidationError as error:
            return (error,)
        except (ValueError, TypeError, OverflowError):
            pass
        return ()

    def unaffordable(self, value: Any, size_bytes: int) -> str | None:
        """Why checking this value could take too long, or None."""
        weight = self.weight
        if weight.patterns * size_bytes > _PATTERN_BYTES:
            return f"{size_bytes} bytes are more than {weight.patterns} patterns can be run on"
        if weight.guarded or weight.nodes * size_bytes > _VISITS:
            values = count_values(value)
            if weight.nodes * values > _VISITS:
                return f"{values} values are more than {weight.nodes} subschemas can be held against"
            if weight.guarded and values > _FANCY_VALUES:
                return f"{values} values are more than patterns with look-around can be run on"
        return None


class Schemas:
    """Compiled schemas by definition hash. Holds at most `capacity`; the oldest goes first."""

    def __init__(self, max_bytes: int = 256 * 1024, max_depth: int = 64, capacity: int = 4096) -> None:
        self._max_bytes, self._max_depth, self._capacity = max_bytes, max_depth, capacity
        self._compiled: dict[tuple[str, Which], Compiled | Uncompilable] = {}

    def get(self, sha256: str, which: Which, schema: Any) -> Compiled | Uncompilable:
        """`schema` must be the one that stands in the definition of that hash."""
        found = self._compiled.get((sha256, which))
        if found is None:
            found = self.compile(schema)
            if len(self._compiled) >= self._capacity:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[(sha256, which)] = found
        return found

    def compile(self, schema: Any) -> Compiled | Uncompilable:
        """Without the cache. Raises nothing, reaches no network and no file."""
        if not isinstance(schema, Mapping | bool):
            return Uncompilable("it is neither an object nor a boolean")
        if (
            isinstance(schema, Mapping)
            and "$schema" in schema
            and not (schema["$schema"] and isinstance(schema["$schema"], str))
        ):
            return Uncompilable("its $schema names no dialect")
        try:
            encoded = msgspec.json.encode(schema)
            if len(encoded) > self._max_bytes:
                return Uncompilable(f"it has {len(encoded)} bytes, and {self._max_bytes} are allowed")
            plain = msgspec.json.decode(encoded)
            weight = weigh(plain, self._max_depth)
            return self._build(plain, weight, b'"x-mcp-header"' in encoded)
        except NotBounded as exc:
            return Uncompilable(str(exc))
        except RecursionError:
            return Uncompilable("it is nested too deeply")
        except (ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as exc:
            return Uncompilable(_clipped(getattr(exc, "message", None) or type(exc).__name__))

    def _build(self, schema: Any, weight: Weight, has_headers: bool) -> Compiled:
        odd = frozenset(pattern for pattern in weight.pattern_texts if not _is_linear(pattern))
        if odd:
            schema, guarded = guard_patterns(schema, odd)
            weight = Weight(weight.nodes, weight.patterns, weight.recursive, weight.pattern_texts, guarded)
        options: Any = _FANCY if odd else _LINEAR
        make: Any = validator_for if isinstance(schema, dict) and "$schema" in schema else Draft202012Validator
        return Compiled(make(schema, pattern_options=options, offline=True, mask=_MASK), weight, has_headers)


def _is_linear(pattern: str) -> bool:
    try:
        Draft202012Validator({"pattern": pattern}, pattern_options=_LINEAR, offline=True)
    except ValidationError:
        return False
    return True


def count_values(value: Any) -> int:
    """Every scalar, list and object in a JSON value."""
    count, left = 0, [value]
    while left:
        here = left.pop()
        count += 1
        if isinstance(here, Mapping):
            left.extend(here.values())
        elif isinstance(here, list | tuple):
            left.extend(here)
    return count


def _clipped(text: str, limit: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"

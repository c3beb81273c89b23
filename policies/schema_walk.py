"""How much a JSON Schema may cost, found out without running it. Pure: dicts in, numbers and dicts out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

MAX_NODES: Final = 100_000  # subschemas with every reference written out
MAX_GUARDED: Final = 512  # characters a pattern with look-around is run on

_ONE: Final = (
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_MANY: Final = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_NAMED: Final = ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties")
_USED: Final = frozenset((*_ONE, *_MANY, *_NAMED)) - {"$defs", "definitions"}
_REFS: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class NotBounded(Exception):
    """The schema may cost more than is allowed; the text says why."""


@dataclass(frozen=True, slots=True)
class Weight:
    nodes: int  # subschemas, every reference written out once per use
    patterns: int  # patterns among them
    recursive: bool
    pattern_texts: frozenset[str]
    guarded: bool = False  # some patterns need look-around and run on short strings only


def weigh(schema: Any, max_depth: int) -> Weight:
    """Raises NotBounded for what is too deep or grows without measure."""
    texts = frozenset(_pattern_texts(schema, max_depth))
    names = _names(schema)
    scale = _Scale(schema, names)
    nodes, patterns = scale.weigh(schema)
    return Weight(nodes, patterns, scale.recursive, texts)


class _Scale:
    """Adds up the written-out size, each subschema once: shared ones are counted from memory."""

    def __init__(self, root: Any, names: dict[str, Any]) -> None:
        self._root, self._names, self.recursive = root, names, False
        self._own_id = str(root.get("$id", "")).partition("#")[0] if isinstance(root, dict) else ""
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def weigh(self, schema: Any) -> tuple[int, int]:
        if not isinstance(schema, dict):
            return 1, 0
        mark = id(schema)
        if mark in self._open:
            self.recursive = True
            return 1, 0
        if mark not in self._known:
            self._open.add(mark)
            nodes, patterns = 1, int("pattern" in schema)
            for child in self._below(schema):
                more, of_them = self.weigh(child)
                nodes, patterns = nodes + more, patterns + of_them
                if nodes > MAX_NODES:
                    raise NotBounded(f"its references write out to more than {MAX_NODES} subschemas")
            self._open.discard(mark)
            named = schema.get("patternProperties")
            self._known[mark] = nodes, patterns + (len(named) if isinstance(named, dict) else 0)
        return self._known[mark]

    def _below(self, schema: dict[str, Any]) -> Iterator[Any]:
        for key, child in children(schema):
            if key in _USED:
                yield child
        for key in _REFS:
            ref = schema.get(key)
            if isinstance(ref, str):
                yield self._target(ref)

    def _target(self, ref: str) -> Any:
        """What a reference inside this document points at."""
        if not ref.startswith("#"):
            base, _, fragment = ref.partition("#")
            if not base or base != self._own_id:
                raise NotBounded("it refers to another document, and nothing is fetched")
            ref = "#" + fragment
        fragment = unquote(ref[1:])
        if fragment and not fragment.startswith("/"):
            return self._names.get(fragment)
        here = self._root
        for step in fragment.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict) and step in here:
                here = here[step]
            elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
                here = here[int(step)]
            else:
                return None
        return here


def children(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(keyword, subschema) of one schema."""
    for key in _ONE:
        if isinstance(schema.get(key), dict):
            yield key, schema[key]
    for key in _MANY:
        if isinstance(schema.get(key), list):
            for child in schema[key]:
                yield key, child
    for key in _NAMED:
        if isinstance(schema.get(key), dict):
            for child in schema[key].values():
                yield key, child


def _walk(value: Any, max_depth: int) -> Iterator[dict[str, Any]]:
    """Every object in the document, schema or not. Raises NotBounded below `max_depth`."""
    left = [(value, 1)]
    while left:
        here, depth = left.pop()
        if depth > max_depth:
            raise NotBounded(f"it is nested more than {max_depth} levels deep")
        if isinstance(here, dict):
            yield here
            left.extend((child, depth + 1) for child in here.values())
        elif isinstance(here, list):
            left.extend((child, depth + 1) for child in here)


def _pattern_texts(schema: Any, max_depth: int) -> Iterator[str]:
    for here in _walk(schema, max_depth):
        if isinstance(here.get("pattern"), str):
            yield here["pattern"]
        if isinstance(here.get("patternProperties"), dict):
            yield from here["patternProperties"]


def _names(schema: Any) -> dict[str, Any]:
    """Subschemas by their anchors. What could mean two things is refused: it could be weighed as the wrong one."""
    names: dict[str, Any] = {}
    for here in _walk(schema, 1 << 30):
        if here is not schema and isinstance(here.get("$id"), str):
            raise NotBounded("a subschema has an $id of its own")
        for name in {here[key] for key in ("$anchor", "$dynamicAnchor") if isinstance(here.get(key), str)}:
            if name in names:
                raise NotBounded("a name of a subschema is given twice")
            names[name] = here
    return names


def guard_patterns(schema: Any, odd: frozenset[str]) -> tuple[Any, bool]:
    """A copy in which every pattern of `odd` runs on strings of at most MAX_GUARDED characters; longer ones fail.

    Raises NotBounded where a pattern stands at a place that only a reference reaches, or names properties.
    """
    found = sum(here.get("pattern") in odd for here in _walk(schema, 1 << 30) if isinstance(here.get("pattern"), str))
    guarded, count = _guarded(schema, odd)
    if count != found:
        raise NotBounded("a pattern with look-around stands where it cannot be bounded")
    return guarded, True


def _guarded(schema: Any, odd: frozenset[str]) -> tuple[Any, int]:
    if not isinstance(schema, dict):
        return schema, 0
    copy, count = dict(schema), 0
    if any(name in odd for name in _object(schema, "patternProperties")):
        raise NotBounded("a pattern with look-around names properties")
    for key in _ONE:
        if isinstance(schema.get(key), dict):
            copy[key], more = _guarded(schema[key], odd)
            count += more
    for key in _MANY:
        if isinstance(schema.get(key), list):
            pairs = [_guarded(child, odd) for child in schema[key]]
            copy[key] = [child for child, _ in pairs]
            count += sum(more for _, more in pairs)
    for key in _NAMED:
        if isinstance(schema.get(key), dict):
            named = {name: _guarded(child, odd) for name, child in schema[key].items()}
            copy[key] = {name: child for name, (child, _) in named.items()}
            count += sum(more for _, more in named.values())
    if isinstance(schema.get("pattern"), str) and schema["pattern"] in odd:
        short = {"if": {"maxLength": MAX_GUARDED}, "then": {"pattern": copy.pop("pattern")}, "else": False}
        existing = copy.get("allOf")
        copy["allOf"] = [*existing, short] if isinstance(existing, list) else [short]
        count += 1
    return copy, count


def _object(schema: dict[str, Any], key: str) -> dict[str, Any]:
    value = schema.get(key)
    return value if isinstance(value, dict) else {}

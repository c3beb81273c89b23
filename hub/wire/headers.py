"""MCP's routing headers: what a modern HTTP request repeats of its body, for hops that read no bodies. Pure.

Both directions: what the hub sends downstream, and whether what a client sent agrees with its body.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.core.call import Json
from hub.wire.revisions import is_modern

VERSION: Final = "mcp-protocol-version"
METHOD: Final = "mcp-method"
NAME: Final = "mcp-name"
PARAM_PREFIX: Final = "mcp-param-"

_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_SAFE: Final = re.compile(r"[\x20-\x7e]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL: Final = re.compile(r"(-?[0-9]{1,1000})(?:\.(0{1,1000}))?")  # bounded: int() is quadratic in its digits
_KEYWORD: Final = "x-mcp-header"
_TYPES: Final = frozenset({"string", "integer", "boolean"})
_PLANS: Final = 4096  # schemas whose annotations are remembered

_ONE: Final = frozenset(
    {
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    }
)
_MANY: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPPED: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


@dataclass(frozen=True, slots=True)
class Annotation:
    """One argument that is repeated in a header."""

    path: tuple[str, ...]  # of property names, from the root of the arguments
    token: str  # what follows `Mcp-Param-`
    type: str


def encode_value(value: str) -> str:
    """A header value that survives HTTP; what would not, or looks encoded already, goes as base64."""
    if _SAFE.fullmatch(value) and value == value.strip() and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_value(value: str) -> str | None:
    """The inverse; None for base64 that no encoder writes."""
    found = _SENTINEL.fullmatch(value)
    if found is None:
        return value
    payload = found.group(1)
    try:
        raw = base64.b64decode(payload, validate=True)
        return raw.decode() if base64.b64encode(raw).decode() == payload else None
    except (binascii.Error, ValueError):
        return None


def routing_headers(method: str, params: Json, revision: str) -> dict[str, str]:
    """The headers of one HTTP request: the version, and for modern ones the method and the name it is about."""
    headers = {"MCP-Protocol-Version": revision}
    if not is_modern(revision):
        return headers
    headers["Mcp-Method"] = method
    name = params.get(_NAMED.get(method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = encode_value(name)
    return headers


def routing_mismatch(message: Json, revision: Any, headers: Mapping[str, str]) -> str | None:
    """Where a modern request's routing headers and its body disagree, in words.

    `headers`: lower-case names, blanks around values removed, doubled routing headers refused before. `revision` is
    what the body's envelope says.
    """
    given = headers.get(VERSION)
    if given is None:
        return "the MCP-Protocol-Version header is missing"
    if given != revision:
        return "the MCP-Protocol-Version header and the body's protocol version differ"
    method = message["method"]
    if headers.get(METHOD) != method:
        return "the Mcp-Method header and the body's method differ, or the header is missing"
    key = _NAMED.get(method)
    if key is None:
        return None
    value = message.get("params", {}).get(key)
    name = headers.get(NAME)
    if name is not None and name == value and not name.startswith("=?"):
        return None
    if value is not None and (name is None or decode_value(name) != value):
        return f"the Mcp-Name header and the body's {key} differ, or the header is missing"
    return None


def annotation_fault(input_schema: Any) -> str | None:
    """Why the `x-mcp-header` annotations of a schema are invalid, in words; None when they are valid or absent."""
    found = _annotations(input_schema)
    return found if isinstance(found, str) else None


def mismatch(sha256: str, input_schema: Any, arguments: Json, headers: Sequence[tuple[str, str]]) -> str | None:
    """Where `Mcp-Param-*` headers and arguments disagree, in words; `sha256` is of the definition with this schema.

    `headers` as received, doubled ones included. A schema with invalid annotations asks for no headers.
    """
    plan = _plan(sha256, input_schema)
    if not plan:
        return None
    given: dict[str, list[str]] = {}
    for name, value in headers:
        given.setdefault(name.lower(), []).append(value)
    for annotation in plan:
        fault = _fault(annotation, arguments, given.get(PARAM_PREFIX + annotation.token.lower(), []))
        if fault is not None:
            return f"Mcp-Param-{annotation.token}: {fault}"
    return None


def param_headers(sha256: str, input_schema: Any, arguments: Json) -> dict[str, str]:
    """The `Mcp-Param-*` headers that a call with these arguments carries downstream."""
    headers: dict[str, str] = {}
    for annotation in _plan(sha256, input_schema):
        rendered = _render(_at(arguments, annotation.path))
        if rendered is not None:
            headers[f"Mcp-Param-{annotation.token}"] = encode_value(rendered)
    return headers


def _fault(annotation: Annotation, arguments: Json, given: list[str]) -> str | None:
    value = _at(arguments, annotation.path)
    rendered = _render(value)
    where = ".".join(annotation.path)
    if len(given) > 1:
        return "the header is given more than once"
    if rendered is None:
        return f"the header is given, but the argument {where!r} is not" if given else None
    if not given:
        return f"the header is missing, but the argument {where!r} is given"
    decoded = decode_value(given[0])
    if decoded is None:
        return "the header's base64 is malformed"
    if decoded == rendered or (annotation.type == "integer" and _same_number(value, decoded)):
        return None
    return f"the header and the argument {where!r} differ"


def _same_number(value: Any, decoded: str) -> bool:
    """Integers are compared as numbers: 42 is 42.0, exactly, at any size."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return False
    found = _DECIMAL.fullmatch(decoded)
    return found is not None and int(found.group(1)) == int(value)


def _render(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if not isinstance(value, int | float):
        return None
    try:
        return str(value)
    except ValueError:  # more digits than the interpreter writes: no client can have sent it
        return None


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    node = arguments
    for key in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node


_plans: dict[str, tuple[Annotation, ...]] = {}


def _plan(sha256: str, schema: Any) -> tuple[Annotation, ...]:
    """What a schema asks for, remembered by the hash of its definition: a pure function's memory, bounded."""
    plan = _plans.get(sha256)
    if plan is None:
        found = _annotations(schema)
        plan = () if isinstance(found, str) else found
        if len(_plans) >= _PLANS:
            _plans.pop(next(iter(_plans)))
        _plans[sha256] = plan
    return plan


def _annotations(root: Any) -> tuple[Annotation, ...] | str:
    """Every annotation, or why one of them is invalid."""
    found: dict[str, Annotation] = {}
    for path, schema in _positions(root):
        if _KEYWORD not in schema:
            continue
        if not path:
            return f"{_KEYWORD} stands where no chain of properties leads"
        token, kind = schema[_KEYWORD], schema.get("type")
        where = ".".join(path)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return f"{_KEYWORD} of {where!r} is no header token"
        if not isinstance(kind, str) or kind not in _TYPES:
            return f"{_KEYWORD} of {where!r} needs the type string, integer or boolean"
        if token.lower() in found:
            return f"{_KEYWORD} of {where!r} is used twice"
        found[token.lower()] = Annotation(path, token, kind)
    return tuple(found.values())


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, Mapping[str, Any]]]:
    """Every place of a schema that is a schema, with its chain of property names (None once off that chain).

    Iterative, and `$ref` is not followed, so it ends on every finite value. Data (`default`, `enum`) is not entered.
    """
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, Mapping):
            continue
        yield path, node
        for keyword, inner in node.items():
            if keyword == "properties" and isinstance(inner, Mapping):
                stack.extend((None if path is None else (*path, name), sub) for name, sub in inner.items())
            elif keyword in _ONE:
                stack.append((None, inner))
            elif keyword in _MANY and isinstance(inner, list):
                stack.extend((None, sub) for sub in inner)
            elif keyword in _MAPPED and isinstance(inner, Mapping):
                stack.extend((None, sub) for sub in inner.values())

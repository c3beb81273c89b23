"""What one operation takes, held against what came: its path, its query and its body, in words when they do not fit.

No value of the caller's stands in the words, because it may be a secret in the wrong place.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from jsonschema_rs import Draft202012Validator
from starlette.requests import ClientDisconnect, Request

from hub.admin.operation import Asked, Operation, Refused, object_of
from hub.core.call import EMPTY, Json, Principal
from hub.wire import jsonrpc

BODY_S: Final = 10.0
_MOST: Final = 20  # errors told
_MASK: Final = "[value]"  # stands in the validator's words where the value would
_ETAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]{0,128})"')
_WHOLE: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_FLAGS: Final = {"true": True, "false": False}


class Checks:
    """The schemas of one operation, compiled once."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._path_schema: Json = {"type": "object", "properties": dict(operation.parts)}
        self._path = Draft202012Validator(dict(self._path_schema), offline=True, mask=_MASK)
        self._query_schema = object_of({}, operation.query)
        self._query = Draft202012Validator(dict(self._query_schema), offline=True, mask=_MASK)
        self._body = (
            Draft202012Validator(dict(operation.body), offline=True, mask=_MASK) if operation.body is not None else None
        )

    async def asked(self, request: Request, who: Principal) -> Asked:
        """The whole request, checked. Raises Refused."""
        path = dict(request.path_params)
        _fit(self._path, self._path_schema, path, "path")
        query = self._of_query(request)
        if_match = _if_match(request, required=self._operation.versioned)
        body = await self._of_body(request) if self._body is not None else EMPTY
        return Asked(who, path, query, body, if_match)

    def _of_query(self, request: Request) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for name in request.query_params:
            schema = self._operation.query.get(name, EMPTY)
            texts = request.query_params.getlist(name)
            if schema.get("type") == "array":
                found[name] = [_typed(text, schema.get("items", EMPTY)) for text in texts]
            elif len(texts) > 1:
                raise _invalid("query", [{"path": f"/{_pointed(name)}", "message": "came more than once"}])
            else:
                found[name] = _typed(texts[0], schema)
        _fit(self._query, self._query_schema, found, "query")
        return found

    async def _of_body(self, request: Request) -> Json:
        """A JSON object within its bounds; an empty body is an empty object."""
        data = await _read(request, self._operation.body_bytes)
        media = request.headers.get("content-type")
        if data and media is not None and media.partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "unsupported_media", "the body must be application/json")
        try:
            found = jsonrpc.loads(data) if data else {}
        except jsonrpc.Malformed as exc:
            raise Refused(400, "malformed", f"the body is not JSON: {exc}") from exc
        if not isinstance(found, dict):
            raise _invalid("body", [{"path": "", "message": "must be an object"}])
        _fit(self._body, self._operation.body or EMPTY, found, "body")
        return found


async def _read(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > most):
        raise Refused(413, "too_large", f"a body has at most {most} bytes here")
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise Refused(413, "too_large", f"a body has at most {most} bytes here")
    except TimeoutError as exc:
        raise Refused(408, "late", f"the body did not arrive within {BODY_S:g} s") from exc
    except ClientDisconnect as exc:
        raise Refused(400, "gone", "the body ended early") from exc
    return bytes(data)


def _if_match(request: Request, *, required: bool) -> str | None:
    """One strong ETag. `*` would overwrite what nobody looked at, and a weak one never matches."""
    given = request.headers.getlist("if-match")
    if not given:
        if required:
            raise Refused(428, "if_match_missing", "send If-Match with the ETag that you were shown")
        return None
    found = _ETAG.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None or found[1]:
        raise Refused(400, "malformed", 'If-Match must be one strong ETag, as in If-Match: "3"')
    return found[2]


def _typed(text: str, schema: Json) -> Any:
    """The text as what the schema wants, or as it is: the schema then says what is wrong with it."""
    if schema.get("type") == "integer" and _WHOLE.fullmatch(text):
        return int(text)
    if schema.get("type") == "boolean":
        return _FLAGS.get(text, text)
    return text


def _fit(validator: Any, schema: Json, value: Any, part: str) -> None:
    if not validator.is_valid(value):
        raise _invalid(part, [_error(each, schema) for each in islice(validator.iter_errors(value), _MOST)])


def _invalid(part: str, errors: list[dict[str, str]]) -> Refused:
    """422; its words name the first fault, its `errors` all of them (at most 20) by JSON pointer."""
    first = errors[0]
    place = f"{part} {first['path']}" if first["path"] else f"the {part}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Refused(422, "invalid", f"{place}: {first['message']}{more}", errors=errors)


def _error(error: Any, schema: Json) -> dict[str, str]:
    wanted = _wanted(schema, error.schema_path)
    words = _words(error) if wanted is None else f"{_words(error)} (wanted: {wanted})"
    return {"path": "".join(f"/{_pointed(step)}" for step in error.instance_path), "message": words}


def _wanted(schema: Any, path: Iterable[Any]) -> str | None:
    """What the schema says in words of the place where it was broken."""
    found: Any = None
    for step in path:
        if isinstance(schema, Mapping):
            found, schema = schema.get("description"), schema.get(step)
        else:  # one of an allOf
            found, schema = None, schema[step]
    return found if isinstance(found, str) else None


def _words(error: Any) -> str:
    details = error.kind.as_dict()
    match error.kind.name:
        case "required":
            return f"needs {_shown(details['property'])!r}"
        case "additionalProperties" | "unevaluatedProperties":
            return f"takes no {_listed(details['unexpected'])}"
        case "falseSchema":
            return "is not allowed"
        case "pattern":
            return "is not written as it must be"
        case _:
            return _clipped(str(error.message).replace(_MASK, "this"), 200)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(repr(_shown(name)) for name in islice(names, 5))


def _shown(name: Any) -> str:
    """A member's name, which may be anything: bounded, and without what could forge a line."""
    return _clipped("".join(c if c.isprintable() else "?" for c in str(name)), 48)


def _pointed(step: Any) -> str:
    return _shown(step).replace("~", "~0").replace("/", "~1")


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

"""The OpenAPI 3.1 document of the admin API, made from its operations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from hub.admin.operation import Operation
from hub.core.call import Json

_PART: Final = re.compile(r"\{([a-z_]+)\}")
_ALWAYS: Final = (400, 401, 403, 422, 429, 500)
_WITH_BODY: Final = (408, 413, 415)
_TEXT: Final[Json] = {"type": "string"}
_PART_TEXT: Final[Json] = {"type": "string", "minLength": 1}
_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "What happened and what to do next (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "call"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stays the same from version to version"},
        "detail": _TEXT,
        "call": {"type": "string", "description": "the same as the header Hub-Call-Id"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string", "description": "JSON pointer"}, "message": _TEXT},
            },
        },
    },
}
_CALL: Final[Json] = {"schema": _TEXT, "description": "names this request in the hub's own log"}
_ETAG: Final[Json] = {"schema": _TEXT, "description": "what If-Match and If-None-Match take"}


def document(operations: Sequence[Operation], version: str) -> Json:
    """The whole document. Raises ValueError when two operations share a name, or a method and path."""
    paths: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for operation in operations:
        item = paths.setdefault(f"/api/v1{operation.path}", {})
        method = operation.method.lower()
        if method in item or operation.name in names:
            raise ValueError(f"{operation.method} {operation.path} ({operation.name}) is there twice")
        names.add(operation.name)
        item[method] = _operation(operation)
    bearer = {"type": "http", "scheme": "bearer", "description": "the admin token, or a key with the scope"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "MCP Hub administration", "version": version, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {"Problem": _PROBLEM}, "securitySchemes": {"bearer": bearer}},
    }


def _operation(operation: Operation) -> Json:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.path.split("/")[1]],
        "summary": operation.summary,
        "security": [{"bearer": [scope]} for scope in sorted(operation.scopes)],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.body is not None:
        needed = bool(operation.body.get("required"))
        made["requestBody"] = {"required": needed, "content": {"application/json": {"schema": operation.body}}}
    return made


def _parameters(operation: Operation) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": operation.parts.get(name, _PART_TEXT)}
        for name in _PART.findall(operation.path)
    ]
    found += [_parameter(name, "query", schema) for name, schema in operation.query.items()]
    if operation.versioned:
        pattern = {"type": "string", "pattern": '^"[0-9]{1,15}"$'}
        found.append({**_parameter("If-Match", "header", pattern), "required": True})
    if operation.method == "GET":
        found.append(_parameter("If-None-Match", "header", _TEXT))
    return found


def _parameter(name: str, place: str, schema: Json) -> Json:
    return {"name": name, "in": place, "required": False, "schema": schema}


def _responses(operation: Operation) -> Mapping[str, Json]:
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase, "headers": {"Hub-Call-Id": _CALL}}
    if operation.status != 204:
        success["content"] = {"application/json": {"schema": operation.answer if operation.answer is not None else {}}}
    if operation.method == "GET" or operation.versioned:
        success["headers"] = {**success["headers"], "ETag": _ETAG}
    found: dict[str, Json] = {str(operation.status): success}
    if operation.method == "GET":
        found["304"] = {"description": "the caller has it already", "headers": {"ETag": _ETAG}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in refusals(operation):
        headers = {"Hub-Call-Id": _CALL}
        found[str(status)] = {"description": HTTPStatus(status).phrase, "headers": headers, "content": problem}
    return found


def refusals(operation: Operation) -> tuple[int, ...]:
    """Every status with which this operation may be refused."""
    found = {*_ALWAYS, *operation.refusals}
    found |= set(_WITH_BODY) if operation.body is not None else set()
    found |= {404} if _PART.search(operation.path) else set()
    found |= {412, 428} if operation.versioned else set()
    return tuple(sorted(found))

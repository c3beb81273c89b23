"""What holds of every operation there is: who is let in, what is refused, what the document says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from hub.admin.api import operations
from hub.admin.openapi import document, refusals
from hub.admin.operation import Operation
from hub.core.call import Grants, Principal
from tests.admin.asking import ADMIN, CLIENT, READER, Api
from tests.admin.fakes import Parts, changed, health

SCOPES = ("mcp", "audit:read", "admin")
OPERATIONS = operations(Parts().ports())
SUCCESSES: Mapping[str, tuple[str, Any]] = {
    "status.read": ("", None),
    "servers.list": ("?limit=2", None),
    "servers.test": ("", None),
    "servers.diff": ("", None),
    "servers.approve": ("", {"items": None, "seen": ["a" * 64]}),
    "keys.list": ("", None),
    "keys.create": ("", {"name": "new", "scopes": ["mcp"], "servers": ["*"], "expires": "1d"}),
    "keys.rotate": ("", {}),
    "keys.revoke": ("", None),
    "audit.read": ("?limit=1", None),
    "audit.call": ("", None),
    "openapi.read": ("", None),
}
PATHS = {"servers": "time", "keys": "standing", "audit": "c1"}


async def furnished() -> Parts:
    """A hub of which every operation can be asked."""
    parts = Parts()
    parts.pool.states = {"time": health("time"), "wiki": health("wiki", "down", retry_in_s=1.5)}
    parts.catalogue.changes = (changed("time", "now"),)
    parts.log.entries = [{"seq": seq, "call": f"c{seq}"} for seq in range(1, 4)]
    await parts.keys.create("standing")
    return parts


def path_of(operation: Operation) -> str:
    resource = operation.path.split("/")[1]
    return "/api/v1" + re.sub(r"\{\w+\}", lambda _: PATHS[resource], operation.path)


def test_every_operation_has_its_success_here() -> None:
    assert {operation.name for operation in OPERATIONS} == set(SUCCESSES)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_an_operation_answers_as_its_schema_says(operation: Operation) -> None:
    query, body = SUCCESSES[operation.name]
    found = await Api((await furnished()).ports()).ask(operation.method, path_of(operation) + query, ADMIN, body)
    assert found.status == operation.status, found.body
    assert operation.answer is not None
    Draft202012Validator(dict(operation.answer)).validate(found.json)
    assert found.headers["hub-call-id"]
    assert found.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_an_operation_is_refused_without_its_scope(operation: Operation) -> None:
    parts = await furnished()
    api, (query, body) = Api(parts.ports()), SUCCESSES[operation.name]
    ask = operation.method, path_of(operation) + query
    assert (await api.ask(*ask, None, body)).status == 401
    for scope in SCOPES:
        who = Principal("local", "key:k", "key:1", frozenset({scope}), Grants(frozenset({"*"})))
        assert ((await api.ask(*ask, who, body)).status == 403) is (scope not in operation.scopes)
    assert operation.scopes <= {"admin", "audit:read"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_a_refused_caller_learns_nothing_and_changes_nothing(operation: Operation) -> None:
    parts = await furnished()
    for who in (None, CLIENT):
        await Api(parts.ports()).ask(operation.method, path_of(operation), who, SUCCESSES[operation.name][1])
    assert (parts.journal.events, parts.pool.probed, len(parts.catalogue.changes)) == ([], [], 1)
    assert [row.name for row in parts.keys.rows()] == ["standing"]
    assert parts.keys.rows()[0].revoked_at is None


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_an_operation_takes_nothing_it_does_not_know(operation: Operation) -> None:
    api = Api((await furnished()).ports())
    found = await api.ask(operation.method, f"{path_of(operation)}?nonsense=1", ADMIN, SUCCESSES[operation.name][1])
    assert (found.status, found.json["code"]) == (422, "invalid")
    if operation.body is not None:
        found = await api.ask(operation.method, path_of(operation), ADMIN, {"nonsense": 1})
        assert (found.status, found.json["code"]) == (422, "invalid")


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.method != "GET"], ids=lambda each: each.name)
async def test_a_write_is_logged_with_who_and_what(operation: Operation) -> None:
    parts = await furnished()
    await Api(parts.ports()).ask(operation.method, path_of(operation), ADMIN, SUCCESSES[operation.name][1])
    if operation.name == "servers.test":  # it changes nothing
        assert parts.journal.events == []
        return
    [(kind, who, outcome, detail)] = parts.journal.events
    assert (kind, who, outcome, detail["act"]) == ("admin", "local:admin", "done", operation.name)
    assert {"before", "after"} & set(detail)


def test_the_schemas_of_every_operation_are_schemas() -> None:
    for operation in OPERATIONS:
        for schema in (operation.body, operation.answer, *operation.query.values()):
            if schema is not None:
                meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        if operation.body is not None:
            assert operation.body["additionalProperties"] is False


def test_the_document_tells_of_every_operation_what_it_takes_and_answers() -> None:
    made = document(OPERATIONS, "1.2.3")
    assert (made["openapi"], made["info"]["version"]) == ("3.1.0", "1.2.3")
    for operation in OPERATIONS:
        told = made["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
        assert told["operationId"] == operation.name
        assert told["security"] == [{"bearer": [scope]} for scope in sorted(operation.scopes)]
        assert {str(status) for status in refusals(operation)} <= set(told["responses"])
        assert ("requestBody" in told) is (operation.body is not None)
        assert {"401", "403", "500"} <= set(told["responses"])
    create = made["paths"]["/api/v1/keys"]["post"]
    assert create["requestBody"]["required"] is True
    assert made["paths"]["/api/v1/servers/{id}/approve"]["post"]["requestBody"]["required"] is False


def test_the_document_asks_for_if_match_where_the_hub_does() -> None:
    async def act(asked: Any) -> Any:
        raise AssertionError("not called")

    made = document((Operation("PUT", "/x/{id}", "x.put", "put", act, versioned=True, status=204),), "1")
    told = made["paths"]["/api/v1/x/{id}"]["put"]
    assert [(each["name"], each["in"], each["required"]) for each in told["parameters"]] == [
        ("id", "path", True),
        ("If-Match", "header", True),
    ]
    assert {"404", "412", "428"} <= set(told["responses"])
    assert "content" not in told["responses"]["204"]
    assert "ETag" in told["responses"]["204"]["headers"]


async def test_the_document_is_served_to_who_may_read_something() -> None:
    found = await Api(Parts().ports()).ask("GET", "/api/v1/openapi.json", READER)
    assert found.json == document(OPERATIONS, "1.2.3")
    assert (await Api(Parts().ports()).ask("GET", "/api/v1/openapi.json", CLIENT)).status == 403

"""One operation as its callers meet it: what is checked before it runs, and how its answer is told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hub.admin.operation import LARGE_BODY, READERS, Answer, Asked, Operation, Refused, object_of
from hub.core.ports import Conflict
from tests.admin.asking import ADMIN, READER, Api
from tests.admin.fakes import Parts

Handler = Callable[[Asked], Awaitable[Answer]]

BODY = object_of(
    {"name": {"type": "string", "maxLength": 8}},
    {
        "deep": {"type": "object", "properties": {"a/b~c": {"type": "array", "items": {"type": "integer"}}}},
        "token": {"type": "string", "pattern": "^[a-z]+$", "description": "small letters"},
        "never": False,
        "other": {"$ref": "#/properties/token"},
        "both": {"allOf": [{"type": "string"}, {"minLength": 2, "description": "two letters"}]},
    },
)
QUERY = {
    "count": {"type": "integer", "minimum": 1, "maximum": 9},
    "flag": {"type": "boolean"},
    "word": {"type": "string"},
    "many": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
}
CANARY = "canary-5c1e77"


class Seen:
    """A handler that notes what it was asked, and answers or raises as told."""

    def __init__(self, answer: Answer | Exception = Answer({"ok": True})) -> None:
        self.asked: list[Asked] = []
        self._answer = answer

    async def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def api_of(handler: Handler, method: str = "POST", path: str = "/things/{id}", **more: Any) -> Api:
    return Api(Parts().ports(more=(Operation(method, path, "things.act", "acts", handler, **more),)))


async def test_the_handler_gets_the_parts_of_the_request_as_their_schemas_want_them() -> None:
    seen = Seen()
    path = "/api/v1/things/a%20b?count=3&flag=true&word=7&many=1&many=2"
    found = await api_of(seen, body=BODY, query=QUERY).ask("POST", path, body={"name": "x"})
    assert (found.status, found.json) == (200, {"ok": True})
    [asked] = seen.asked
    assert (asked.who, asked.path, asked.body) == (ADMIN, {"id": "a b"}, {"name": "x"})
    assert asked.query == {"count": 3, "flag": True, "word": "7", "many": [1, 2]}
    assert asked.if_match is None


@pytest.mark.parametrize(
    ("query", "path", "words"),
    [
        ("count=x", "/count", "not of type"),
        ("count=1.0", "/count", "not of type"),
        ("count=%C2%B2", "/count", "not of type"),
        ("count=12345678901234567890", "/count", "not of type"),
        ("count=10", "/count", "greater than the maximum"),
        ("count=-1", "/count", "less than the minimum"),
        ("count=1&count=2", "/count", "more than once"),
        ("flag=yes", "/flag", "not of type"),
        ("many=1&many=x", "/many/1", "not of type"),
        ("many=1&many=2&many=3", "/many", "more than 2 items"),
        ("token=abc", "", "takes no 'token'"),
    ],
)
async def test_a_query_that_does_not_fit_never_reaches_the_handler(query: str, path: str, words: str) -> None:
    seen = Seen()
    found = await api_of(seen, query=QUERY).ask("POST", f"/api/v1/things/x?{query}")
    assert (found.status, found.json["code"], seen.asked) == (422, "invalid", [])
    [error] = found.json["errors"]
    assert error["path"] == path
    assert words in error["message"]
    assert found.json["detail"].startswith("query" if path else "the query")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("", "needs 'name'")]),
        ({"name": 1}, [("/name", 'this is not of type "string"')]),
        ({"name": "x", "admin": 1, "b": 2}, [("", "takes no 'admin', 'b'")]),
        ({"name": "x", "never": 1}, [("/never", "is not allowed")]),
        ({"name": "x", "other": "9"}, [("/other", "is not written as it must be (wanted: small letters)")]),
        ({"name": "x", "both": "1"}, [("/both", "this is shorter than 2 characters (wanted: two letters)")]),
        ({"name": "x", "deep": {"a/b~c": [1, "2"]}}, [("/deep/a~1b~0c/1", 'this is not of type "integer"')]),
        (
            {"name": "much too long", "token": "9"},
            [
                ("/name", "this is longer than 8 characters"),
                ("/token", "is not written as it must be (wanted: small letters)"),
            ],
        ),
    ],
)
async def test_every_fault_of_a_body_is_told_with_its_place(body: Any, errors: list[tuple[str, str]]) -> None:
    seen = Seen()
    found = await api_of(seen, body=BODY).ask("POST", "/api/v1/things/x", body=body)
    assert (found.status, seen.asked) == (422, [])
    assert sorted((each["path"], each["message"]) for each in found.json["errors"]) == sorted(errors)


async def test_no_value_of_the_caller_stands_in_a_refusal() -> None:
    body = {"name": CANARY, "token": f"{CANARY}!", "deep": {"a/b~c": [CANARY]}, "never": CANARY}
    found = await api_of(Seen(), body=BODY).ask("POST", "/api/v1/things/x", body=body)
    assert found.status == 422
    assert len(found.json["errors"]) == 4
    assert found.json["detail"].endswith("(and 3 more)")
    assert CANARY.encode() not in found.body


async def test_names_that_forge_lines_or_flood_are_shown_tamed() -> None:
    names = {f"{'x' * 90}{n}\n\x1b[31m": 1 for n in range(40)}
    found = await api_of(Seen(), body=BODY).ask("POST", "/api/v1/things/x", body={"name": "x", **names})
    assert len(found.json["errors"][0]["message"]) < 400
    assert "\x1b" not in found.json["detail"]
    wrong = {"deep": {"a/b~c": ["x"] * 100}, "name": "x"}
    found = await api_of(Seen(), body=BODY).ask("POST", "/api/v1/things/x", body=wrong)
    assert len(found.json["errors"]) == 20


async def test_a_path_that_cannot_be_is_refused_as_such() -> None:
    seen = Seen()
    api = api_of(seen, parts={"id": {"type": "string", "pattern": "^[a-z]+$", "description": "small letters"}})
    found = await api.ask("POST", f"/api/v1/things/{CANARY}")
    wanted = "path /id: is not written as it must be (wanted: small letters)"
    assert (found.status, found.json["detail"], seen.asked) == (422, wanted, [])
    assert (await api.ask("POST", "/api/v1/things/abc")).status == 200


async def test_a_body_is_bounded_by_its_operation() -> None:
    for most, size, status in ((64 * 1024, 64 * 1024, 413), (LARGE_BODY, 64 * 1024, 200), (LARGE_BODY, 2**20, 413)):
        seen = Seen()
        api = api_of(seen, body={"type": "object"}, body_bytes=most)
        assert (await api.ask("POST", "/api/v1/things/x", body={"x": "y" * size})).status == status
        assert len(seen.asked) == (status == 200)


@pytest.mark.parametrize("length", ["65537", "9" * 30])
async def test_a_body_that_is_announced_too_large_is_not_read(length: str) -> None:
    api = api_of(Seen(), body=BODY)
    found = await api.ask("POST", "/api/v1/things/x", chunks=[], headers={"Content-Length": length})
    assert (found.status, found.json["code"]) == (413, "too_large")


async def test_a_body_of_another_kind_is_refused_and_an_empty_one_is_an_empty_object() -> None:
    seen = Seen()
    api = api_of(seen, body={"type": "object"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    found = await api.ask("POST", "/api/v1/things/x", body={}, headers=form)
    assert (found.status, found.json["code"], seen.asked) == (415, "unsupported_media", [])
    assert (await api.ask("POST", "/api/v1/things/x", headers=form)).status == 200
    utf = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await api.ask("POST", "/api/v1/things/x", body={"a": 1}, headers=utf)).status == 200
    assert [asked.body for asked in seen.asked] == [{}, {"a": 1}]


async def test_a_number_no_validator_can_hold_is_refused() -> None:
    for text in (b'{"name": 1e400}', b'{"deep": ' + b'{"a":' * 120 + b"1" + b"}" * 121):
        found = await api_of(Seen(), body=BODY).ask(
            "POST", "/api/v1/things/x", chunks=[{"type": "http.request", "body": text}]
        )
        assert found.status in (400, 422)


async def test_a_write_that_wants_a_version_asks_for_it() -> None:
    seen = Seen(Answer({}, etag="4"))
    api = api_of(seen, "PUT", versioned=True)
    found = await api.ask("PUT", "/api/v1/things/x")
    assert (found.status, found.json["code"]) == (428, "if_match_missing")
    for wrong in ("*", "3", 'W/"3"', '"3", "4"', '"', '"a b"'):
        found = await api.ask("PUT", "/api/v1/things/x", headers={"If-Match": wrong})
        assert (found.status, found.json["code"]) == (400, "malformed")
    doubled = await api.ask("PUT", "/api/v1/things/x", headers=(("If-Match", '"3"'), ("If-Match", '"4"')))
    assert doubled.status == 400
    assert seen.asked == []
    found = await api.ask("PUT", "/api/v1/things/x", headers={"If-Match": '"3"'})
    assert (found.status, found.headers["etag"], seen.asked[0].version()) == (200, '"4"', 3)


@pytest.mark.parametrize(("if_match", "status"), [(None, 428), ("x", 412), ("-1", 412), ("²", 412), ("9" * 16, 412)])
def test_what_is_no_version_was_never_one_of_this(if_match: str | None, status: int) -> None:
    with pytest.raises(Refused) as caught:
        Asked(ADMIN, if_match=if_match).version()
    assert caught.value.status == status


async def test_a_write_on_a_stale_version_is_refused_in_words() -> None:
    api = api_of(Seen(Conflict("version 3 is gone")), "PUT", versioned=True)
    found = await api.ask("PUT", "/api/v1/things/x", headers={"If-Match": '"3"'})
    assert (found.status, found.json["code"]) == (412, "changed")
    assert "read it again" in found.json["detail"]


async def test_a_reader_who_has_it_already_gets_no_body() -> None:
    api = api_of(Seen(), "GET")
    first = await api.ask("GET", "/api/v1/things/x")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await api.ask("GET", "/api/v1/things/x", headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["hub-call-id"]
    assert (await api.ask("GET", "/api/v1/things/x", headers={"If-None-Match": '"other"'})).status == 200
    other = await api_of(Seen(Answer({"ok": False})), "GET").ask("GET", "/api/v1/things/x")
    assert other.headers["etag"] != tag


async def test_a_handlers_own_etag_is_the_one_that_is_told() -> None:
    found = await api_of(Seen(Answer({}, etag="7")), "GET").ask("GET", "/api/v1/things/x")
    assert found.headers["etag"] == '"7"'
    written = await api_of(Seen()).ask("POST", "/api/v1/things/x", headers={"If-None-Match": "*"})
    assert written.status == 200
    assert "etag" not in written.headers


async def test_the_status_of_a_success_is_the_operations_unless_its_answer_says_otherwise() -> None:
    assert (await api_of(Seen(), status=201).ask("POST", "/api/v1/things/x")).status == 201
    assert (await api_of(Seen(Answer({}, status=202)), status=201).ask("POST", "/api/v1/things/x")).status == 202
    gone = await api_of(Seen(Answer()), status=204).ask("POST", "/api/v1/things/x")
    assert (gone.status, gone.body, "content-type" in gone.headers) == (204, b"", False)


async def test_every_refusal_is_a_problem_with_its_call() -> None:
    refused = Refused(409, "busy", "it is busy: wait", until="noon", title="Fine", call="forged")
    found = await api_of(Seen(refused)).ask("POST", "/api/v1/things/x")
    assert found.status == 409
    assert found.headers["content-type"] == "application/problem+json"
    assert found.json == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "busy",
        "detail": "it is busy: wait",
        "call": found.headers["hub-call-id"],
        "until": "noon",
    }


async def test_a_bug_is_told_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        found = await api_of(Seen(RuntimeError(CANARY))).ask("POST", "/api/v1/things/x")
    assert (found.status, found.json["code"]) == (500, "internal")
    assert CANARY.encode() not in found.body
    [record] = caplog.records
    assert getattr(record, "call", None) == found.headers["hub-call-id"]


async def test_an_answer_that_is_no_json_is_a_bug_too() -> None:
    assert (await api_of(Seen(Answer({"x": object()}))).ask("POST", "/api/v1/things/x")).status == 500


async def test_scopes_are_the_operations_own() -> None:
    assert (await api_of(Seen()).ask("POST", "/api/v1/things/x", READER)).status == 403
    assert (await api_of(Seen(), scopes=READERS).ask("POST", "/api/v1/things/x", READER)).status == 200


async def test_a_word_in_a_path_is_never_taken_for_an_id() -> None:
    one, word = Seen(), Seen()
    more = (
        Operation("POST", "/things/{id}", "things.act", "acts", one),
        Operation("POST", "/things/try", "things.try", "tries", word),
        Operation("DELETE", "/things/{id}", "things.remove", "removes", one),
    )
    api = Api(Parts().ports(more=more))
    await api.ask("POST", "/api/v1/things/try")
    assert (len(one.asked), len(word.asked)) == (0, 1)
    await api.ask("DELETE", "/api/v1/things/try")
    assert one.asked[0].path == {"id": "try"}
    wrong = await api.ask("PATCH", "/api/v1/things/try")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    wrong = await api.ask("PATCH", "/api/v1/things/one")
    assert (wrong.status, wrong.headers["allow"]) == (405, "DELETE, POST")


async def test_a_path_with_a_slash_too_many_is_not_found_and_leads_nowhere() -> None:
    found = await Api(Parts().ports()).ask("GET", "/api/v1/keys/", headers={"Host": "evil.example"})
    assert (found.status, found.headers["content-type"]) == (404, "application/problem+json")
    assert "location" not in found.headers


def test_two_operations_of_one_name_or_place_start_nothing() -> None:
    for twin in (("POST", "/things/{id}", "other"), ("PUT", "/other", "things.act")):
        method, path, name = twin
        more = (
            Operation("POST", "/things/{id}", "things.act", "acts", Seen()),
            Operation(method, path, name, "acts", Seen()),
        )
        with pytest.raises(ValueError, match="there twice"):
            Api(Parts().ports(more=more))

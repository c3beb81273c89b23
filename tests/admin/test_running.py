"""What is told and changed about a hub that runs: its traffic, the level of its log, the note of a backup."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hub.admin import backups, log_level, traffic
from hub.admin.operation import Operation
from hub.admin.recent import Recent
from tests.admin.asking import ADMIN, CLIENT, READER, Api
from tests.admin.fakes import STARTED, FakeJournal, Parts, health

MADE = {"made_at": "2026-01-01T00:00:00Z", "secrets": True, "seq": 7, "hash": "a" * 64}


class Hub:
    def __init__(self) -> None:
        self.parts, self.recent = Parts(), Recent()
        self.reloaded: str | None = None
        self.operations: tuple[Operation, ...] = (
            *traffic.operations(
                "1.2.3", STARTED, self.parts.pool.health, self.recent, lambda: self.reloaded, lambda: ["a: b"]
            ),
            *log_level.operations(self.parts.journal),
            *backups.operations(self.parts.journal),
        )
        self.api = Api(self.parts.ports(more=self.operations))

    @property
    def journal(self) -> FakeJournal:
        return self.parts.journal

    def fits(self, name: str, body: Any) -> bool:
        [operation] = [each for each in self.operations if each.name == name]
        return operation.answer is not None and Draft202012Validator(operation.answer).is_valid(body)


@pytest.fixture
def level() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = root.level
    root.setLevel("INFO")
    yield root
    root.setLevel(before)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/traffic", None),
        ("GET", "/api/v1/log-level", None),
        ("PUT", "/api/v1/log-level", {"level": "debug"}),
        ("POST", "/api/v1/backups", MADE),
    ],
)
async def test_only_the_admin_is_let_in(method: str, path: str, body: Any, level: logging.Logger) -> None:
    hub = Hub()
    asked = {"method": method, "path": path, "body": body, "headers": {"content-type": "application/json"}}
    assert (await hub.api.ask(**asked, who=None)).status == 401
    for who in (CLIENT, READER):
        assert (await hub.api.ask(**asked, who=who)).status == 403
    assert hub.journal.events == []
    assert level.level == logging.INFO
    assert (await hub.api.ask(**asked, who=ADMIN)).status in (200, 201)


async def test_traffic_tells_state_and_calls_of_every_server() -> None:
    hub = Hub()
    hub.parts.pool.states = {"wiki": health("wiki", "down"), "time": health("time")}
    hub.recent.answered("time", "done", 0.02)
    hub.recent.answered("unknown", "denied", 0.01)
    hub.reloaded = "2026-01-02T00:00:00Z"
    found = (await hub.api.ask("GET", "/api/v1/traffic")).json
    assert hub.fits("traffic.show", found)
    assert [(row["id"], row["state"], row["calls"]) for row in found["servers"]] == [
        ("time", "ready", 1),
        ("wiki", "down", 0),
    ]
    assert found["servers"][0]["last_minute"] == {"calls": 1, "denied": 0, "errors": 0, "p50_ms": 20.0, "p95_ms": 20.0}
    assert (found["total"]["calls"], found["total"]["denied"]) == (2, 1)
    assert (found["started_at"], found["reloaded_at"]) == (STARTED, "2026-01-02T00:00:00Z")
    assert found["trouble"] == ["a: b"]
    assert hub.journal.events == []


async def test_the_level_is_told_changed_and_logged(level: logging.Logger) -> None:
    hub, headers = Hub(), {"content-type": "application/json"}
    assert (await hub.api.ask("GET", "/api/v1/log-level")).json == {"level": "info"}
    found = await hub.api.ask("PUT", "/api/v1/log-level", body={"level": "error"}, headers=headers)
    assert found.json == {"level": "error", "before": "info"}
    assert hub.fits("log_level.set", found.json)
    assert level.level == logging.ERROR
    assert (await hub.api.ask("GET", "/api/v1/log-level")).json == {"level": "error"}
    [(kind, who, outcome, detail)] = hub.journal.events
    assert (kind, who, outcome) == ("admin", "local:admin", "done")
    assert detail == {"act": "log_level.set", "before": {"level": "info"}, "after": {"level": "error"}}


async def test_a_change_that_cannot_be_logged_is_not_made(level: logging.Logger) -> None:
    hub = Hub()
    hub.journal.broken = True
    found = await hub.api.ask(
        "PUT", "/api/v1/log-level", body={"level": "debug"}, headers={"content-type": "application/json"}
    )
    assert found.status == 500
    assert "s3cret" not in found.body.decode()
    assert level.level == logging.INFO


def test_a_level_between_the_words_is_told_by_the_next_one(level: logging.Logger) -> None:
    level.setLevel(logging.WARNING - 5)
    assert log_level.current() == "warning"
    level.setLevel(logging.CRITICAL)
    assert log_level.current() == "error"


@pytest.mark.parametrize("body", [None, {}, {"level": "loud"}, {"level": 10}, {"level": "debug", "more": 1}])
async def test_a_level_that_is_none_is_refused(body: Any, level: logging.Logger) -> None:
    hub = Hub()
    found = await hub.api.ask("PUT", "/api/v1/log-level", body=body, headers={"content-type": "application/json"})
    assert found.status == 422
    assert hub.journal.events == []
    assert level.level == logging.INFO


async def test_a_backup_is_noted_in_the_log() -> None:
    hub, headers = Hub(), {"content-type": "application/json"}
    found = await hub.api.ask("POST", "/api/v1/backups", body=MADE, headers=headers)
    assert (found.status, found.json) == (201, {"call": "call-1"})
    assert hub.fits("backups.record", found.json)
    assert hub.journal.events == [("admin", "local:admin", "done", {"act": "backups.record", "after": MADE})]


@pytest.mark.parametrize("change", [{"hash": "x"}, {"seq": -1}, {"made_at": "now"}, {"secrets": 1}, {"file": "/etc"}])
async def test_a_note_of_another_form_is_refused(change: dict[str, Any]) -> None:
    hub, headers = Hub(), {"content-type": "application/json"}
    found = await hub.api.ask("POST", "/api/v1/backups", body={**MADE, **change}, headers=headers)
    assert found.status == 422
    assert hub.journal.events == []

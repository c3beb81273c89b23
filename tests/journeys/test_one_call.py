"""The exact road of one `tools/call`, read without turning back, and the order of the stages on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from hub.assembly import StagePorts, stages
from hub.audit.read import check_chain, entries_of
from hub.config import Config
from hub.core.call import Call, Done, Item, Kind, Outcome, Route
from hub.core.pipeline import Pipeline
from hub.identity.authenticate import LOCAL_CLIENT
from hub.stores.memory.counters import MemoryCounters
from tests.core.chain import Log, Reach, a_call
from tests.journeys.hub import call_tool, downstream, listed, running
from tests.policies.test_resolve import FakeCatalog

ROOT: Final = Path(__file__).resolve().parent.parent.parent
ROAD: Final = (
    "hub/edge/mcp_modern.py",
    "hub/wire/decode.py",
    "hub/core/pipeline.py",
    "policies/limit.py",
    "policies/resolve.py",
    "policies/authorize.py",
    "policies/arguments.py",
    "policies/shape.py",
    "policies/results.py",
    "hub/downstream/dispatch.py",
    "hub/downstream/pool.py",
    "hub/downstream/http_modern.py",
    "hub/wire/encode.py",
)
ORDER: Final = (
    "limit_caller",
    "resolve",
    "endpoint",
    "pins",
    "definitions",
    "facts",
    "authorize",
    "arguments",
    "limit_item",
    "approve",
    "budget",
    "route",
    "shape",
    "screen",
    "cache",
    "results",
    "dispatch",
)


@contextmanager
def entered(files: tuple[str, ...]) -> Iterator[list[str]]:
    """The files in the order in which the first function of each was entered."""
    wanted = {str(ROOT / name): name for name in files}
    seen: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = wanted.get(frame.f_code.co_filename) if event == "call" else None
        if name is not None and name not in seen:
            seen.append(name)

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


async def test_one_call_goes_down_the_road_and_back(tmp_path: Path) -> None:
    async with downstream() as url, running(tmp_path, {"mcpServers": {"echo": {"url": url}}}) as run:
        await listed(run, "echo__echo")
        with entered(ROAD) as trail:
            answer = await call_tool(run, "echo__echo", {"text": "as it is"})
        assert answer.status == 200
        assert answer.body["result"]["content"] == [{"type": "text", "text": "as it is"}]
        assert tuple(trail) == ROAD
        intent, call = entries_of(tmp_path / "data" / "audit.db", answer.headers["hub-call-id"])
        assert (intent["kind"], call["kind"], call["outcome"], call["item"]) == ("intent", "call", "done", "echo__echo")
    assert check_chain(tmp_path / "data" / "audit.db").ok


async def test_a_refused_call_never_comes_near_a_downstream(tmp_path: Path) -> None:
    async with downstream() as url, running(tmp_path, {"mcpServers": {"echo": {"url": url}}}) as run:
        await listed(run, "echo__echo")
        with entered(ROAD) as trail:
            answer = await call_tool(run, "echo__echo", {"text": 5})
        assert answer.body["result"]["isError"] is True
        assert not [name for name in trail if name.startswith("hub/downstream/")]
        (call,) = entries_of(tmp_path / "data" / "audit.db", answer.headers["hub-call-id"])
        assert call["outcome"] == "denied:invalid_arguments"


TOOL: Final = {"name": "t", "inputSchema": {"type": "object"}}


class OneTool(FakeCatalog):
    def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
        return Item("tool", "srv", name, "t", TOOL, TOOL, "sha")


class ToCanary:
    """A router that sends one caller's calls to a variant."""

    async def route(self, call: Call) -> Route | None:
        return Route("srv-canary", "five percent") if call.arguments.get("canary") else None


def assembled(tmp_path: Path, **ports: Any) -> tuple[Pipeline, Reach]:
    reach = Reach(Done({"content": []}))
    given = StagePorts(OneTool(), MemoryCounters(), **ports)
    return Pipeline(stages(Config(tmp_path), given), reach, Log()), reach


def test_the_stages_stand_in_this_order(tmp_path: Path) -> None:
    assert assembled(tmp_path)[0].names == ORDER


async def test_a_router_chooses_the_variant_that_takes_a_call(tmp_path: Path) -> None:
    pipeline, reach = assembled(tmp_path, router=ToCanary())
    for arguments in ({"canary": True}, {}):
        call = a_call({"name": "srv__t", "arguments": arguments})
        outcome: Outcome = await pipeline.handle(replace(call, method="tools/call", who=LOCAL_CLIENT))
        assert isinstance(outcome, Done), outcome
    assert [call.route and call.route.server for call in reach.seen] == ["srv-canary", None]


def test_the_readme_quotes_the_road() -> None:
    text = (ROOT / "README.md").read_text()
    quoted = text[text.index("```text\nhub/edge/mcp_modern.py") :].partition("```\n")[0]
    for name in (name for name in ROAD if name.startswith("hub/")):
        assert name in quoted, name

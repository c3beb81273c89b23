"""A stage that says it passes a call does with it, when it is run, what was said: nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from hub.assembly import StagePorts, stages
from hub.config import Config
from hub.core.call import Call, Denied, Done, Item, Listed, Listing, One, Outcome, Several, Target
from hub.core.ports import Passing, Rate, Stage
from hub.identity.authenticate import LOCAL_ADMIN, LOCAL_CLIENT
from hub.stores.memory.counters import MemoryCounters
from policies.limit import Limit, per_item
from policies.results import CheckResult
from policies.schemas import Schemas
from tests.core.chain import a_call
from tests.policies.test_resolve import FakeCatalog

_TEXT: Final = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
PLAIN: Final = Item("tool", "srv", "srv__t", "t", {"name": "t", "inputSchema": _TEXT}, {}, "1" * 64)
TYPED: Final = replace(PLAIN, definition={**PLAIN.definition, "outputSchema": _TEXT}, sha256="2" * 64)
CHANGED: Final = replace(PLAIN, changed=True)
BROKEN: Final = replace(PLAIN, definition={"name": "t", "inputSchema": 5}, sha256="3" * 64)
PROMPT: Final = Item(
    "prompt", "srv", "srv__p", "p", {"name": "p", "arguments": [{"name": "a", "required": True}]}, {}, "4"
)

CALLS: Final = {
    "fitting": a_call({"name": "t", "arguments": {"text": "hello"}}, target=One(PLAIN)),
    "unfitting": a_call({"name": "t", "arguments": {"text": 5}}, target=One(PLAIN)),
    "typed": a_call({"name": "t", "arguments": {"text": "hello"}}, target=One(TYPED)),
    "changed": a_call({"name": "t", "arguments": {"text": "hello"}}, target=One(CHANGED)),
    "broken": a_call({"name": "t", "arguments": {}}, target=One(BROKEN)),
    "prompt": a_call({"name": "p", "arguments": {"a": "b"}}, target=One(PROMPT), method="prompts/get"),
    "prompt without": a_call({"name": "p"}, target=One(PROMPT), method="prompts/get"),
    "list": a_call({}, target=Listing("tool"), method="tools/list"),
    "listen": a_call({}, target=Several((PLAIN, CHANGED)), method="subscriptions/listen"),
    "unresolved": a_call({"name": "t"}),
}


def answer_to(target: Target) -> Outcome:
    return Listed((PLAIN, CHANGED)) if isinstance(target, Listing) else Done({"structuredContent": 5}, size_bytes=30)


def every_stage(tmp_path: Path) -> list[Stage]:
    made = list(stages(Config(tmp_path), StagePorts(FakeCatalog(), MemoryCounters())))
    limited = Limit("limit_item", MemoryCounters(), per_item({"srv": Rate(1.0, 1)}))
    return [*made, limited, CheckResult(Schemas(), "off"), CheckResult(Schemas(), "strict")]


@pytest.mark.parametrize("who", [LOCAL_CLIENT, LOCAL_ADMIN])
@pytest.mark.parametrize("name", CALLS)
async def test_what_a_stage_says_it_passes_it_does_not_touch(name: str, who: Any, tmp_path: Path) -> None:
    call, passed = replace(CALLS[name], who=who), 0
    for stage in every_stage(tmp_path):
        if not isinstance(stage, Passing) or not stage.passes(call):
            continue
        passed += 1
        given: list[Call] = []
        below = answer_to(call.target)

        async def next(call: Call, given: list[Call] = given, below: Outcome = below) -> Outcome:
            given.append(call)
            return below

        assert await stage(call, next) is below, stage.name
        assert given == [call], stage.name
    assert passed


async def test_what_is_refused_is_never_passed(tmp_path: Path) -> None:
    refused = 0
    for stage in every_stage(tmp_path):
        for call in CALLS.values():

            async def next(call: Call) -> Outcome:
                return answer_to(call.target)

            if isinstance(stage, Passing) and isinstance(await stage(call, next), Denied):
                refused += 1
                assert not stage.passes(call), stage.name
    assert refused

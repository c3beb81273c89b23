"""Listing and calling tools from the command line, as a client of the modern endpoint."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.cli import mcp_client, place
from hub.cli.main import main
from hub.running import StartRefused
from tests.cli.hub import Answer, running, stream

TOOLS = [
    {"name": "time__now", "description": "The time.\nIn any zone.", "inputSchema": {"type": "object"}},
    {"name": "wiki__find", "title": "x" * 200, "inputSchema": {"type": "object"}},
    {"name": "wiki__bare", "inputSchema": {"type": "object"}},
]


def result(**members: Any) -> dict[str, Any]:
    return {"result": {"resultType": "complete", **members}}


def text(words: str, **members: Any) -> dict[str, Any]:
    return result(content=[{"type": "text", "text": words}], **members)


def test_every_page_of_the_list_is_read(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def pages(message: dict[str, Any]) -> dict[str, Any]:
        at = int(message["params"].get("cursor", "0"))
        more = {"nextCursor": str(at + 1)} if at + 1 < len(TOOLS) else {}
        return result(tools=[TOOLS[at]], **more)

    with running(data_dir) as hub:
        hub.answer = pages
        assert main(["tools", "list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"tools": TOOLS}
        assert main(["tools", "list", "--endpoint", "clock"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "time__now   The time."
    assert out[2].endswith("…")
    assert hub.seen[-1][0] == "/clock/mcp"


def test_a_list_without_an_end_is_given_up(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_client, "PAGES", 3)
    with running(data_dir) as hub:
        hub.answer = lambda message: result(tools=[], nextCursor="again")
        assert main(["tools", "list"]) == 1
    assert "does not end" in capsys.readouterr().err
    assert len(hub.seen) == 3


def test_a_call_is_one_modern_request(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(data_dir) as hub:
        hub.answer = lambda message: text("12:00\x1b[31m\nUTC")
        assert main(["tools", "call", "time__now", "--args", '{"tz": "UTC", "n": 9007199254740993}']) == 0
    [(path, headers, message)] = hub.seen
    assert path == "/mcp"
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "time__now")
    assert message["params"]["name"] == "time__now"
    assert message["params"]["arguments"] == {"tz": "UTC", "n": 9007199254740993}
    assert message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
    assert capsys.readouterr().out == "12:00\\u001b[31m\nUTC\n"


def test_the_whole_result_is_printed_as_json(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = text("x", structuredContent={"a": [1]}, extra={"kept": True})
    with running(data_dir) as hub:
        hub.answer = lambda message: told
        assert main(["tools", "call", "t", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told["result"]


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_a_result_that_is_an_error_exits_1_with_its_words(
    flag: list[str], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) as hub:
        hub.answer = lambda message: text("no such zone", isError=True)
        assert main(["tools", "call", "t", *flag]) == 1
    out, err = capsys.readouterr()
    assert "no such zone" in err
    assert (out != "") is bool(flag)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"error": {"code": -32602, "message": "unknown tool"}}, "unknown tool"),
        ({"result": 5}, "no MCP"),
        (("application/json", b"[]"), "no MCP"),
        (("text/html", b"<html>"), "without JSON"),
        (("application/problem+json", b'{"detail": "no such endpoint"}'), "no such endpoint"),
        (stream({"jsonrpc": "2.0", "method": "x"}), "ended before the answer; the outcome is unknown"),
        (result(resultType="input_required", inputRequests={}), "asks for input"),
    ],
)
def test_what_is_no_result_exits_1_in_words(
    told: dict[str, Any] | Answer, words: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(data_dir) as hub:
        hub.answer = lambda message: told
        assert main(["tools", "call", "t"]) == 1
    assert words in capsys.readouterr().err


def test_a_streamed_answer_shows_its_progress(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(message: dict[str, Any]) -> Answer:
        progress = {"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1, "total": 2}
        half = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {**progress, "message": "half\x07"}}
        return stream(half, {"jsonrpc": "2.0", "id": 99, "result": {}}, {"id": message["id"], **text("done")})

    with running(data_dir) as hub:
        hub.answer = told
        assert main(["tools", "call", "t"]) == 0
    out, err = capsys.readouterr()
    assert out == "done\n"
    assert "mcp-hub: 1 of 2 half\\u0007\n" in err


def test_arguments_that_belong_in_headers_are_sent_there_when_asked_for(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    def told(message: dict[str, Any]) -> dict[str, Any]:
        if message["method"] == "tools/list":
            return result(tools=[{"name": "t", "inputSchema": schema}])
        if "mcp-param-region" not in hub.seen[-1][1]:
            return {"error": {"code": -32020, "message": "Mcp-Param-Region is missing"}}
        return text("ok")

    with running(data_dir) as hub:
        hub.answer = told
        assert main(["tools", "call", "t", "--args", '{"region": "eu"}']) == 0
    assert hub.seen[-1][1]["mcp-param-region"] == "eu"
    assert [message["method"] for _, _, message in hub.seen] == ["tools/call", "tools/list", "tools/call"]
    assert capsys.readouterr().out == "ok\n"


def test_each_kind_of_block_is_told(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [
        {"type": "text", "text": "words"},
        {"type": "image", "mimeType": "image/png", "data": "AAAA"},
        {"type": "resource_link", "uri": "doc://a"},
        {"type": "resource", "resource": {"uri": "doc://b", "text": "inside"}},
        {"type": "resource", "resource": {"uri": "doc://c", "blob": "AAAA"}},
        {"type": "resource"},
    ]
    with running(data_dir) as hub:
        hub.answer = lambda message: result(content=blocks)
        assert main(["tools", "call", "t"]) == 0
        told = capsys.readouterr().out.splitlines()
        hub.answer = lambda message: result(content=[], structuredContent={"a": "é"})
        assert main(["tools", "call", "t"]) == 0
    image = "[image image/png, 4 characters of base64]"
    assert told == ["words", image, "[doc://a]", "inside", "[doc://c]", "[None]"]
    assert json.loads(capsys.readouterr().out) == {"a": "é"}


@pytest.mark.parametrize("given", ["{", "[1]", "5", '{"a": NaN}'])
def test_arguments_that_are_no_object_are_wrong_usage(
    given: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "call", "t", "--args", given]) == 2
    assert "--args" in capsys.readouterr().err


def test_arguments_may_come_through_standard_input(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}')))
    with running(data_dir) as hub:
        hub.answer = lambda message: text("ok")
        assert main(["tools", "call", "t", "--args", "-"]) == 0
    assert hub.seen[0][2]["params"]["arguments"] == {"a": 1}


def test_without_a_hub_one_is_started_and_named(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Path | None, Path]] = []
    with running(data_dir) as hub:
        hub.answer = lambda message: text("ok")

        async def start(config: Path | None, where: Path) -> Any:
            started.append((config, where))
            return hub.run

        monkeypatch.setattr(place, "start_background", start)
        monkeypatch.setattr(place, "read_run", lambda where: None)
        assert main(["tools", "call", "t"]) == 0
    assert started == [(None, data_dir)]
    assert "leaves after ten idle minutes" in capsys.readouterr().err


def test_a_hub_that_does_not_start_is_told(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(config: Path | None, where: Path) -> Any:
        raise StartRefused("the hub did not start; the port is taken")

    monkeypatch.setattr(place, "start_background", start)
    assert main(["tools", "list"]) == 1
    assert "the port is taken" in capsys.readouterr().err

"""The hub's own log: one JSON object a line, without secrets and without forged lines."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from hub.admin.logs import JsonLines, configure, redact


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, warnings.showwarning
    made = io.StringIO()
    configure("info", made)
    yield made
    logging.captureWarnings(False)
    root.handlers[:], level, warnings.showwarning = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_object_on_one_line(stream: io.StringIO) -> None:
    logging.getLogger("hub.x").warning("server %s is down\nforged: {}", "time", extra={"call": "c1"})
    logging.getLogger("hub.x").debug("not shown")
    [line] = lines(stream)
    assert line["at"].endswith("Z")
    assert (line["level"], line["logger"], line["call"]) == ("warning", "hub.x", "c1")
    assert line["message"] == "server time is down\nforged: {}"


def test_a_traceback_is_part_of_the_line_and_redacted(stream: io.StringIO) -> None:
    try:
        raise ValueError("bad token=abcdefgh12345")
    except ValueError:
        logging.getLogger("hub.x").exception("failed")
    [line] = lines(stream)
    assert "ValueError" in line["trace"]
    assert "abcdefgh" not in line["trace"]


def test_a_huge_message_is_cut(stream: io.StringIO) -> None:
    logging.getLogger("hub.x").info("x" * 100_000)
    [line] = lines(stream)
    assert len(line["message"]) < 9000
    assert line["message"].endswith("(100000 characters)")


def test_the_web_servers_chatter_is_left_out(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info("GET /mcp")
    logging.getLogger("uvicorn.error").error("broken")
    assert [line["message"] for line in lines(stream)] == ["broken"]


def test_by_default_it_goes_to_standard_error(stream: io.StringIO) -> None:
    configure("error")
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr
    assert isinstance(handler.formatter, JsonLines)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRETsecret",
        "authorization=Basic SECRETsecret",
        "header {'Authorization': 'Bearer SECRETsecret'}",
        "mhk_SECRETsecret-x used",
        "api_key=SECRETsecret&x=1",
        '{"password": "SECRETsecret"}',
        "MCP_HUB_TOKEN=SECRETsecret",
        "https://user:SECRETsecret@example.com/x",
        "Mcp-Session-Id: SECRETsecret",
        "cookie: SECRETsecret",
        "sk-SECRETsecretSECRETsecret",
        "ghp_SECRETsecretSECRETsecret",
        "eyJSECRETsecret.SECRETsecret.SECRETsecret",
        "client_secret = SECRETsecret",
    ],
)
def test_what_looks_like_a_credential_is_taken_out(text: str) -> None:
    assert "SECRETsecret" not in redact(text)
    assert "[redacted]" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "the token bucket of key:ci is empty",
        "server time: connection refused (http://127.0.0.1:8700/mcp)",
        "password must be at least 32 characters",
        "tool time__get_current_time took 12 ms",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redact(text) == text

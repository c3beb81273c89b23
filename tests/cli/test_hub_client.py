"""What the verbs say when the hub they talk to is gone, slow, or no hub."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.cli import hub_client
from hub.cli.failure import Failed
from hub.cli.hub_client import ApiRefused, HubGone, api, every, seen
from hub.cli.screen import waiting
from hub.running import Run
from tests.cli.hub import running


@contextmanager
def peer(answer: bytes | None, host: str = "127.0.0.1") -> Iterator[Run]:
    """Something that listens, and answers the first request so; None keeps silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    done.wait(5)
                else:
                    connection.sendall(answer)

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield Run(1, f"http://{host}:{port}/mcp", host, port, 0, "s", "0", "t")
        finally:
            done.set()
            thread.join(5)


def http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


def test_a_hub_that_listens_everywhere_is_reached_on_loopback() -> None:
    with peer(http(200, b'{"ok": 1}'), "0.0.0.0") as run:
        assert api(run, "GET", "/status") == {"ok": 1}


def test_a_hub_that_is_gone_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HubGone, match="went away"):
        api(Run(1, "http://h/mcp", "127.0.0.1", port, 0, "s", "0", "t"), "GET", "/status")


def test_a_hub_that_does_not_answer_is_told() -> None:
    with peer(None) as run, pytest.raises(HubGone, match=r"did not answer within 0\.1 s"):
        api(run, "GET", "/status", timeout_s=0.1)


def test_an_answer_that_is_no_http_is_told() -> None:
    with peer(b"SSH-2.0\r\n\r\n") as run, pytest.raises(HubGone, match="went away"):
        api(run, "GET", "/status")


@pytest.mark.parametrize("body", [b"<html>", b"\xff"])
def test_an_answer_that_is_no_json_is_told(body: bytes) -> None:
    with peer(http(200, body)) as run, pytest.raises(Failed, match="something else on its port"):
        api(run, "GET", "/status")


def test_a_refusal_without_words_tells_its_status() -> None:
    with peer(http(502, b"[]")) as run, pytest.raises(ApiRefused, match="answered 502") as caught:
        api(run, "GET", "/status")
    assert caught.value.http_status == 502


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "MAX_ANSWER", 10)
    with peer(http(200, b'"' + b"x" * 50 + b'"')) as run, pytest.raises(Failed, match="larger than 10 bytes"):
        api(run, "GET", "/status")


def test_an_answer_without_a_body_is_none() -> None:
    with peer(b"HTTP/1.1 204 X\r\n\r\n") as run:
        assert api(run, "DELETE", "/things/x", if_match='"3"') is None


def test_a_list_is_read_to_its_last_page_and_an_etag_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        for number in range(3):
            asyncio.run(hub.parts.keys.create(f"key-{number}"))
        for limit in (1, 1000):
            names = sorted(row["name"] for row in every(hub.run, "/keys", "keys", limit=limit))
            assert names == ["key-0", "key-1", "key-2"]
        rows, etag = seen(hub.run, "/keys")
        assert len(rows["keys"]) == 3
        assert etag is not None
        assert etag[0] == etag[-1] == '"'


def test_a_long_wait_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = threading.Event()
    monkeypatch.setattr("hub.cli.screen.PATIENCE_S", 0.01)
    monkeypatch.setattr("hub.cli.screen.note", lambda text: said.set())
    with waiting("connecting"):
        assert said.wait(5)
    said.clear()
    monkeypatch.setattr("hub.cli.screen.PATIENCE_S", 5.0)
    with waiting("connecting"):
        pass
    assert not said.is_set()

"""The verbs' way to a running hub: its admin API, by the secret of `run.json`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from hub.cli.failure import Failed
from hub.running import Run

TIMEOUT_S: Final = 60.0
PAGE: Final = 1000  # rows, the most that the hub tells at once
MAX_ANSWER: Final = 64 * 1024 * 1024


class HubGone(Failed):
    """The hub does not answer: it stopped, or is stopping."""


class ApiRefused(Failed):
    """The hub answered with a refusal, in words."""

    def __init__(self, text: str, http_status: int) -> None:
        super().__init__(text)
        self.http_status = http_status


@contextmanager
def exchange(
    run: Run, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> Iterator[http.client.HTTPResponse]:
    """One request and the head of its answer. Raises HubGone."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(run.host, run.host)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(host, run.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {run.secret}", **headers})
        yield connection.getresponse()
    except TimeoutError as exc:
        raise HubGone(f"the hub at {run.url} did not answer within {timeout_s:g} s") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise HubGone(f"the hub at {run.url} went away: {exc or type(exc).__name__}") from exc
    finally:
        connection.close()


def api(
    run: Run, method: str, path: str, body: Any = None, timeout_s: float = TIMEOUT_S, *, if_match: str | None = None
) -> Any:
    """One act of the admin API, under `/api/v1`. `if_match` is an ETag of `seen`. Raises ApiRefused or HubGone."""
    return _act(run, method, path, body, timeout_s, if_match)[0]


def seen(run: Run, path: str, timeout_s: float = TIMEOUT_S) -> tuple[Any, str | None]:
    """What stands there now and its ETag, for the write that shall change just this. Raises ApiRefused or HubGone."""
    return _act(run, "GET", path, None, timeout_s, None)


def every(run: Run, path: str, member: str, limit: int = PAGE) -> list[Any]:
    """All rows of a list that comes in pages of `limit`; `path` may have a query. Raises ApiRefused or HubGone."""
    path = f"{path}{'&' if '?' in path else '?'}limit={limit}"
    page = api(run, "GET", path)
    rows: list[Any] = page[member]
    while page.get("next") is not None:
        page = api(run, "GET", f"{path}&cursor={segment(page['next'])}")
        rows = [*rows, *page[member]]
    return rows


def _act(run: Run, method: str, path: str, body: Any, timeout_s: float, if_match: str | None) -> tuple[Any, str | None]:
    data = None if body is None else json.dumps(body).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    if if_match is not None:
        headers["If-Match"] = if_match
    with exchange(run, method, f"/api/v1{path}", data, headers, timeout_s) as response:
        if response.status == 204:
            return None, response.getheader("ETag")
        answer = decoded(response)
        if response.status >= 400:
            detail = answer.get("detail") if isinstance(answer, dict) else None
            raise ApiRefused(str(detail or f"the hub answered {response.status}"), response.status)
        return answer, response.getheader("ETag")


def decoded(response: http.client.HTTPResponse) -> Any:
    data = response.read(MAX_ANSWER + 1)
    if len(data) > MAX_ANSWER:
        raise Failed(f"the hub's answer is larger than {MAX_ANSWER} bytes")
    try:
        return json.loads(data)
    except ValueError as exc:
        raise Failed(f"the hub answered {response.status} without JSON; is something else on its port?") from exc


def segment(text: str) -> str:
    """The text as one segment of a path."""
    return quote(text, safe="")

"""HTTP and MCP by hand: what any client could send, and exactly what came back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from time import monotonic
from typing import Any, Final

Json = dict[str, Any]

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
BOTH: Final = "application/json, text/event-stream"
META: Final = "io.modelcontextprotocol/"
CALL: Final = "io.mcp-hub/call"
CODE: Final = "io.mcp-hub/code"
TIMEOUT_S: Final = 30.0
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The messages of a stream that has ended."""
        return [json.loads(data) for _, data in split_events(self.body.decode())]

    @property
    def message(self) -> Json:
        """The JSON-RPC answer, however it came."""
        found: Json = self.events[-1] if self.headers.get("content-type", "") == "text/event-stream" else self.json
        return found

    @property
    def result(self) -> Json:
        message = self.message
        assert "result" in message, message
        found: Json = message["result"]
        return found

    @property
    def error(self) -> Json:
        message = self.message
        assert "error" in message, message
        found: Json = message["error"]
        return found

    @property
    def text(self) -> str:
        """The first block of a tool's result."""
        return str(self.result["content"][0]["text"])

    @property
    def call_id(self) -> str:
        return self.headers["hub-call-id"]

    @property
    def meta(self) -> Json:
        """The hub's own words about an error, in either form."""
        message = self.message
        found: Json = message["error"]["data"]["_meta"] if "error" in message else message["result"].get("_meta", {})
        return found

    @property
    def code(self) -> str:
        return str(self.meta[CODE])


def split_events(text: str) -> Iterator[tuple[str, str]]:
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n") if line and not line.startswith(":")]
        data = "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")
        names = [value.strip() for name, _, value in fields if name == "event"]
        if data:
            yield (names[0] if names else "message"), data


class Events:
    """An open event stream, read as it comes."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def next(self, timeout_s: float = 15.0) -> tuple[str, str] | None:
        """(event, data); None at the end of the stream. Comments are passed over."""
        end = monotonic() + timeout_s
        event, data = "message", list[str]()
        while True:
            if self._connection.sock is not None:
                self._connection.sock.settimeout(max(0.05, end - monotonic()))
            line = self._response.readline().decode().rstrip("\r\n")
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif line.startswith("event:"):
                event = line[6:].strip()
            elif not line and data:
                return event, "\n".join(data)
            elif not line and self._response.isclosed():
                return None
            assert monotonic() < end, f"no event within {timeout_s:g} s"

    def message(self, timeout_s: float = 15.0) -> Json:
        found = self.next(timeout_s)
        assert found is not None, "the stream ended"
        message: Json = json.loads(found[1])
        return message

    def until(self, method: str, timeout_s: float = 15.0) -> Json:
        """The next message of that method, whatever comes before it."""
        end = monotonic() + timeout_s
        while (message := self.message(max(0.1, end - monotonic()))).get("method") != method:
            pass
        return message


class Http:
    """One credential at one hub."""

    def __init__(self, port: int, token: str | None) -> None:
        self.port, self.token = port, token

    def headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        return {**own, **(more or {})}

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            self._send(connection, method, path, body, headers)
            response = connection.getresponse()
            data = response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)
        finally:
            connection.close()

    def stream(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Events:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            self._send(connection, method, path, body, headers)
            return Events(connection, connection.getresponse())
        except BaseException:
            connection.close()
            raise

    def _send(
        self, connection: HTTPConnection, method: str, path: str, body: Any, headers: Mapping[str, str] | None
    ) -> None:
        own = {"Accept": BOTH, **self.headers(headers)}
        data = body
        if body is not None:
            own = {"Content-Type": "application/json", **own}
            data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body)
        connection.request(method, path, data, own)

    def modern(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        endpoint: str = "",
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        id: int | str = 1,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        body, own = modern_message(method, params, meta=meta, id=id)
        return self.request("POST", f"{endpoint}/mcp", body, {**own, **(headers or {})}, timeout_s)

    def modern_stream(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        endpoint: str = "",
        meta: Mapping[str, Any] | None = None,
        id: int | str = 1,
    ) -> Events:
        body, own = modern_message(method, params, meta=meta, id=id)
        return self.stream("POST", f"{endpoint}/mcp", body, own)

    def call(self, name: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Answer:
        return self.modern("tools/call", {"name": name, "arguments": dict(arguments or {})}, **more)


def modern_message(
    method: str, params: Mapping[str, Any] | None, *, meta: Mapping[str, Any] | None = None, id: int | str = 1
) -> tuple[Json, dict[str, str]]:
    """Body and headers of one modern request."""
    envelope = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}, **(meta or {})}
    made = {**(params or {}), "_meta": envelope}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    name = made.get(_NAMED.get(method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = name
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": made}, headers


class Session:
    """A legacy Streamable HTTP session."""

    def __init__(self, http: Http, endpoint: str = "", revision: str = LEGACY) -> None:
        self._http, self.path = http, f"{endpoint}/mcp"
        self._id = 0
        self.opening = http.request("POST", self.path, self.message("initialize", initialize_params(revision)))
        self.id = self.opening.headers["mcp-session-id"]
        self.revision = self.opening.result["protocolVersion"]
        self.headers = {"Mcp-Session-Id": self.id, "MCP-Protocol-Version": self.revision}
        self.notify("notifications/initialized")

    def message(self, method: str, params: Mapping[str, Any] | None = None) -> Json:
        self._id += 1
        made: Json = {"jsonrpc": "2.0", "id": self._id, "method": method}
        return made if params is None else {**made, "params": dict(params)}

    def notify(self, method: str, params: Mapping[str, Any] | None = None) -> Answer:
        body: Json = {"jsonrpc": "2.0", "method": method}
        return self.post(body if params is None else {**body, "params": dict(params)})

    def post(self, body: Any) -> Answer:
        return self._http.request("POST", self.path, body, self.headers)

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> Answer:
        return self.post(self.message(method, params))

    def call(self, name: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Answer:
        return self.request("tools/call", {"name": name, "arguments": dict(arguments or {}), **more})

    def listen(self) -> Events:
        return self._http.stream("GET", self.path, None, {**self.headers, "Accept": "text/event-stream"})


class SseSession:
    """A legacy HTTP+SSE conversation."""

    def __init__(self, http: Http, endpoint: str = "") -> None:
        self._http, self._id = http, 0
        self.stream = http.stream("GET", f"{endpoint}/sse", None, {"Accept": "text/event-stream"})
        try:
            assert self.stream.status == 200
            first = self.stream.next()
            assert first is not None
            assert first[0] == "endpoint"
            self.post_path = first[1]
            self.opening = self.request("initialize", initialize_params("2024-11-05"))[1]
            self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        except BaseException:
            self.stream.close()
            raise

    def __enter__(self) -> SseSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.close()

    def post(self, body: Any) -> Answer:
        return self._http.request("POST", self.post_path, body)

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> tuple[Answer, Json]:
        """(the answer to the POST, the message on the stream)."""
        self._id += 1
        body: Json = {"jsonrpc": "2.0", "id": self._id, "method": method}
        posted = self.post(body if params is None else {**body, "params": dict(params)})
        while (message := self.stream.message()).get("id") != self._id:
            pass
        return posted, message


def initialize_params(revision: str = LEGACY) -> Json:
    return {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}


def raw_exchange(port: int, data: bytes, timeout_s: float = 15.0) -> bytes:
    """Bytes in, and all bytes out until the hub closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as sock:
        sock.sendall(data)
        got = bytearray()
        while chunk := sock.recv(65536):
            got += chunk
        return bytes(got)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

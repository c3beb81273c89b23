"""First-party connectors, run in this process: modern era, no bytes, no correlation, the caller's own task.

Everybody else's servers are never run here. A connector is still a downstream: its faults become errors of its own,
its results are copied through JSON, and it learns nothing of the caller that the wire would not tell it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, Final

import anyio
from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.transport_context import TransportContext
from mcp_types import ClientCapabilities, Implementation, InitializeRequestParams
from pydantic import ValidationError

from hub import VERSION
from hub.core.call import Json
from hub.core.errors import Garbled, Late, Lost, Oversize, Refused, Unreachable
from hub.downstream.correlate import read_result
from hub.downstream.envelope import SERVER_INFO_KEY, stamped
from hub.downstream.link import Exchange, LinkEvents, Peer, ServerSpec, as_dict
from hub.downstream.listen import keep_listening
from hub.wire import jsonrpc
from hub.wire.revisions import LATEST_MODERN

log = logging.getLogger(__name__)

Factory = Callable[[], Server[Any]]

CLOSE_S: Final = 4.0
_TRANSPORT: Final = TransportContext(kind="inprocess", can_send_request=False)
_HUB: Final = InitializeRequestParams(  # what every request declares: who asks, and no capability of the hub's own
    protocol_version=LATEST_MODERN,
    capabilities=ClientCapabilities(),
    client_info=Implementation(name="mcp-hub", version=VERSION),
)
_CAPABILITIES: Final = ClientCapabilities.model_validate  # takes whatever `relayable` gives
_INVALID_PARAMS, _INTERNAL = -32602, -32603


class _Standalone:
    """The connector's way to speak outside of a request. It can tell, and cannot ask."""

    def __init__(self, told: Callable[[str, Json], None]) -> None:
        self._told = told

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        self._told(method, dict(params or {}))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)


@dataclass(slots=True, eq=False)
class _Running:
    """One request as the connector sees it (the SDK's `DispatchContext`)."""

    request_id: int
    exchange: Exchange
    told: Callable[[str, Json], None]
    timer: asyncio.Timeout | None = None
    last_progress: float = -inf
    transport: TransportContext = _TRANSPORT
    can_send_request: bool = False
    message_metadata: None = None
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        params: dict[str, Any] = {"progress": progress, "total": total, "message": message}
        self.on_progress({key: value for key, value in params.items() if value is not None})

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        if method != "notifications/message":
            self.told(method, dict(params or {}))
        elif self.exchange.notice is not None:
            self.exchange.notice(method, dict(params or {}))

    def on_progress(self, params: Json) -> None:
        notice = self.exchange.notice
        if notice is None:
            return
        self.expire(_when(self.exchange))
        progress = params.get("progress")
        if isinstance(progress, int | float) and progress > self.last_progress:
            self.last_progress = progress
            notice("notifications/progress", params)

    def expire(self, when: float | None) -> None:
        if self.timer is not None and not self.timer.expired():
            self.timer.reschedule(when)


class InprocessLink:
    """A connector in operation. Its lifespan is entered and left in one task of its own."""

    def __init__(self, spec: ServerSpec, server: Server[Any], events: LinkEvents) -> None:
        self.peer = Peer("modern", LATEST_MODERN, {}, {}, None)
        self._name, self._server, self._events = spec.id, server, events
        self._standalone = _Standalone(self._told)
        self._state: Any = None
        self._running: dict[int, _Running] = {}
        self._last_id = 0
        self._closed: str | None = None
        self._began = self._settled = False
        self._leave = asyncio.Event()
        self._entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None]  # from `start` on
        self._listener: asyncio.Task[None] | None = None

    async def start(self, timeout_s: float) -> None:
        """Enter the connector's lifespan and ask what it is. Raises `DownstreamError`."""
        self._owner = asyncio.create_task(self._live())
        try:
            async with asyncio.timeout(timeout_s):
                await self._entered
        except TimeoutError as exc:
            raise Unreachable(self._name, f"it did not start within {timeout_s:g} s") from exc
        hello = Exchange(timeout_s=timeout_s, hard_deadline=monotonic() + timeout_s, max_bytes=1 << 20)
        answer = await self.request("server/discover", {}, hello)
        meta = as_dict(answer.get("_meta")) or {}
        instructions = answer.get("instructions")
        self.peer = Peer(
            era="modern",
            revision=LATEST_MODERN,
            capabilities=as_dict(answer.get("capabilities")) or {},
            info=as_dict(meta.get(SERVER_INFO_KEY)) or {},
            instructions=instructions if isinstance(instructions, str) else None,
        )
        self._settled = True
        listening = keep_listening(self._name, self.request, self.peer.capabilities, self._events.notified)
        self._listener = asyncio.create_task(listening)

    async def request(self, method: str, params: Json, exchange: Exchange) -> Json:
        if self._closed is not None:
            raise Unreachable(self._name, self._closed)
        self._last_id += 1
        running = _Running(self._last_id, exchange, self._told)
        given = stamped(params, exchange, running.request_id, LATEST_MODERN)
        self._running[running.request_id] = running
        try:
            async with asyncio.timeout_at(_when(exchange)) as running.timer:
                result = await self._handled(running, method, given)
        except TimeoutError:
            if self._closed is not None:
                raise Lost(self._name, self._closed) from None
            raise Late(self._name, f"no answer to {method} in time; it was cancelled") from None
        finally:
            del self._running[running.request_id]
        return self._copied(result, method, exchange)

    async def notify(self, method: str, params: Json) -> None:
        """A connector in this process is told nothing that a call does not tell it."""

    @property
    def alive(self) -> bool:
        return self._closed is None

    async def aclose(self) -> None:
        self._settled = False
        self._die("the hub closed the connection")
        if not self._began:
            self._owner.cancel()  # it hangs on its way in, and hears of no end
        await asyncio.wait((self._owner,), timeout=CLOSE_S)
        self._owner.cancel()

    async def _handled(self, running: _Running, method: str, params: Json) -> dict[str, Any]:
        declared = running.exchange.capabilities
        client = _HUB if not declared else _HUB.model_copy(update={"capabilities": _CAPABILITIES(declared)})
        connection = Connection(self._standalone, protocol_version=LATEST_MODERN, client_params=client)
        connection.initialized.set()
        try:
            return await ServerRunner(self._server, connection, self._state).on_request(running, method, params)
        except MCPError as exc:
            raise Refused(self._name, exc.error.model_dump(by_alias=True, mode="json", exclude_none=True)) from exc
        except ValidationError as exc:
            raise Refused(self._name, {"code": _INVALID_PARAMS, "message": "Invalid request parameters"}) from exc
        except Exception as exc:  # the outermost frame of foreign work: over a wire it would be this error too
            log.exception("connector %s failed on %s", self._name, method)
            raise Refused(self._name, {"code": _INTERNAL, "message": "Internal server error"}) from exc
        finally:
            if getattr(connection.exit_stack, "_exit_callbacks", True):  # rarely any, and the way out costs 15 us
                await aclose_shielded(connection)

    def _copied(self, result: dict[str, Any], method: str, exchange: Exchange) -> Json:
        """The result as it would have come over a wire: JSON, measured, sharing nothing with the connector."""
        try:
            text = jsonrpc.dumps(result)
            if len(text) > exchange.max_bytes:
                raise Oversize(self._name, f"the answer has {len(text)} bytes; the cap is {exchange.max_bytes}")
            exchange.size_bytes = len(text)
            return read_result(self._name, {"result": jsonrpc.loads(text)}, method, modern=True)
        except jsonrpc.Malformed as exc:
            raise Garbled(self._name, "its result is no JSON") from exc

    async def _live(self) -> None:
        """Holds the connector's lifespan from start to close."""
        try:
            async with self._server.lifespan(self._server) as self._state:
                self._began = True
                self._entered.set_result(None)
                await self._leave.wait()
        except Exception as exc:  # the outermost frame of the lifespan's task
            log.exception("connector %s failed outside of a request", self._name)
            if not self._entered.done():
                self._entered.set_exception(Unreachable(self._name, f"it could not start ({type(exc).__name__})"))
            self._die(f"it failed ({type(exc).__name__}); the hub's log has the details")

    def _told(self, method: str, params: Json) -> None:
        """Progress to the request whose token it bears; everything else to the owner of the link."""
        if method != "notifications/progress":
            self._events.notified(method, params)
            return
        token = params.get("progressToken")
        running = self._running.get(token) if isinstance(token, int) else None
        if running is None:
            self._events.noise("foreign")
        else:
            running.on_progress({key: value for key, value in params.items() if key != "progressToken"})

    def _die(self, reason: str) -> None:
        if self._closed is not None:
            return
        self._closed = reason
        self._leave.set()
        if self._listener is not None:
            self._listener.cancel()
        now = asyncio.get_running_loop().time()
        for running in self._running.values():
            running.expire(now)
        if self._settled:
            self._events.closed(reason)


class InprocessOpener:
    """Opens links to the connectors it was given."""

    def __init__(self, factories: Mapping[str, Factory]) -> None:
        self._factories = factories

    async def __call__(self, spec: ServerSpec, events: LinkEvents) -> InprocessLink:
        factory = self._factories.get(spec.connector)
        if factory is None:
            known = ", ".join(sorted(self._factories)) or "none"
            raise Unreachable(spec.id, f"there is no connector {spec.connector!r}; there are: {known}")
        link = InprocessLink(spec, factory(), events)
        try:
            await link.start(spec.timeouts.initialize_s)
        except Refused as exc:
            await link.aclose()
            raise Unreachable(spec.id, f"it refused to say what it is: {exc.text}") from exc
        except BaseException:
            await link.aclose()
            raise
        return link


def _when(exchange: Exchange) -> float | None:
    left_s = min(exchange.timeout_s, exchange.hard_deadline - monotonic())
    return None if left_s == inf else asyncio.get_running_loop().time() + left_s

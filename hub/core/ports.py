"""What the core asks of the parts around it. Each port holds what a caller needs today, and no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from hub.core.call import AnyArguments, Call, Denied, Done, Item, Json, Kind, Obligation, Outcome, Principal, Route

if TYPE_CHECKING:
    from hub.core.pipeline import Record

Next = Callable[[Call], Awaitable[Outcome]]


class Stage(Protocol):
    """Wraps what is below it. It may refuse, shrink a list or narrow a result; it calls `next` at most once."""

    name: str

    async def __call__(self, call: Call, next: Next, /) -> Outcome: ...


@runtime_checkable
class Passing(Protocol):
    """What a stage may have beside its `__call__`, for the calls it would only hand on: they then cost it no coroutine.

    A stage that says it passes is not run, and stands in no record.
    """

    def passes(self, call: Call, /) -> bool:
        """Whether it would give this very call to `next` and its answer back as it is. Synchronous, and pure."""


@runtime_checkable
class Forwarding(Protocol):
    """What a stage may have beside its `__call__` that only acts on the way down: it then costs no coroutine.

    A stage that forwards a call is not run, and stands in no record; one that denies stands in it.
    """

    def forward(self, call: Call, /) -> Call | Denied | None:
        """What it would give to `next`, or answer with; None where it has to be run. Synchronous; asked once a call."""


@runtime_checkable
class Steady(Protocol):
    """What a passing stage may have beside `passes`: it is then asked once for each caller and item."""

    steady: bool
    """True: where a call is about one item, what `passes` says depends on nothing but the caller (the very principal),
    the endpoint, the method and the item, for as long as the stage lives."""


@dataclass(frozen=True, slots=True)
class Allowed:
    obligations: tuple[Obligation, ...] = ()


class Gate(Protocol):
    """A pure, synchronous yes or no over snapshots. If it denies ANY it denies every arguments."""

    name: str

    def decide(self, call: Call, item: Item, arguments: Json | AnyArguments) -> Allowed | Denied: ...


class Auditor(Protocol):
    async def intent(self, record: Record) -> None:
        """Durable when it returns; called before a write leaves the hub."""

    async def finish(self, record: Record, outcome: Outcome) -> None:
        """Durable when it returns (lists: within 1 s); called before the caller is answered.

        Queues the entry before its first await: a cancellation loses the wait, never the entry.
        """


EventKind = Literal["list", "auth", "admin", "system"]


class Journal(Protocol):
    async def event(self, kind: EventKind, who: str, outcome: str, item: str | None = None, detail: Json = {}) -> str:
        """Log what is not a call (admin acts, failed logins, start and stop); durable when it returns.

        Returns the call id under which the entry stands. `detail` holds no secret.
        """


@dataclass(frozen=True, slots=True)
class Rate:
    per_minute: float
    burst: int


@runtime_checkable
class AtOnce(Protocol):
    """What counters may have beside `take` that need not be waited for."""

    def take_now(self, key: tuple[str, ...], rate: Rate) -> float:
        """As `take`."""


class Counters(Protocol):
    async def take(self, key: tuple[str, ...], rate: Rate) -> float:
        """Take one unit, atomically. 0.0: taken; else nothing was taken and this many seconds are to wait."""


PrefixRule = Literal["server", "none"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A virtual server: its own path and selection of servers and tools."""

    name: str  # "" is the default endpoint at /mcp, NAME the one at /NAME/mcp
    servers: frozenset[str] | None = None  # None: all
    prefix: PrefixRule = "server"  # "none" leaves names and URIs alone; exactly one server
    page_size: int = 1000
    tools: tuple[str, ...] | None = None  # globs over public tool names; None: all. Concerns tools only
    read_only: bool = False  # only tools that do not write, as trusted servers say
    instructions: str | None = None  # read by clients in place of the servers' own


class Catalog(Protocol):
    """One snapshot of all items as a `Principal.account` sees them ("": as everybody). Never waits for a downstream."""

    def resolve(self, endpoint: str, kind: Kind, name: str, account: str = "") -> Item | None:
        """The item that this account's clients call `name` here (a name, a uri, or for templates a uriTemplate).

        A uri that no list names but a template matches, or whose server offers resources, is an item of kind resource.
        """

    def items(self, endpoint: str, kind: Kind, account: str = "") -> tuple[Item, ...]:
        """Every item of that kind for this account at this endpoint, in a stable order (by canonical name)."""

    async def settled(self, endpoint: str, timeout_s: float, account: str = "") -> None:
        """Return once every list of this endpoint, the account's own too, is there or has failed, or after the time."""

    def capabilities(self, endpoint: str, account: str = "") -> Json:
        """The union of what this endpoint's servers offer, as MCP server capabilities the hub can keep."""

    def ttl_ms(self, endpoint: str, kind: Kind, account: str = "") -> int:
        """How long this list may still be taken for current: the least of what its servers promised, now.

        0 when one of them promised nothing, has said that its list is new, is away or has no list yet.
        """


@dataclass(frozen=True, slots=True)
class Change:
    """Something about the catalogue is new: a list, or (with an item) the contents of one resource."""

    kind: Kind
    item: Item | None = None


class Changes(Protocol):
    def watch(self, endpoint: str, on_change: Callable[[Change], None], account: str = "") -> Callable[[], None]:
        """Call `on_change` for what this account sees (debounced, never concurrently) until the result is called."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A login at a downstream that its caller may make now, by opening a page of the hub."""

    id: str  # names this login to clients (elicitationId), and opens nothing
    url: str = field(repr=False)  # of the page; good for ten minutes, once, and only for who it was offered to


class Offers(Protocol):
    """Logins at downstreams, as calls need them."""

    def offer(self, who: Principal, server: str) -> Offer | None:
        """The page at which this caller connects his account there. Never waits.

        None: he cannot (no page of the hub is reached by browsers, the account is one for all, or logging in again
        would not help). While an offer is good, the same caller gets the same one.
        """

    async def finished(self, id: str, timeout_s: float) -> bool:
        """Whether that login has come to its good end, at the latest after `timeout_s`. False for one nobody knows."""


class Attributes(Protocol):
    async def of(self, call: Call) -> Json:
        """Facts that rules may use about this call, looked up once."""


class Approvals(Protocol):
    async def judge(self, call: Call) -> Denied | None:
        """None when no approval is needed or one stands for exactly these arguments."""


class Hold(Protocol):
    async def settle(self, outcome: Outcome) -> None:
        """Turn the reservation into what was spent. Called exactly once."""


class Ledger(Protocol):
    async def hold(self, call: Call) -> Hold | Denied:
        """Reserve what this call may cost on every level, or say which level is exhausted."""


class Router(Protocol):
    """The model-routing hook: which variant of the item's server takes this call."""

    async def route(self, call: Call) -> Route | None:
        """None: the item's own server. May use call.who, call.facts and call.arguments; changes none of them."""


class ResultCache(Protocol):
    async def get(self, call: Call) -> Done | None: ...

    async def put(self, call: Call, done: Done) -> None: ...


@dataclass(frozen=True, slots=True)
class Pin:
    """The approved definition of one item."""

    server: str
    kind: Kind
    native: str
    sha256: str
    definition: Json


class PinStore(Protocol):
    """Approved definitions. Every write is atomic and durable when it returns."""

    async def load(self, tenant: str) -> tuple[Pin, ...]: ...

    async def save(self, tenant: str, pins: Sequence[Pin]) -> None:
        """Insert or replace, by (server, kind, native)."""


class ListStore(Protocol):
    """The last list each server gave, so that a server which is away stays listed."""

    async def load(self, tenant: str) -> Mapping[str, Json]:
        """By server id: {"tool": [...], "prompt": [...], "resource": [...], "template": [...], "peer": {...}}."""

    async def save(self, tenant: str, server: str, lists: Json) -> None: ...

    async def remove(self, tenant: str, server: str) -> None:
        """The server was taken out; another one of that id starts with nothing."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key, as stored. Times are RFC 3339 UTC."""

    id: str
    tenant: str
    name: str
    sha256: str  # of the key, hex; the key itself is shown once and kept nowhere
    scopes: tuple[str, ...]
    servers: tuple[str, ...] | None
    tools: tuple[str, ...] | None
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    last_used_at: str | None = None  # to the minute; written lazily
    replaced_by: str | None = None  # id of the key that took over by rotation


class KeyStore(Protocol):
    """Keys. Every write is atomic and durable when it returns."""

    async def add(self, row: KeyRow) -> None:
        """Raises KeyError when a live key of this tenant has the same name."""

    async def all(self, tenant: str) -> tuple[KeyRow, ...]:
        """Every key ever made, oldest first, revoked ones too."""

    async def revoke(self, tenant: str, id: str, at: str) -> None: ...

    async def rotate(self, new: KeyRow, old_id: str, old_expires_at: str) -> None:
        """Add `new`, and have the old key name it as its successor and end then; both or neither.

        The name may be the old key's. Raises KeyError when the old one is gone, revoked, or replaced already by a key
        that is not revoked.
        """

    async def used(self, tenant: str, at: Mapping[str, str]) -> None:
        """Note when keys, by id, were last used."""


RegistryKind = Literal["server", "endpoint", "overlay"]  # overlay: {"enabled": bool} over a server of the file


class Conflict(Exception):
    """Somebody else changed the row since it was read: read it again, and decide anew."""


@dataclass(frozen=True, slots=True)
class RegistryRow:
    """One entry that admins made at run time. Secrets stand in it as `secret:NAME`, never in plain."""

    tenant: str
    kind: RegistryKind
    id: str
    body: Json  # as the configuration file would have it
    version: int  # 1 when new, one more with each change
    created_at: str
    updated_at: str
    updated_by: str  # who, as the log says it


class RegistryStore(Protocol):
    """What admins added at run time. Every write is atomic and durable when it returns."""

    async def all(self, tenant: str) -> tuple[RegistryRow, ...]:
        """By kind and id."""

    async def put(self, row: RegistryRow, expected: int | None) -> None:
        """Insert (`expected` None, `row.version` 1) or replace the row of version `expected`. Raises Conflict."""

    async def remove(self, tenant: str, kind: RegistryKind, id: str, expected: int) -> None:
        """Raises Conflict when the row is gone or of another version."""


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One sealed secret. The associated data of both seals are tenant, name and version."""

    tenant: str
    name: str
    version: int
    nonce: bytes
    sealed: bytes  # AES-256-GCM under a key of its own
    key_nonce: bytes
    sealed_key: bytes  # that key, under the vault's key
    kek: str  # which vault key: the first 12 hex digits of its SHA-256
    created_at: str
    updated_at: str


class SecretStore(Protocol):
    """Sealed secrets. Every write is atomic and durable when it returns."""

    async def all(self, tenant: str) -> tuple[SecretRow, ...]: ...

    async def put(self, rows: Sequence[SecretRow]) -> None:
        """Insert or replace all of them, or none."""

    async def remove(self, tenant: str, name: str) -> bool:
        """False when there was none."""


Surface = Literal["mcp", "admin"]


class Authenticator(Protocol):
    def verify(self, token: str, surface: Surface) -> Principal | None:
        """The principal behind a bearer token that is known already, or None. Never waits; any doubt is None.

        The surface decides only what the local secret of `run.json` stands for: the local client or the local admin.
        Where the principal names `endpoints`, the token is good at those only: the caller of this asks.
        """

    async def admit(self, token: str) -> Principal | None:
        """As `verify`, for a token that it did not know: one whose signature or issuer has to be asked.

        Bounded in time; any doubt is None.
        """

    def stands(self, token: str, who: Principal) -> bool:
        """Whether a stream that `who` opened with this token may go on. Never waits.

        A token that has only grown old leaves a stream open while what it was made from stands: clients renew tokens,
        and tell no stream.
        """


@dataclass(frozen=True, slots=True)
class Fetched:
    status: int
    headers: Mapping[str, str]  # by lower-case name
    body: bytes


class FetchRefused(Exception):
    """The address may not be asked, or did not answer as it should; says which, in words."""


class Fetcher(Protocol):
    """Asks addresses that the hub learned from outside. Owns every rule about where the hub may be sent."""

    async def get(self, url: str, *, accept: str = "application/json", max_bytes: int = 65_536) -> Fetched:
        """One GET without redirects or credentials. Raises FetchRefused."""

    async def post(
        self, url: str, body: bytes, *, content_type: str, headers: Mapping[str, str] = {}, max_bytes: int = 65_536
    ) -> Fetched:
        """One POST, as `get`. `headers` may hold credentials of the hub's own."""

"""What travels: one call, what it is about, and how it can end.

Values only. Nothing here knows a socket, a store or an SDK, and nothing is mutated after it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from hub.core.values import value

if TYPE_CHECKING:
    from hub.core.pipeline import Record

Json = Mapping[str, Any]  # wire JSON, read-only: replaced, never mutated
Era = Literal["modern", "legacy"]  # modern: 2026-07-28, stateless; legacy: 2025-11-25 and older
Kind = Literal["tool", "prompt", "resource", "template"]

EMPTY: Final[Json] = {}
LOCAL: Final = "local"  # the account of whoever owns the machine that the hub runs on


class AnyArguments(Enum):
    ANY = "any"


ANY: Final = AnyArguments.ANY  # "could some call of this item be allowed?"; None is never a question


@dataclass(frozen=True, slots=True)
class Grants:
    """What a credential may reach. Server and tool narrow and intersect; with neither, nothing.

    `tools` are globs over public tool names and concern tools only; prompts and resources are granted by `servers`.
    """

    servers: frozenset[str] | None = None  # None: not named; {"*"}: all
    tools: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified caller. Made only by `hub.identity` from a verified credential."""

    tenant: str
    name: str  # what the log says: "local:client", "local:admin", "key:NAME", "user:NAME"
    credential: str  # one per credential, never the secret: the authorization context of cursors, sessions and caches
    scopes: frozenset[str]  # of "mcp", "admin", "audit:read"
    grants: Grants = Grants()
    within: tuple[Grants, ...] | None = None  # what the user's roles reach: any of these; None: no user, no more bound
    endpoints: frozenset[str] | None = None  # names of those the credential was issued for; None: all
    user: str | None = None  # id of the user behind it; None: a credential of nobody in particular
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    client: str | None = None  # OAuth client that acts for the user
    acting: tuple[str, ...] = ()  # who acts for whom, nearest first (RFC 8693 `act`)
    strength: str = "token"  # how the caller proved to be one: "token", "password", "otp", "sso"
    attributes: Json = field(default_factory=dict, hash=False)  # of the user: tenant attributes

    @property
    def account(self) -> str:
        """Whose accounts at downstreams are used for this caller: the user's, this machine's, or the key's own."""
        return self.user or (LOCAL if self.credential.startswith("local:") else self.credential)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A tool, prompt, resource or template of one downstream, as one catalogue snapshot knew it."""

    kind: Kind
    server: str
    name: str  # canonical public name, the same at every endpoint: policy and log speak of this one
    native: str  # what the downstream calls it: name, uri or uriTemplate
    definition: Json  # as the downstream declared it, untouched
    shown: Json  # the definition under the names this endpoint's clients read
    sha256: str  # of the definition: the key of everything compiled from it
    writes: bool = True  # false only where a trusted server says readOnlyHint
    changed: bool = False  # differs from what was approved, on a server whose pins quarantine


@value()
class One:
    item: Item  # tools/call, prompts/get, resources/read, completion/complete


@dataclass(frozen=True, slots=True)
class Several:
    items: tuple[Item, ...]  # subscriptions: what is refused is taken out, as if it did not exist


@dataclass(frozen=True, slots=True)
class Listing:
    kind: Kind


@dataclass(frozen=True, slots=True)
class HubOwned:
    """Nothing of a downstream is touched."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Before Resolve. A stage that needs an item and meets this refuses."""


Target = One | Several | Listing | HubOwned | Unresolved
UNRESOLVED: Final = Unresolved()


@dataclass(frozen=True, slots=True)
class Obligation:
    kind: str  # "mask", "cap", "approve", "step_up", "route", "log", ...
    value: Json


class Effect(Enum):
    NONE = "none"  # nothing left the hub: safe to repeat
    DONE = "done"
    UNKNOWN = "unknown"  # it left; whether it happened is not known: never repeated by the hub


@dataclass(frozen=True, slots=True)
class Route:
    """Where a router sends this call instead of the item's own server, and why."""

    server: str  # a downstream that is configured as a variant of the item's server
    reason: str


class Back(Protocol):
    """The way back to the client while its call runs."""

    def notify(self, method: str, params: Json) -> None:
        """Pass one notification on (progress, log message). Never waits; drops what the client does not take.

        `notifications/progress` is given without a token: the edge puts the client's own token in.
        """


class Mute:
    """The way back of a client that cannot be told anything."""

    def notify(self, method: str, params: Json) -> None:
        return None


@value()
class Client:
    """The program that calls. Self-declared and display-only, but for era, revision and `back`."""

    era: Era
    revision: str  # the protocol version spoken with it
    capabilities: Json = field(default_factory=dict)
    info: Json = field(default_factory=dict)
    log_level: str | None = None  # None: it asked for no log messages
    wants_progress: bool = False
    transport: Literal["http", "sse", "stdio"] = "http"
    param_headers: tuple[tuple[str, str], ...] | None = None  # modern HTTP: its Mcp-Param-* headers, to be checked
    back: Back = field(default_factory=Mute)

    def heard_by(self, back: Back) -> Client:
        """The same on the way of another call."""
        return Client(
            self.era,
            self.revision,
            self.capabilities,
            self.info,
            self.log_level,
            self.wants_progress,
            self.transport,
            self.param_headers,
            back,
        )


READS: Final = frozenset({"prompts/get", "resources/read", "completion/complete", "tasks/get"})


@value(eq=False)
class Call:
    id: str  # hub-minted; the key of every audit entry of this call
    who: Principal  # travels here, never in a contextvar
    endpoint: str  # NAME of /NAME/mcp; "" for the default endpoint /mcp
    method: str
    params: Json
    client: Client
    deadline: float  # monotonic seconds, the hard end
    size_bytes: int = 0  # of the request as it was received
    trace: Json = field(default_factory=dict)  # traceparent, tracestate, baggage
    target: Target = UNRESOLVED
    facts: Json = field(default_factory=dict)  # looked up once, before the pure gates
    obligations: tuple[Obligation, ...] = ()
    route: Route | None = None
    record: Record | None = field(default=None, repr=False)  # the pipeline's own; stages leave it alone

    def about(self, target: Target, record: Record | None) -> Call:
        """`replace(self, target=target, record=record)` at a third of its price."""
        return Call(
            self.id,
            self.who,
            self.endpoint,
            self.method,
            self.params,
            self.client,
            self.deadline,
            self.size_bytes,
            self.trace,
            target,
            self.facts,
            self.obligations,
            self.route,
            record,
        )

    @property
    def arguments(self) -> Json:
        """Never None; the decoder has refused anything but an object."""
        given = self.params.get("arguments")
        return given if type(given) is dict or isinstance(given, Mapping) else EMPTY

    @property
    def writes(self) -> bool:
        """Whether answering may change something: the method decides first, then the item."""
        target = self.target
        return isinstance(target, One) and target.item.writes and self.method not in READS


@value()
class Done:
    result: Json  # as the downstream sent it; a tool's own isError is still Done
    size_bytes: int = 0  # of the downstream's message
    notes: tuple[str, ...] = ()  # what stages found and let pass ("screen:...", "result:..."), for the log


@dataclass(frozen=True, slots=True)
class Asked:
    requests: Json  # what the downstream wants to know before it goes on
    state: str | None
    notes: tuple[str, ...] = ()  # as those of `Done`


@value()
class Listed:
    items: tuple[Item, ...]  # the whole catalogue; pages are cut on the way out


@dataclass(frozen=True, slots=True)
class Denied:
    code: str  # a row of wire/denials.py, which alone decides the wire form
    reason: str  # for the audit log; never shown to the caller
    told: str | None = None  # what the caller may read beyond the row's own words
    effect: Effect | None = None  # set by dispatch and by the pipeline, by no other stage
    retry_after_s: float | None = None
    relayed: Json | None = None  # {"code","message","data"?}: a downstream's own error about the call itself


Outcome = Done | Asked | Listed | Denied

"""What each key of a configuration file is for: one row a key, from which the reference page is made.

Defaults are taken from a configuration that says nothing, so that no page can name another one. Reads no file and
decides nothing: which keys there are is up to the readers beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hub.config import Config

Default = Callable[[Config], Any]  # of a configuration that has one of everything, and says of each what it needs


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    does: str
    default: Default | str = ""  # a text stands as it is
    takes: str = ""  # where a wrong value is refused for what stands inside of it


@dataclass(frozen=True, slots=True)
class Part:
    """One mapping of the file. `path` leads to it, through `[]` as an item of a list; `ID`, `/mcp` and `support` stand
    for names of the operator's."""

    path: tuple[str, ...]
    keys: tuple[Key, ...]


TOP: Final = Part(
    (),
    (
        Key(
            "listen",
            "where to listen, `HOST:PORT`; port 0 takes a free one",
            lambda c: f"{c.listen.host}:{c.listen.port}",
        ),
        Key("data_dir", "databases, tokens, keys, `run.json`; owned by one hub at a time", "see above"),
        Key("mcpServers", "the servers, by name", "none", "a mapping"),
        Key("endpoints", "virtual servers, by path", "`/mcp` with every server", "a mapping"),
        Key("limits", "how much each caller may ask", "see below", "a mapping"),
        Key("screening", "what is done about texts that look like an attack", "see below", "a mapping"),
        Key(
            "results",
            "an answer that breaks its own output schema: `warn` logs it, `strict` withholds it",
            lambda c: c.results,
        ),
        Key(
            "output_bytes",
            "what one answer may show a model; the rest is cut and the cut is marked",
            lambda c: c.output_bytes,
        ),
        Key(
            "public_url",
            "the address that people and clients type, without a path, such as `https://hub.example.com`",
            "loopback only",
        ),
        Key("auth", "who may log in, and what roles allow", "see below", "a mapping"),
        Key(
            "allowed_hosts",
            'values of `Host` that are served, without port; `"*"` is any',
            "loopback, the listen host and that of `public_url`",
        ),
        Key(
            "allowed_origins",
            'values of `Origin` that are served, such as `https://app.example.com`; `"*"` is any',
            "loopback origins",
        ),
        Key("edge", "limits of the connections to clients", "see below", "a mapping"),
        Key("telemetry", "traces and metrics over OTLP", "off", "a mapping"),
        Key("log", "the hub's own log on standard error", "see below", "a mapping"),
    ),
)
CALLER: Final = Part(
    ("limits", "per_caller"),
    (
        Key("per_minute", "calls a minute that a caller may make for ever", lambda c: c.per_caller.per_minute),
        Key(
            "burst",
            "calls that may come at once; half of `per_minute` where only that is given",
            lambda c: c.per_caller.burst,
        ),
    ),
)
SCREENING: Final = Part(
    ("screening",),
    (
        Key(
            "descriptions",
            "of tools, prompts and resources: `flag` logs it, `block` refuses",
            lambda c: c.screening.descriptions,
        ),
        Key("arguments", "what callers send", lambda c: c.screening.arguments),
        Key("results", "what servers answer", lambda c: c.screening.results),
    ),
)
AUTH: Final = Part(
    ("auth",),
    (
        Key("login", "whether people log in here by browser", lambda c: c.auth.login),
        Key(
            "device",
            "whether programs without a browser may be logged in by a typed code (RFC 8628)",
            lambda c: c.auth.device,
        ),
        Key("registration", "whether programs may register themselves (RFC 7591)", lambda c: c.auth.registration),
        Key("access_s", "seconds that an access token is good for", lambda c: c.auth.access_s),
        Key("refresh_days", "days from a consent to the next", lambda c: c.auth.refresh_days),
        Key("roles", "roles of your own, by name", "`admin`, `auditor`, `member`", "a mapping"),
        Key("sso", "your company's login on the hub's login page", "none", "a mapping"),
        Key("issuers", "whose tokens open the hub beside its own", "none", "a list of mappings"),
        Key(
            "fetch_local",
            "hosts, addresses and networks that the hub may ask for keys and metadata although they are private",
            "none",
        ),
        Key(
            "client_document_url",
            "where the hub's client document is, for issuers that cannot reach this hub (https)",
            "`/oauth/client.json` of `public_url`",
        ),
    ),
)
ROLE: Final = Part(
    ("auth", "roles", "support"),
    (
        Key("scopes", "of `mcp`, `admin` and `audit:read`, what it allows", "`[mcp]`"),
        Key("servers", 'server ids that it reaches; `["*"]` is every server', "none"),
        Key("tools", "patterns over public tool names; with `servers` both must hold", "all tools of `servers`"),
    ),
)
_FROM_METADATA: Final = "as its metadata says"
SSO: Final = Part(
    ("auth", "sso"),
    (
        Key("issuer", "the provider, as its metadata names it; needed"),
        Key("client_id", "as which the hub is registered there; needed", takes="a text"),
        Key("client_secret", "`secret:NAME`, `env:NAME` or `file:PATH`; needed", takes="a text"),
        Key("name", "what the button on the login page says", lambda c: c.auth.sso and c.auth.sso.title),
        Key("scopes", "what is asked for there", "`[openid, profile, email]`"),
        Key("algorithms", "how its ID tokens may be signed", "RS, PS and ES"),
        Key("claims", "where its claims say what", "see below", "a mapping"),
        Key("roles", "roles of the hub, by value of the claim `claims.roles`", "none", "names and texts"),
        Key("default_roles", "of everybody who logs in there", "`[member]`; none where `roles` is given"),
        Key("create", "whether somebody new becomes a user", lambda c: c.auth.sso and c.auth.sso.create),
        Key(
            "password_login",
            "whether users with a password may log in beside it",
            lambda c: c.auth.sso and c.auth.sso.password_login,
        ),
    ),
)
SSO_CLAIMS: Final = Part(
    ("auth", "sso", "claims"),
    (
        Key("name", "from which a new user is named", lambda c: c.auth.sso and c.auth.sso.name_claim),
        Key("display", "the name that people read", lambda c: c.auth.sso and c.auth.sso.display_claim),
        Key("email", "shown to administrators", lambda c: c.auth.sso and c.auth.sso.email_claim),
        Key("roles", "the values that `roles` maps", "none"),
        Key("groups", "groups of the user", "none"),
        Key("attributes", "claims by attribute of the user", "none", "names and texts"),
    ),
)
ISSUER: Final = Part(
    ("auth", "issuers", "[]"),
    (
        Key("issuer", "whose tokens: `iss`, byte for byte; needed"),
        Key("name", "stands in the names of its people, `user:NAME:PERSON`", "from its host"),
        Key("audiences", "values of `aud` that mean the whole hub, beside the addresses of its endpoints", "none"),
        Key("algorithms", "how its tokens may be signed", "`[RS256, PS256, ES256, EdDSA]`"),
        Key("jwks_uri", "where its keys are", _FROM_METADATA),
        Key("claims", "where its claims say what", "see below", "a mapping"),
        Key("roles", "roles of the hub, by value of the claim `claims.roles`", "none", "names and texts"),
        Key("default_roles", "of everybody with its tokens", "none"),
        Key("scopes", "scopes of the hub, by scope of theirs", "the hub's own names", "names and texts"),
        Key("scope_prefix", "what stands before the hub's scopes in theirs", "none"),
        Key("default_scopes", "of tokens that say nothing of scopes", "none"),
        Key("introspection", "ask it about its tokens (RFC 7662) instead of verifying them", "none", "a mapping"),
    ),
)
ISSUER_CLAIMS: Final = Part(
    ("auth", "issuers", "[]", "claims"),
    (
        Key("name", "by which a person is called in the log", lambda c: c.auth.issuers[0].name_claim),
        Key("roles", "the values that `roles` maps", "none"),
        Key("groups", "groups of the caller", "none"),
        Key("attributes", "claims by attribute of the caller", "none", "names and texts"),
    ),
)
INTROSPECTION: Final = Part(
    ("auth", "issuers", "[]", "introspection"),
    (
        Key("url", "where to ask", _FROM_METADATA),
        Key("client_id", "as which the hub asks; needed", takes="a text"),
        Key("client_secret", "`secret:NAME`, `env:NAME` or `file:PATH`; needed", takes="a text"),
        Key("opaque", "whether tokens that name no issuer are its own", "`true`"),
    ),
)
LOG: Final = Part(("log",), (Key("level", "how much it tells", lambda c: c.log_level),))
EDGE: Final = Part(
    ("edge",),
    (
        Key("body_bytes", "largest body of a request", lambda c: c.edge.body_bytes),
        Key("header_bytes", "size of a request's headers", lambda c: c.edge.header_bytes),
        Key("header_s", "seconds that the headers may take", lambda c: c.edge.header_s),
        Key("body_s", "seconds that the body may take", lambda c: c.edge.body_s),
        Key("session_idle_s", "seconds after which an idle legacy session ends", lambda c: c.edge.session_idle_s),
        Key("sessions", "legacy sessions at once", lambda c: c.edge.sessions),
        Key("call_s", "hard end of a call in seconds, whatever progress is reported", lambda c: c.edge.call_s),
        Key("drain_s", "seconds that calls may go on after SIGTERM", lambda c: c.edge.drain_s),
        Key("back_queue", "notifications that wait for one slow client; more are dropped", lambda c: c.edge.back_queue),
        Key("keepalive_s", "seconds between comment lines on open streams", lambda c: c.edge.keepalive_s),
        Key("connections", "open connections", lambda c: c.edge.connections),
        Key(
            "trusted_proxies",
            "addresses and networks of proxies, whose `X-Forwarded-For` says where a request comes from",
            "none",
        ),
    ),
)
SERVER: Final = Part(
    ("mcpServers", "ID"),
    (
        Key("command", "a program that speaks MCP on stdin and stdout, found in `PATH` or by its path"),
        Key("args", "its arguments; no shell reads them", "none"),
        Key(
            "env",
            "its environment, beside `PATH`, `HOME` and the locale; nothing else is inherited",
            "none",
            "names and texts",
        ),
        Key("cwd", "where it is started", "the folder of the file"),
        Key("url", "in place of `command`: the address of a server"),
        Key("headers", "what is sent with each request to the `url`", "none", "names and texts"),
        Key(
            "auth",
            "how people [log in](connections.md) to the `url`; `false`: nobody does, and only `headers` are sent",
            "found out; `false` with `headers.Authorization`",
            "`false` or a mapping",
        ),
        Key("connector", "in place of `command`: one that comes with the hub and runs in its process, `sandbox`"),
        Key(
            "type",
            "`http` tries Streamable HTTP first and HTTP+SSE after it; `sse` only that",
            "found out",
            "one of stdio, http, streamable-http, sse",
        ),
        Key("transport", "another spelling of `type`", "found out", "one of stdio, http, streamable-http, sse"),
        Key("enabled", "whether it is started", lambda c: c.servers[0].enabled),
        Key("disabled", "the opposite, as other programs write it", lambda c: not c.servers[0].enabled),
        Key(
            "era",
            "`modern` (2026-07-28) and `legacy` spare a server the question which it is",
            lambda c: c.servers[0].era,
        ),
        Key(
            "pins",
            "a tool whose definition changed: `quarantine` hides it until `mcp-hub servers approve`, `warn` logs it",
            lambda c: c.servers[0].pins,
        ),
        Key(
            "trusted",
            "believe its `readOnlyHint`: such calls need no entry before they are made",
            lambda c: c.servers[0].trusted,
        ),
        Key(
            "variant_of", "takes calls of this other server when a router says so, and lists nothing of its own", "none"
        ),
        Key("timeouts", "how long it may take", "see below", "a mapping"),
        Key("max_result_bytes", "a larger answer is refused while it arrives", lambda c: c.servers[0].max_result_bytes),
        Key("limit", "of each caller for each tool of this server", "none", "a mapping"),
    ),
)
_FROM_SERVER: Final = "as the server says"
SERVER_AUTH: Final = Part(
    ("mcpServers", "ID", "auth"),
    (
        Key(
            "account",
            "`user`: everybody logs in to an account of his own; `shared`: an admin logs in once for all",
            lambda c: c.servers[0].auth and c.servers[0].auth.account,
        ),
        Key(
            "grant",
            "`client_credentials`: nobody logs in, the hub gets tokens as its own `client`, for all",
            lambda c: c.servers[0].auth and c.servers[0].auth.grant,
        ),
        Key("client", "an app that was registered for the hub by hand", "the hub registers itself", "a mapping"),
        Key("issuer", "who gives the tokens, byte for byte as it names itself", _FROM_SERVER),
        Key("resource", "what the tokens are for (RFC 8707)", _FROM_SERVER),
        Key("scopes", "what is asked for", _FROM_SERVER),
        Key(
            "authorization_endpoint",
            "of an `issuer` that publishes no metadata: where people log in",
            "as the issuer says",
        ),
        Key("token_endpoint", "of the same: where the hub gets tokens", "as the issuer says"),
        Key("revocation_endpoint", "of the same: where it gives them back (RFC 7009)", "as the issuer says"),
    ),
)
SERVER_CLIENT: Final = Part(
    ("mcpServers", "ID", "auth", "client"),
    (
        Key("id", "what the issuer calls the app; needed"),
        Key("secret", "`secret:NAME`, `env:NAME` or `file:PATH`", "none", "a text"),
        Key("method", "how the hub proves to be it", "`client_secret_basic` with a secret, else `none`"),
    ),
)
TIMEOUTS: Final = Part(
    ("mcpServers", "ID", "timeouts"),
    (
        Key("connect", "to open a connection to a `url`", lambda c: c.servers[0].timeouts.connect_s),
        Key("initialize", "to say what it is and can", lambda c: c.servers[0].timeouts.initialize_s),
        Key("list", "for one page of a list", lambda c: c.servers[0].timeouts.list_s),
        Key(
            "call",
            "silence during a call; a progress notification starts it anew",
            lambda c: c.servers[0].timeouts.call_s,
        ),
        Key("hard", "a call as a whole", lambda c: c.servers[0].timeouts.hard_s),
    ),
)
LIMIT: Final = Part(
    ("mcpServers", "ID", "limit"),
    (
        Key("per_minute", "calls a minute; `limit` needs it"),
        Key("burst", "calls that may come at once", "half of `per_minute`"),
    ),
)
ENDPOINT: Final = Part(
    ("endpoints", "/mcp"),
    (
        Key("servers", 'server ids; `"*"` is every server', '`"*"`'),
        Key(
            "tools",
            "patterns over public tool names, such as `time__get_*`; prompts and resources come with their server",
            '`"*"`',
        ),
        Key(
            "read_only",
            "only tools that servers with `trusted: true` call read-only",
            lambda c: c.endpoints[""].read_only,
        ),
        Key(
            "prefix",
            "`none` leaves names and URIs as the server has them; for exactly one server",
            lambda c: c.endpoints[""].prefix,
        ),
        Key("page_size", "items on one page of a list", lambda c: c.endpoints[""].page_size),
        Key(
            "instructions", "what clients are told at their start, in place of what the servers say", "the servers' own"
        ),
    ),
)
TELEMETRY: Final = Part(
    ("telemetry",),
    (
        Key("endpoint", "the collector, such as `http://127.0.0.1:4318`; `telemetry` needs it"),
        Key("headers", "what is sent with each report", "none", "names and texts"),
        Key("traces", "whether calls are traced", lambda c: c.telemetry and c.telemetry.traces),
        Key("metrics", "whether metrics are sent", lambda c: c.telemetry and c.telemetry.metrics),
        Key(
            "sample",
            "the part of calls that is traced, where the caller does not decide it",
            lambda c: c.telemetry and c.telemetry.sample,
        ),
        Key("service_name", "as what the hub reports", lambda c: c.telemetry and c.telemetry.service_name),
        Key("interval_s", "seconds between two reports of metrics", lambda c: c.telemetry and c.telemetry.interval_s),
    ),
)

PARTS: Final = {
    "top": TOP,
    "limits.per_caller": CALLER,
    "screening": SCREENING,
    "telemetry": TELEMETRY,
    "auth": AUTH,
    "role": ROLE,
    "sso": SSO,
    "sso.claims": SSO_CLAIMS,
    "issuer": ISSUER,
    "issuer.claims": ISSUER_CLAIMS,
    "introspection": INTROSPECTION,
    "log": LOG,
    "edge": EDGE,
    "server": SERVER,
    "server.auth": SERVER_AUTH,
    "server.client": SERVER_CLIENT,
    "timeouts": TIMEOUTS,
    "limit": LIMIT,
    "endpoint": ENDPOINT,
}

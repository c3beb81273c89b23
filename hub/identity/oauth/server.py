"""The hub's own authorization server: OAuth 2.1 for MCP clients, as requests and answers without sockets or pages.

A browser brings a wish, a page asks the user, `granted` sends a code; `token` turns codes and refresh tokens into
access tokens for exactly one of the hub's addresses. Nothing here logs a token, a code or a secret.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from time import time
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from hub.core.accounts import CodeRow, GrantRow, UserRow
from hub.core.call import Json, Principal
from hub.core.errors import HubError
from hub.identity.oauth import core
from hub.identity.oauth import scopes as scoping
from hub.identity.oauth.asked import Login, Reply, SentBack, Unfit, Wish
from hub.identity.oauth.asking import (
    Credentials,
    Parameters,
    Refusal,
    credentials,
    is_same,
    parameters,
    redirect_uri,
    wish_of,
)
from hub.identity.oauth.clients import NO_STORE, Clients, UnknownClient
from hub.identity.oauth.core import Held
from hub.identity.oauth.families import Families, Presented, digest
from hub.identity.oauth.metadata import AUTH_METHODS, GRANT_TYPES
from hub.identity.oauth.ports import TENANT, Parts, Settings
from hub.identity.oauth.redirects import answered
from hub.identity.oauth.tokens import AccessTokens, OwnTokens, endpoints_of
from hub.identity.roles import principal_of, reach
from hub.identity.verified import Verifier

log = logging.getLogger(__name__)

T = TypeVar("T")
Pairs = Sequence[tuple[str, str]]

THREADS: Final = 4  # that judge at once; each request takes less than a millisecond of one
TURNS: Final = 3  # attempts to renew against somebody who is faster


class AuthorizationServer:
    """One event loop uses it, after `load`."""

    def __init__(self, parts: Parts, settings: Settings = Settings(), clock: Callable[[], float] = time) -> None:
        """`clock` gives seconds since 1970."""
        self._parts, self._settings, self._clock = parts, settings, clock
        self._resources, self._users = parts.resources, parts.users
        self._families = Families(parts.store, parts.sealer, parts.signing.mark, settings, clock)
        self._clients = Clients(parts.store, self._families, parts.fetcher, settings, clock)
        self._tokens = AccessTokens(parts.signing, parts.resources, clock)
        self._threads = anyio.CapacityLimiter(THREADS)
        self._on_reuse: list[Callable[[GrantRow], None]] = []
        self.verifier: Verifier = OwnTokens(self._tokens, self._families, parts.users, parts.roles, parts.resources)

    async def load(self) -> None:
        """Read the signing keys and take what the store holds. Raises SigningFailed."""
        await anyio.to_thread.run_sync(self._parts.signing.load)
        await self._families.load()
        await self._clients.load()

    def watch(self, fn: Callable[[str], None]) -> None:
        """`fn` is told the id of every grant that is ended before its time; it must not wait."""
        self._families.watch(fn)

    def watch_reuse(self, fn: Callable[[GrantRow], None]) -> None:
        """`fn` is told of a grant whose tokens are in two hands: a refresh token or a code came once too often."""
        self._on_reuse.append(fn)

    async def tend(self) -> None:
        """What is due from time to time, about once an hour. Raises HubError or TimeoutError; it can be tried again."""
        if await anyio.to_thread.run_sync(self._parts.signing.turn):
            log.info("the key that access tokens are signed with was turned")
        await self._families.sweep()
        await self._clients.sweep()

    def metadata(self) -> Json:
        """RFC 8414 §2, and of OpenID Connect Discovery what clients insist on that know nothing else."""
        at = self._resources.issuer + "/oauth"
        confidential = [method for method in AUTH_METHODS if method != "none"]
        about = {
            "issuer": self._resources.issuer,
            "authorization_endpoint": f"{at}/authorize",
            "token_endpoint": f"{at}/token",
            "revocation_endpoint": f"{at}/revoke",
            "introspection_endpoint": f"{at}/introspect",
            "jwks_uri": f"{at}/jwks",
            # Clients that are told of nothing else ask for all that stands here; so the rest is asked for by name.
            "scopes_supported": ["mcp"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": list(GRANT_TYPES),
            "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "introspection_endpoint_auth_methods_supported": confidential,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": True,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        return about | ({"registration_endpoint": f"{at}/register"} if self._settings.registration else {})

    def jwks(self) -> Json:
        return self._parts.signing.jwks()

    async def wish(self, query: Pairs) -> Wish:
        """An authorization request that is in order. Raises Unfit and SentBack."""
        try:
            asked = parameters(query)
        except Refusal as exc:
            raise Unfit(f"The program's request cannot be read: {exc.words}.") from exc
        id = asked.get("client_id")
        if id is None or "client_id" in asked.repeated:
            raise Unfit("The program did not say, or said twice, which one it is. Start the login in the program anew.")
        try:
            client = await self._clients.to_ask_about(id)
        except UnknownClient as exc:
            raise Unfit(f"It is not known which program asks: {exc}.") from exc
        uri = redirect_uri(asked, client)
        try:
            wish = wish_of(asked, client, uri, self._resources)
            await self._in_thread(lambda: core.authorizable(asked.values, client))
        except Refusal as exc:
            state = None if "state" in asked.repeated else asked.get("state")
            raise SentBack(self._answer(uri, state, ("error", exc.error), ("error_description", exc.words))) from exc
        return wish

    async def granted(self, wish: Wish, login: Login, scopes: Sequence[str]) -> str:
        """Where to send the browser now that this user allowed these scopes of the wish: a code, or why there is none.

        Call it once for one yes: each call opens a grant of its own.
        """
        user, reached = self._live(login.user.id), endpoints_of(self._resources, wish.resource)
        if user is None:
            return self.refused(wish, words="the user may not log in any more")
        if reached is None:
            return self.refused(wish, "invalid_target", "there is no such endpoint any more")
        if not scopes or not all(map(scoping.is_scope, scopes)) or not scoping.is_within(scopes, wish.scopes):
            return self.refused(wish, "invalid_scope", "what was allowed is not within what was asked for")
        allowed = self._allowed(user, scopes)
        if not allowed:
            return self.refused(wish, words="no role of the user allows any of this")
        code, now = secrets.token_urlsafe(32), self._clock()
        ends = now + self._settings.code_s
        grant = GrantRow(
            tenant=TENANT,
            id=f"g{secrets.token_hex(8)}",
            user=user.id,
            client=wish.client.id,
            client_name=wish.client.name,
            resource=wish.resource,
            scopes=allowed,
            strength=login.strength,
            auth_time=login.at,
            created_at=now,
            expires_at=ends,  # until the code is redeemed
        )
        row = CodeRow(TENANT, digest(code), wish.client.id, wish.redirect_uri, wish.challenge, grant.id, ends)
        await self._families.open(grant, row)
        return self._answer(wish.redirect_uri, wish.state, ("code", code))

    def refused(self, wish: Wish, error: str = "access_denied", words: str = "") -> str:
        """Where to send the browser with a no."""
        answer = [("error", error), *([("error_description", words)] if words else [])]
        return self._answer(wish.redirect_uri, wish.state, *answer)

    async def token(self, form: Pairs, authorization: str | None) -> Reply:
        """RFC 6749 §4.1.3 and §6."""
        return await self._replied(form, authorization, self._token)

    async def revoke(self, form: Pairs, authorization: str | None) -> Reply:
        """RFC 7009: either token of a grant ends the grant."""
        return await self._replied(form, authorization, self._revoke)

    async def introspect(self, form: Pairs, authorization: str | None) -> Reply:
        """RFC 7662, for clients with a secret."""
        return await self._replied(form, authorization, self._introspect)

    async def register(self, body: bytes, address: str) -> Reply:
        """RFC 7591. `address` is whose the connection is."""
        try:
            return await self._clients.register(body, address)
        except (HubError, TimeoutError) as exc:
            return _unavailable(exc)

    def grants_of(self, user_id: str) -> tuple[GrantRow, ...]:
        """Those that stand, oldest first."""
        return self._families.of_user(user_id)

    def stands(self, who: Principal) -> bool:
        """Whether the grant behind one of its callers is in force, and reaches what it did, however old the token."""
        kind, _, rest = who.credential.partition(":")
        grant = self._families.get(rest.partition(":")[0]) if kind == "oauth" else None
        user = None if grant is None else self._live(grant.user)
        return user is not None and user.id == who.user and reach(user, self._parts.roles) == who.within

    async def end(self, ids: Sequence[str], reason: str) -> None:
        """End grants: their tokens are refused from now on. Raises HubError or TimeoutError when that is in memory only
        as yet; `tend` writes it down then."""
        await self._families.end(ids, reason)

    async def end_user(self, user_id: str, reason: str) -> None:
        """End every grant of a user, those too whose code is on its way. As `end`."""
        await self._families.end(self._families.ids_of(user_id), reason)

    async def _replied(
        self,
        form: Pairs,
        authorization: str | None,
        answer: Callable[[Parameters, Credentials, Held], Awaitable[Reply]],
    ) -> Reply:
        """What programs' endpoints have in common: read, find the client, answer."""
        try:
            asked = parameters(form)
            asked.once()
            who = credentials(asked, authorization)
            client = None if who.client is None else await self._clients.at_token(who.client)
            return await answer(asked, who, Held(client))
        except Refusal as exc:
            headers = {**NO_STORE, "WWW-Authenticate": "Basic"} if exc.status == 401 else NO_STORE
            return Reply(exc.status, {"error": exc.error, "error_description": exc.words}, headers)
        except (HubError, TimeoutError) as exc:
            return _unavailable(exc)

    async def _token(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        kind = asked.get("grant_type")
        if kind not in GRANT_TYPES:
            error = "invalid_request" if kind is None else "unsupported_grant_type"
            raise Refusal(error, f"grant_type: there are {' and '.join(GRANT_TYPES)}")
        refused = await self._in_thread(lambda: core.authenticated(asked.values, who.basic, held))
        if refused is not None:
            return refused
        held.mint = lambda grant, scopes: self._tokens.make(grant, scopes, self._settings.access_s)
        return await (self._redeemed if kind == "authorization_code" else self._renewed)(asked, who, held)

    async def _redeemed(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        text, client = asked.get("code"), held.client
        code = None if text is None else await self._families.redeem(text)
        if code is not None and code.used_at is not None:
            await self._reused(code.grant, "replay", "an authorization code was used twice")
            code = None
        grant = None if code is None else self._families.get(code.grant)
        if code is not None and grant is not None and client is not None and self._clock() < code.expires_at:
            self._same_resource(asked, grant)
            held.refresh = self._families.fresh(grant) if "refresh_token" in client.grant_types else None
            held.code, held.user = code, self._live(grant.user)
            held.grant = self._families.started(grant, held.refresh)
        reply = await self._in_thread(lambda: core.token(asked.values, who.basic, held))
        if reply.status == 200 and (held.grant is None or not await self._families.start(held.grant)):
            raise Refusal("invalid_grant", "what the user had allowed was ended meanwhile")
        return reply

    async def _renewed(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        token = asked.get("refresh_token")
        found = None if token is None else await self._families.look(token)
        if token is None or found is None:
            return await self._in_thread(lambda: core.token(asked.values, who.basic, held))
        async with self._families.lock(found.grant.id):
            for _ in range(TURNS):
                found = await self._families.look(token)
                reply = await self._turn(asked, who, held, found)
                if reply.status != 200 or found is None or found.state != "current" or held.refresh is None:
                    return reply
                if await self._families.rotate(found.grant, token, held.refresh):
                    return reply
        raise Refusal("temporarily_unavailable", "the token is being renewed elsewhere; try again", 503)

    async def _turn(self, asked: Parameters, who: Credentials, held: Held, found: Presented | None) -> Reply:
        """What the rules say to one attempt; nothing is written but the end of a family that was stolen from."""
        held.grant = None if found is None else found.grant
        held.user = None if found is None else self._live(found.grant.user)
        if found is not None and held.client is not None and found.grant.client == held.client.id:
            if found.state == "reused":
                await self._reused(found.grant.id, "reuse", "a refresh token came again that was replaced long ago")
                held.grant = None
            else:
                self._same_resource(asked, found.grant)
                held.refresh = self._families.fresh(found.grant) if found.state == "current" else found.successor
                if held.refresh is None:
                    raise Refusal("invalid_grant", "the token was replaced, and its successor cannot be read any more")
        return await self._in_thread(lambda: core.token(asked.values, who.basic, held))

    async def _revoke(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        held.grant, _ = await self._found(asked.get("token") or "")
        reply = await self._in_thread(lambda: core.revoked(asked.values, who.basic, held))
        if held.revoke and held.grant is not None:
            await self._families.end([held.grant.id], "client")
        return reply

    async def _introspect(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        held.grant, held.about = await self._found(asked.get("token") or "")
        return await self._in_thread(lambda: core.introspected(asked.values, who.basic, held))

    async def _found(self, token: str) -> tuple[GrantRow | None, Json | None]:
        """The grant behind either kind of token, and what introspection tells of one that is good."""
        claims = self._tokens.read(token)
        if claims is None:
            held = await self._families.look(token)
            grant = None if held is None else held.grant
            if held is None or grant is None or held.state == "reused" or (user := self._live(grant.user)) is None:
                return grant, None
            return grant, _about(grant, user) | {"scope": " ".join(grant.scopes), "exp": int(grant.expires_at)}
        grant = self._families.get(claims["fam"])
        if grant is None or (user := self._live(grant.user)) is None or await self.verifier.verify(token) is None:
            return grant, None
        said = {name: claims[name] for name in ("iss", "aud", "scope", "exp", "iat", "jti", "auth_time", "acr")}
        return grant, _about(grant, user) | {"token_type": "Bearer"} | said

    async def _reused(self, id: str, reason: str, words: str) -> None:
        grant = self._families.get(id)
        if grant is None:
            return
        log.warning("%s: everything that grant %s of user %s allowed is ended", words, grant.id, grant.user)
        for fn in self._on_reuse:
            fn(grant)
        try:
            await self._families.end([id], reason)
        except (HubError, TimeoutError) as exc:
            log.warning("the end of grant %s is not written down yet, and is tried again: %s", id, exc)

    def _same_resource(self, asked: Parameters, grant: GrantRow) -> None:
        named = asked.resource()
        if named is not None and not is_same(self._resources, named, grant.resource):
            raise Refusal("invalid_target", "resource: the user allowed another one")

    def _allowed(self, user: UserRow, scopes: Sequence[str]) -> tuple[str, ...]:
        """Of these, what a role of the user allows."""
        had = principal_of(
            user,
            self._parts.roles,
            scopes=frozenset(scopes),
            client=None,
            credential="",
            strength="token",
            endpoints=frozenset(),
        ).scopes
        return tuple(dict.fromkeys(scope for scope in scopes if (scope if scope in scoping.ADMIN else "mcp") in had))

    def _live(self, id: str) -> UserRow | None:
        user = self._users.by_id(id)
        return None if user is None or user.disabled_at is not None else user

    def _answer(self, uri: str, state: str | None, *answer: tuple[str, str]) -> str:
        """RFC 9207: the issuer stands in every answer, errors too, so that a client knows whose it is."""
        echo = [] if state is None else [("state", state)]
        return answered(uri, [*answer, *echo, ("iss", self._resources.issuer)])

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._threads)


def _about(grant: GrantRow, user: UserRow) -> dict[str, object]:
    return {"client_id": grant.client, "sub": grant.user, "username": user.name}


def _unavailable(exc: Exception) -> Reply:
    log.warning("the authorization server cannot read or write what it keeps: %s", exc)
    return Reply(
        503,
        {"error": "temporarily_unavailable", "error_description": "the hub cannot answer now; try again soon"},
        {**NO_STORE, "Retry-After": "5"},
    )

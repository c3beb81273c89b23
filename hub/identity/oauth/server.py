"""The hub's own authorization server: OAuth 2.1 for MCP clients, as requests and answers without sockets or pages.

A browser brings a wish, a page asks the user, `granted` sends a code; `token` turns codes and refresh tokens into
access tokens for exactly one of the hub's addresses. Nothing here logs a token, a code or a secret.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import time
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from hub.core.accounts import CodeRow, GrantRow, UserRow
from hub.core.call import Json, Principal
from hub.core.errors import HubError
from hub.identity.oauth import core, discovery
from hub.identity.oauth.asked import Login, Reply, SentBack, Unfit, Wish
from hub.identity.oauth.asking import (
    Credentials,
    Parameters,
    Refusal,
    credentials,
    device_wish_of,
    is_same,
    parameters,
    redirect_uri,
    wish_of,
)
from hub.identity.oauth.clients import NO_STORE, Clients, UnknownClient, refused
from hub.identity.oauth.core import Held
from hub.identity.oauth.device import Asked, Devices, NotFound, begun
from hub.identity.oauth.families import Families, Presented, digest
from hub.identity.oauth.granting import Granting
from hub.identity.oauth.metadata import DEVICE, GRANT_TYPES
from hub.identity.oauth.ports import TENANT, Parts, Settings
from hub.identity.oauth.redirects import answered
from hub.identity.oauth.tokens import AccessTokens, OwnTokens
from hub.identity.roles import reach
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
        self._resources = parts.resources
        self._families = Families(parts.store, parts.sealer, parts.signing.mark, settings, clock)
        self._clients = Clients(parts.store, self._families, parts.fetcher, settings, clock)
        self._granting, self._devices = Granting(parts), Devices(clock)
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
        """RFC 8414 §2."""
        return discovery.metadata(self._resources.issuer, self._settings)

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
        now = self._clock()
        code, ends = secrets.token_urlsafe(32), now + self._settings.code_s
        try:
            grant = self._granting.grant(wish, login, scopes, now, ends)
        except Refusal as exc:
            return self.refused(wish, exc.error, exc.words)
        row = CodeRow(TENANT, digest(code), wish.client.id, wish.redirect_uri, wish.challenge, grant.id, ends)
        await self._families.open(grant, row)
        return self._answer(wish.redirect_uri, wish.state, ("code", code))

    def refused(self, wish: Wish, error: str = "access_denied", words: str = "") -> str:
        """Where to send the browser with a no."""
        answer = [("error", error), *([("error_description", words)] if words else [])]
        return self._answer(wish.redirect_uri, wish.state, *answer)

    async def token(self, form: Pairs, authorization: str | None) -> Reply:
        """RFC 6749 §4.1.3 and §6, RFC 8628 §3.4."""
        return await self._replied(form, authorization, self._token)

    async def device_authorization(self, form: Pairs, authorization: str | None, address: str) -> Reply:
        """RFC 8628 §3.1. `address` is whose the connection is."""
        if self._settings.device:
            return await self._replied(form, authorization, partial(self._device_begun, address))
        return refused(403, "access_denied", "programs without a browser are not let in here: ask the administrator")

    def device_typed(self, code: str, address: str) -> Asked | NotFound:
        """The program without a browser that waits under the code that a person typed."""
        return self._devices.typed(code, address)

    async def device_granted(self, asked: Asked, login: Login) -> str | None:
        """This user lets the program in. None: done; else why not, in words."""
        if not self._devices.is_open(asked):
            return "the program's request was answered already, or has expired"
        self._devices.decide(asked, "deciding")  # whoever else answers meanwhile is too late
        try:
            ends = self._devices.fetched_by(asked)
            grant = self._granting.grant(asked.wish, login, asked.wish.scopes, self._clock(), ends)
            await self._families.open(grant, None)
        except Refusal as exc:
            self._devices.decide(asked, "denied")
            return exc.words
        except BaseException:
            self._devices.decide(asked, "waiting")
            raise
        self._devices.decide(asked, "allowed", grant.id)
        return None

    def device_refused(self, asked: Asked) -> bool:
        """False: it was answered already, or has expired."""
        if not self._devices.is_open(asked):
            return False
        self._devices.decide(asked, "denied")
        return True

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
        user = None if grant is None else self._granting.live(grant.user)
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
            raise Refusal(error, f"grant_type: there are {', '.join(GRANT_TYPES)}")
        failed = await self._in_thread(lambda: core.authenticated(asked.values, who.basic, held))
        if failed is not None:
            return failed
        held.mint = lambda grant, scopes: self._tokens.make(grant, scopes, self._settings.access_s)
        answer = {"authorization_code": self._redeemed, DEVICE: self._device_told}.get(kind, self._renewed)
        return await answer(asked, who, held)

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
            held.code, held.user = code, self._granting.live(grant.user)
            held.grant = self._families.started(grant, held.refresh)
        return await self._started(asked, who, held)

    async def _device_begun(self, address: str, asked: Parameters, who: Credentials, held: Held) -> Reply:
        if (wait_s := self._devices.hold_up(address)) > 0:
            return refused(429, "temporarily_unavailable", "too many programs began there; try again later", wait_s)
        if held.client is not None and held.client.origin == "cimd":
            try:  # as a person is to be asked about it
                held.client = await self._clients.to_ask_about(held.client.id)
            except UnknownClient as exc:
                raise Refusal("invalid_client", str(exc), 401) from exc
        failed = await self._in_thread(lambda: core.authenticated(asked.values, who.basic, held))
        if failed is not None or held.client is None:
            return failed or refused(401, "invalid_client", "the client is not registered here")
        if DEVICE not in held.client.grant_types:
            raise Refusal("unauthorized_client", f"the client has not named {DEVICE} among its grant_types")
        request, code = self._devices.begin(device_wish_of(asked, held.client, self._resources), address)
        return Reply(200, begun(self._resources.issuer, request, code), NO_STORE)

    async def _device_told(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        text, client = asked.get("device_code"), held.client
        request = None if text is None or client is None else self._devices.of(text, client.id)
        if request is not None and client is not None:
            held.client = request.wish.client if client.origin == "cimd" else client
            held.told = self._devices.poll(request)
            if held.told == "reused" and request.grant is not None:
                await self._reused(request.grant, "replay", "a device code was used twice")
            grant = None if request.grant is None else self._families.get(request.grant)
            if held.told == "allowed" and grant is not None:
                self._same_resource(asked, grant)
                held.refresh = self._families.fresh(grant) if "refresh_token" in held.client.grant_types else None
                held.user, held.grant = self._granting.live(grant.user), self._families.started(grant, held.refresh)
        try:
            return await self._started(asked, who, held)
        except (HubError, TimeoutError):  # the program asks again, and is no thief then
            if request is not None and held.told == "allowed":
                self._devices.decide(request, "allowed", request.grant)
            raise

    async def _started(self, asked: Parameters, who: Credentials, held: Held) -> Reply:
        """The first tokens of a grant."""
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
        held.user = None if found is None else self._granting.live(found.grant.user)
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
            if (
                held is None
                or grant is None
                or held.state == "reused"
                or (user := self._granting.live(grant.user)) is None
            ):
                return grant, None
            return grant, _about(grant, user) | {"scope": " ".join(grant.scopes), "exp": int(grant.expires_at)}
        grant = self._families.get(claims["fam"])
        if (
            grant is None
            or (user := self._granting.live(grant.user)) is None
            or await self.verifier.verify(token) is None
        ):
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
    return refused(503, "temporarily_unavailable", "the hub cannot answer now; try again soon", 5)

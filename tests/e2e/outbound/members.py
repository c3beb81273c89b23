"""A server of the SDK for members only, with an authorization server of its own: every answer says whose it is.

    python members.py URL [--strict] [--life SECONDS]

URL is where clients reach it; it prints the port that it listens on. A person types a name and is let in. Each member
has lists of their own. A refresh token is rotated at each use; the one before gets the same successor for half a
minute more, with --strict it ends the grant. `POST /told`, `/expire` and `/revoke` are for whoever tests. Imports
nothing of this project.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import secrets
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import mcp_types as types
import uvicorn
from mcp.server import Server
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    ProviderTokenVerifier,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

GRACE_S: Final = 30.0
CODE_S: Final = 60.0
PAGE: Final = """<!doctype html><title>Members</title><main><h1>Members only</h1>
<form method="post" action="/door"><input type="hidden" name="ask" value="{ask}">
<input id="name" name="name"><button type="submit">Come in</button></form></main>"""


@dataclass
class Grant:
    member: str
    client: str
    scopes: list[str]
    resource: str | None
    access: str
    refresh: str
    life_s: float
    expires_at: float
    before: tuple[str, float] | None = None  # the refresh token before, and when it was replaced


@dataclass
class Book:
    """The provider of the SDK's own authorization server, in memory."""

    life_s: float
    is_strict: bool
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict)
    asking: dict[str, tuple[str, AuthorizationParams]] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    logins: Counter[str] = field(default_factory=Counter)
    refreshes: Counter[str] = field(default_factory=Counter)  # good ones
    refused: Counter[str] = field(default_factory=Counter)  # requests with an access token that is in force no more
    again: Counter[str] = field(default_factory=Counter)  # uses of a refresh token that was replaced
    calls: Counter[str] = field(default_factory=Counter)
    past: dict[str, str] = field(default_factory=dict)  # every access token ever given, and whose it was

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        ask = secrets.token_urlsafe(16)
        assert client.client_id is not None
        self.asking[ask] = (client.client_id, params)
        return f"/door?ask={ask}"

    def let_in(self, ask: str, member: str) -> str:
        client, params = self.asking.pop(ask)
        code = AuthorizationCode(
            code=f"code-{secrets.token_urlsafe(24)}",
            scopes=params.scopes or [],
            expires_at=time.time() + CODE_S,
            client_id=client,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject=member,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        code = self.codes.pop(authorization_code.code)
        assert code.subject is not None
        self.logins[code.subject] += 1
        grant = Grant(code.subject, code.client_id, code.scopes, code.resource, "", "", self.life_s, 0.0)
        self.grants.append(grant)
        return self._given(self._renewed(grant))

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        for grant in list(self.grants):
            is_before = grant.before is not None and grant.before[0] == refresh_token
            if is_before:
                self.again[grant.member] += 1
                assert grant.before is not None
                if self.is_strict or time.monotonic() - grant.before[1] > GRACE_S:
                    self.grants.remove(grant)  # RFC 9700 section 4.14.2
                    return None
            if is_before or grant.refresh == refresh_token:
                return RefreshToken(token=refresh_token, client_id=grant.client, scopes=grant.scopes)
        return None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        for grant in self.grants:
            if grant.refresh == refresh_token.token:
                self.refreshes[grant.member] += 1
                grant.before = (grant.refresh, time.monotonic())
                return self._given(self._renewed(grant))
        return self._given(next(g for g in self.grants if g.before is not None and g.before[0] == refresh_token.token))

    async def load_access_token(self, token: str) -> AccessToken | None:
        grant = next((grant for grant in self.grants if grant.access == token), None)
        if grant is None or grant.expires_at <= time.time():
            self.refused[self.past.get(token, "")] += 1
            return None
        return AccessToken(
            token=token,
            client_id=grant.client,
            scopes=grant.scopes,
            expires_at=int(grant.expires_at) + 1,
            resource=grant.resource,
            subject=grant.member,
        )

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        for grant in list(self.grants):
            if token.token in (grant.access, grant.refresh):
                self.grants.remove(grant)

    async def exchange_identity_assertion(self, client: Any, params: Any) -> OAuthToken:
        raise TokenError("unsupported_grant_type", "nobody asserts who somebody is here")

    def _renewed(self, grant: Grant) -> Grant:
        grant.access = f"access-{grant.member}-{secrets.token_urlsafe(24)}"
        grant.refresh = f"refresh-{grant.member}-{secrets.token_urlsafe(24)}"
        grant.expires_at = time.time() + grant.life_s
        self.past[grant.access] = grant.member
        return grant

    def _given(self, grant: Grant) -> OAuthToken:
        return OAuthToken(
            access_token=grant.access,
            refresh_token=grant.refresh,
            expires_in=int(grant.life_s),
            scope=" ".join(grant.scopes),
        )


def member() -> str:
    token = get_access_token()
    assert token is not None
    assert token.subject is not None
    return token.subject


def mcp_server(book: Book) -> Server[Any]:
    async def tools(ctx: Any, params: Any) -> types.ListToolsResult:
        names = ("whoami", f"only_{member()}")
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in names])

    async def call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        book.calls[member()] += 1
        return types.CallToolResult(content=[types.TextContent(text=f"{params.name}: {member()}")])

    async def resources(ctx: Any, params: Any) -> types.ListResourcesResult:
        made = [types.Resource(uri=uri, name=uri) for uri in ("members://card", f"members://of/{member()}")]
        return types.ListResourcesResult(resources=made)

    async def read(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        text = f"card of {member()}"
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text=text)])

    async def prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
        with_one = [types.PromptArgument(name="topic")]
        names = ("greet", f"greet_{member()}")
        return types.ListPromptsResult(prompts=[types.Prompt(name=name, arguments=with_one) for name in names])

    async def prompt(ctx: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        text = types.TextContent(text=f"greetings, {member()}")
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text)])

    async def completion(ctx: Any, params: Any) -> types.CompleteResult:
        return types.CompleteResult(completion=types.Completion(values=[f"topic of {member()}"], total=1))

    return Server(
        "members",
        version="1",
        on_list_tools=tools,
        on_call_tool=call,
        on_list_resources=resources,
        on_read_resource=read,
        on_list_prompts=prompts,
        on_get_prompt=prompt,
        on_completion=completion,
    )


def routes(book: Book) -> list[Route]:
    async def door(request: Request) -> Response:
        if request.method == "GET":
            return HTMLResponse(PAGE.format(ask=html.escape(request.query_params["ask"])))
        form = await request.form()
        return RedirectResponse(book.let_in(str(form["ask"]), str(form["name"])), 303)

    async def told(request: Request) -> Response:
        names = ("logins", "refreshes", "refused", "again", "calls")
        return JSONResponse({name: dict(getattr(book, name)) for name in names})

    async def expire(request: Request) -> Response:
        for grant in book.grants:
            if grant.member == request.query_params["member"]:
                grant.expires_at = 0.0
        return JSONResponse({})

    async def revoke(request: Request) -> Response:
        book.grants = [grant for grant in book.grants if grant.member != request.query_params["member"]]
        return JSONResponse({})

    return [
        Route("/door", door, methods=["GET", "POST"]),
        Route("/test/told", told, methods=["POST"]),
        Route("/test/expire", expire, methods=["POST"]),
        Route("/test/revoke", revoke, methods=["POST"]),
    ]


async def main(url: str, book: Book) -> None:
    scopes = ["member"]
    registration = ClientRegistrationOptions(enabled=True, valid_scopes=scopes, default_scopes=scopes)
    auth = AuthSettings.model_validate(  # from texts: an issuer is compared as it is written, without a slash added
        {
            "issuer_url": url,
            "resource_server_url": f"{url}/mcp",
            "validate_token_resource": True,
            "required_scopes": scopes,
            "client_registration_options": registration,
            "revocation_options": RevocationOptions(enabled=True),
        }
    )
    app = mcp_server(book).streamable_http_app(
        auth=auth,
        token_verifier=ProviderTokenVerifier(book),
        auth_server_provider=book,
        custom_starlette_routes=routes(book),
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        print(sock.getsockname()[1], flush=True)
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
        await uvicorn.Server(config)._serve([sock])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--life", type=float, default=3600.0)
    given = parser.parse_args()
    asyncio.run(main(given.url, Book(given.life, given.strict)))

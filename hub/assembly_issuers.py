"""Who vouches for callers beside the hub itself: verifiers of other issuers' tokens, and the company's login."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from hub.core.ports import Fetcher
from hub.identity.bearers import Claims
from hub.identity.introspection import Introspection, asked_about
from hub.identity.issuers import Claimants, Issuer
from hub.identity.jwks import Jwks, Metadata
from hub.identity.oauth.arrivals import Arrivals
from hub.identity.oauth.provider import Provider
from hub.identity.oauth.resources import Resources
from hub.identity.oauth.sso import SingleSignOn
from hub.identity.outside import Outside, signed_by
from hub.identity.roles import Roles
from hub.identity.users import Users
from hub.identity.verified import Verifier

CALLBACK: Final = "/oauth/sso/callback"

Where = Callable[[], Awaitable[str]]


def outside(
    issuers: Sequence[Issuer], fetcher: Fetcher, resources: Resources, roles: Roles, users: Users, stack: AsyncExitStack
) -> list[tuple[Claims, Verifier]]:
    """Signed tokens before those that are asked about: the latter may be of any form."""
    signed: list[tuple[Claims, Verifier]] = []
    asked: list[tuple[Claims, Verifier]] = []
    for issuer in issuers:
        metadata = Metadata(issuer, fetcher)
        claimants = Claimants(issuer, resources, roles, users.by_subject)
        if issuer.introspecting is not None:
            where = _at(issuer.introspecting.url, metadata, "introspection_endpoint")
            asked.append((asked_about(issuer), Introspection(issuer, fetcher, where, claimants)))
            continue
        keys = Jwks(issuer, fetcher, _at(issuer.jwks_uri, metadata, "jwks_uri"))
        stack.push_async_callback(keys.aclose)
        signed.append((signed_by(issuer.issuer), Outside(issuer, keys, claimants)))
    return [*signed, *asked]


def sign_on(
    provider: Provider | None, fetcher: Fetcher, resources: Resources, users: Users, stack: AsyncExitStack
) -> SingleSignOn | None:
    if provider is None:
        return None
    made = SingleSignOn(provider, resources.issuer + CALLBACK, fetcher, Arrivals(provider, users))
    stack.push_async_callback(made.aclose)
    return made


def _at(url: str | None, metadata: Metadata, name: str) -> Where:
    """The configured address, else the one that the metadata names."""

    async def where() -> str:
        return url if url is not None else await metadata.address(name)

    return where

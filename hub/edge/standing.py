"""Whether the credential behind a long-lived stream is still good: asked again for every message and every silence."""

from __future__ import annotations

from collections.abc import Callable

from hub.core.ports import Authenticator
from hub.edge.request import Request


def standing(authenticator: Authenticator, request: Request) -> Callable[[], bool]:
    """A question that is answered no as soon as the request's own token is revoked, has expired or is another's."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    credential = request.who.credential

    def stands() -> bool:
        who = authenticator.verify(token, "mcp") if scheme.lower() == "bearer" else None
        return who is not None and who.credential == credential

    return stands

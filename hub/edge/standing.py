"""Whether the credential behind a long-lived stream is still good: asked again for every message and every silence."""

from __future__ import annotations

from collections.abc import Callable

from hub.core.ports import Authenticator
from hub.edge.admission import bearer
from hub.edge.request import Request


def standing(authenticator: Authenticator, request: Request) -> Callable[[], bool]:
    """A question that is answered no as soon as the request's own token is revoked, has expired or is another's."""
    token, caller = bearer(request.headers), request.who

    def stands() -> bool:
        return authenticator.stands(token, caller)

    return stands

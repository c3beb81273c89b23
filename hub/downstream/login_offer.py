"""What a call that needs a login at its downstream is answered: the page where its caller logs in. Pure.

The page's address is for the caller alone: it stands in what he reads, never in a reason, which is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Final

from hub.core.call import Asked, Call, Denied, Done, Effect, Json
from hub.core.ports import Offer
from hub.wire.asking import MAY_ASK, RESPONSES, URL_ELICITATION_REQUIRED, opens_pages

QUESTION: Final = "login"  # the key of the hub's own question
NOTE: Final = "login:offered"  # in the log, where a question has no reason
PATIENCE_S: Final = 20.0  # for a login to end after the client said that its user opened the page
_MARGIN_S: Final = 1.0  # before the end of the call: it is rather asked again than late
_NO: Final = frozenset({"decline", "cancel"})


def can_be_asked(call: Call) -> bool:
    """Whether this client can be asked to open a page, and to go on with this very call afterwards."""
    return call.client.era == "modern" and call.method in MAY_ASK and opens_pages(call.client)


def asked(server: str, offer: Offer, state: str) -> Asked:
    """The question (2026-07-28, which has no elicitationId: the state names the login)."""
    params = {"mode": "url", "message": _words(server), "url": offer.url}
    return Asked({QUESTION: {"method": "elicitation/create", "params": params}}, state, (NOTE,))


def denied(server: str, offer: Offer, reason: str) -> Denied:
    """For who cannot be asked. `relayed` is the error of 2025-11-25; the wire form is the table's to choose."""
    page = {"mode": "url", "message": _words(server), "url": offer.url, "elicitationId": offer.id}
    return _denied(server, f"{reason}; a login was offered", "nothing was done", [page])


def declined(server: str) -> Denied:
    """The caller's user does not want to log in."""
    return _denied(server, f"{server}: the login was declined", "its login was declined and nothing was done", [])


def is_declined(params: Json) -> bool:
    """Whether a retry says that its user does not open the page."""
    answers = params.get(RESPONSES)
    answer = answers.get(QUESTION) if isinstance(answers, Mapping) else None
    action = answer.get("action") if isinstance(answer, Mapping) else None
    return isinstance(action, str) and action in _NO


def patience_s(call: Call) -> float:
    """How long a retry may wait for its login."""
    return max(0.0, min(PATIENCE_S, call.deadline - monotonic() - _MARGIN_S))


def connected(server: str) -> Done:
    """The answer of the hub's own login tool after its login."""
    return _said(f"Connected to {server}. Its tools are listed now.")


def connected_already(server: str) -> Done:
    return _said(f"{server} is connected already. List the tools again to see its own.")


def _denied(server: str, reason: str, done: str, pages: list[Json]) -> Denied:
    relayed = {"code": URL_ELICITATION_REQUIRED, "message": _words(server), "data": {"elicitations": pages}}
    return Denied("needs_login", reason, f"It is server '{server}'; {done}.", Effect.NONE, relayed=relayed)


def _words(server: str) -> str:
    return f"Log in to {server}, to call it with your own account there."


def _said(text: str) -> Done:
    return Done({"content": [{"type": "text", "text": text}]})

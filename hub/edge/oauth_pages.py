"""Pages as answers: the templates, the stylesheet, and the headers that every page has. Decides nothing."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from hub.edge.browser import Visit

_HERE: Final = Path(__file__).parent / "pages"
_STYLE: Final = (_HERE / "style.css").read_bytes()
_VERSION: Final = sha256(_STYLE).hexdigest()[:12]

# Chromium holds a form's whole chain of redirects to form-action, and a client's callback may send the browser on to
# wherever it likes. No form is answered by a redirect to a client, therefore: the answer is a page that goes there
# (pages/back.html), and 'self' is enough. No Cross-Origin-Opener-Policy: web clients that open the login in a window of
# its own need to hear from it.
_ADDRESS: Final = re.compile(r"[!-~]{1,8192}")
_POLICY: Final = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.globals["version"] = _VERSION


def page(
    template: str, visit: Visit | None, status: int = 200, headers: dict[str, str] | None = None, /, **shown: Any
) -> Response:
    """One page for this browser. A page with a form needs the visit, for its token."""
    csrf = None if visit is None else visit.csrf
    body = _TEMPLATES.get_template(f"{template}.html").render(csrf=csrf, **shown)
    response = Response(body, status, {**_HEADERS, **(headers or {})}, "text/html")
    return _known(response, visit)


def error(status: int, title: str, words: str, next: str, visit: Visit | None = None) -> Response:
    """What happened, and what to do now."""
    return page("error", visit, status, title=title, words=words, next=next)


def to(location: str, visit: Visit | None = None) -> Response:
    """303: the browser asks the next address by GET, and sends no form again (RFC 9700 section 4.12)."""
    if _ADDRESS.fullmatch(location) is None:
        raise ValueError("the address to go to is none that a header may hold")
    # to the byte: clients compare what comes back, and a redirect helper would write some characters anew
    return _known(Response(b"", 303, {**_HEADERS, "location": location}), visit)


async def style(request: Request) -> Response:
    """By version for a year, since another style has another version."""
    named = request.query_params.get("v") == _VERSION
    age = "public, max-age=31536000, immutable" if named else "no-cache"
    return Response(_STYLE, 200, {"cache-control": age, "x-content-type-options": "nosniff"}, "text/css")


def _known(response: Response, visit: Visit | None) -> Response:
    if visit is not None and visit.cookie is not None:
        response.headers["set-cookie"] = visit.cookie
    return response

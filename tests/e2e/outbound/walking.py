"""A browser without a screen: keeps cookies, goes where it is sent, and fills in the forms that people would.

It knows no page by heart. On each it does what a person does who came to connect an account: types the name and the
password that they have there, and presses the button that goes on. Hosts that differ in the port alone share cookies,
as they do in real browsers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import httpx2

MOST: Final = 20  # pages of one walk
TIMEOUT_S: Final = 15.0
NO: Final = frozenset({"deny", "cancel", "no", "log out", "not now", "back", "use another account"})
MANAGING: Final = frozenset({"/oauth/account", "/oauth/connections"})  # nothing there goes on
_TYPED: Final = frozenset({"name", "password"})

Known = Mapping[str, tuple[str, str]]
"""By origin: who one is there, and the password."""


class Stuck(AssertionError):
    """The walk ends nowhere: nothing on a page goes on, or the pages go round and round."""


@dataclass(slots=True)
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)  # the hidden ones
    typed: list[str] = field(default_factory=list)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)  # words, name, value


class Page(HTMLParser):
    """What a person sees of a page, and what can be done there."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.url, self.status, self.source = str(response.request.url), response.status_code, response.text
        self.forms: list[Form] = []
        self.onward: str | None = str(response.headers["location"]) if "location" in response.headers else None
        self._words: list[str] = []
        self._button: tuple[str, str] | None = None
        self._in_main = "<main" not in self.source
        self._in_form = False
        if "html" in response.headers.get("content-type", ""):
            self.feed(self.source)

    @property
    def origin(self) -> str:
        return origin_of(self.url)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "main":
            self._in_main = True
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.onward = given["content"].partition("url=")[2]
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
            self._in_form = True
        elif tag == "input" and self._in_form:
            if given.get("type") == "hidden":
                self.forms[-1].fields[given["name"]] = given.get("value", "")
            elif given.get("name"):
                self.forms[-1].typed.append(given["name"])
        elif tag == "button" and self._in_form:
            self._button = (given.get("name", ""), given.get("value", ""))
            self.forms[-1].buttons.append(("", *self._button))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        elif tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        if self._in_main:
            self._words.append(data)
        if self._button is not None:
            words, name, value = self.forms[-1].buttons[-1]
            self.forms[-1].buttons[-1] = (f"{words} {data}".strip(), name, value)


class Walker:
    """One person at one browser."""

    def __init__(self, known: Known | None = None) -> None:
        self.known = dict(known or {})
        self.visited: list[str] = []  # every address it was sent to
        self._http = httpx2.Client(timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def cookies(self) -> list[str]:
        return [cookie.value or "" for cookie in self._http.cookies.jar]

    def go(self, url: str) -> Page:
        """To the page that an address ends at, with all that is asked on the way answered."""
        return self._walked(self.get(url))

    def get(self, url: str) -> Page:
        """One request and no more."""
        self.visited.append(url)
        return Page(self._http.get(url))

    def go_on(self, page: Page, form: Form) -> Page:
        """By a button of one's own choice."""
        return self._walked(self.submit(page, form))

    def _walked(self, page: Page) -> Page:
        for _ in range(MOST):
            if page.onward:
                page = self.get(urljoin(page.url, page.onward))
                continue
            step = self.step(page)
            if step is None:
                return page
            page = self.submit(page, *step)
        raise Stuck(f"the pages go round and round, at last {page.path}: {page.text[:300]}")

    def step(self, page: Page) -> tuple[Form, dict[str, str]] | None:
        """The form that goes on from here and what is filled in; None: this page is the end."""
        if page.status >= 400 or page.path in MANAGING:
            return None
        for form in page.forms:
            if form.method != "post" or not set(form.typed) <= _TYPED or form.action.endswith("/logout"):
                continue
            going = [button for button in form.buttons if not _is_no(button)]
            if not going:
                continue
            if form.typed and page.origin not in self.known:
                raise Stuck(f"{page.origin} asks for a login, and nobody is known there")
            _, name, value = going[0]
            return form, {**self._typed(page, form), **({name: value} if name else {})}
        return None

    def submit(self, page: Page, form: Form, more: Mapping[str, str] = {}) -> Page:
        sent = {"origin": "null", "sec-fetch-site": "same-origin"}
        address = urljoin(page.url, form.action)
        self.visited.append(address)
        return Page(self._http.post(address, data={**form.fields, **more}, headers=sent))

    def _typed(self, page: Page, form: Form) -> dict[str, str]:
        if not form.typed:
            return {}
        name, password = self.known[page.origin]
        return {field: {"name": name, "password": password}[field] for field in form.typed}


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_no(button: tuple[str, str, str]) -> bool:
    words, _, value = button
    return words.lower() in NO or value.lower() in NO or words.lower().startswith("log out")

"""Which answers to a login give a code: those of the issuer that was asked, to the login that was begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.identity.outbound.answer import MAX_CODE, code_in
from hub.identity.outbound.asking import Begun, begin
from hub.identity.outbound.errors import Refused, Unfit
from hub.identity.outbound.parties import Client, Place
from tests.identity.outbound.downstream import CALLBACK, CODE, Downstream, server

ISSUER = "https://as.example"


def begun(*, is_naming: bool = True) -> Begun:
    client = Client(ISSUER, "hub", "dynamic")
    return begin(server(is_naming=is_naming), client, Place("https://s.example", (ISSUER,)), (), CALLBACK)


async def refused(there: Downstream) -> None:
    """The answer is; and the code of it goes nowhere."""
    login = await there.begin("Bearer")
    with pytest.raises(Unfit, match="iss"):
        await there.logins.finish(login, there.answer(login.begun))
    assert "/token" not in there.paths()


# -- the scenarios of the official suite


async def test_iss_supported_and_right_is_taken() -> None:
    async with Downstream() as there:
        await there.log_in("Bearer")
        assert there.forms[0]["code"] == CODE


async def test_iss_not_advertised_and_not_there_is_taken() -> None:
    said = {"authorization_response_iss_parameter_supported": None}
    async with Downstream(metadata=said, iss=lambda issuer: None) as there:
        await there.log_in("Bearer")
        assert there.forms[0]["code"] == CODE


async def test_iss_supported_missing_is_refused() -> None:
    async with Downstream(iss=lambda issuer: None) as there:
        await refused(there)


async def test_iss_wrong_issuer_is_refused() -> None:
    async with Downstream(iss=lambda issuer: "https://evil.example.com") as there:
        await refused(there)


async def test_iss_unexpected_is_compared_although_nobody_promised_it() -> None:
    said = {"authorization_response_iss_parameter_supported": None}
    async with Downstream(metadata=said, iss=lambda issuer: "https://evil.example.com") as there:
        await refused(there)


async def test_iss_normalized_is_another_issuer() -> None:
    async with Downstream(iss=lambda issuer: f"{issuer}/") as there:
        await refused(there)


# -- more of the same fear


@pytest.mark.parametrize(
    "iss", ["HTTPS://as.example", "https://AS.example", "https://as.example:443", "", ISSUER + "%"]
)
@pytest.mark.parametrize("is_naming", [True, False])
def test_no_spelling_of_the_issuer_but_its_own_is_taken(iss: str, is_naming: bool) -> None:
    asked = begun(is_naming=is_naming)
    with pytest.raises(Unfit, match="iss"):
        code_in(asked, [("code", CODE), ("state", asked.state), ("iss", iss)])


def test_an_error_of_another_issuer_is_not_this_ones() -> None:
    asked = begun()
    with pytest.raises(Unfit, match="iss"):
        code_in(asked, [("error", "access_denied"), ("state", asked.state), ("iss", "https://evil.example")])
    with pytest.raises(Unfit, match="iss"):
        code_in(asked, [("error", "access_denied"), ("state", asked.state)])


@pytest.mark.parametrize("state", ["", "x", None])
def test_the_answer_to_another_login_is_refused(state: str | None) -> None:
    asked = begun()
    query = [("code", CODE), ("iss", ISSUER), *([] if state is None else [("state", state)])]
    with pytest.raises(Unfit, match="state"):
        code_in(asked, query)
    with pytest.raises(Unfit, match="state"):
        code_in(replace(asked, state=asked.state + "x"), [*query[:2], ("state", asked.state)])


@pytest.mark.parametrize("name", ["code", "state", "iss", "error"])
def test_a_parameter_that_stands_twice_is_somebody_elses(name: str) -> None:
    asked = begun()
    good = [("code", CODE), ("state", asked.state), ("iss", ISSUER)]
    value = dict(good).get(name, "access_denied")
    with pytest.raises(Unfit, match="twice"):
        code_in(asked, [*good, (name, value), (name, value)])


@pytest.mark.parametrize(("error", "word"), [("access_denied", "access_denied"), ("<b>\n", "?"), ("x" * 65, "?")])
def test_an_error_is_told_by_its_code_and_by_nothing_else_that_stands_there(error: str, word: str) -> None:
    asked = begun()
    query = [("error", error), ("error_description", "call 555"), ("state", asked.state), ("iss", ISSUER)]
    with pytest.raises(Refused) as caught:
        code_in(asked, query)
    assert caught.value.error == word
    assert "555" not in str(caught.value)


@pytest.mark.parametrize("code", [None, "", "x" * (MAX_CODE + 1), "a\nb", "ä"])
def test_an_answer_without_a_code_that_could_be_one_is_refused(code: str | None) -> None:
    asked = begun()
    query = [("state", asked.state), ("iss", ISSUER), *([] if code is None else [("code", code)])]
    with pytest.raises(Unfit, match="no code"):
        code_in(asked, query)


def test_what_else_stands_in_an_answer_is_left_alone() -> None:
    asked = begun()
    query = [("scope", "a"), ("scope", "b"), ("code", CODE), ("state", asked.state), ("iss", ISSUER)]
    assert code_in(asked, query) == CODE

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from hub.core.accounts import UserRow
from hub.identity.oauth.asked import Login, Unfit
from tests.identity.oauth.world import CALLBACK, ISSUER, LOOPBACK, MCP, START, World, answer, good, sent_back


async def test_a_good_request_becomes_a_wish(world: World) -> None:
    client = await world.client()
    wish = await world.wish(client, scope="mcp:server:wiki mcp:tool:wiki__*", prompt="login consent", max_age="60")
    assert (wish.client.id, wish.client.name, wish.redirect_uri) == (client, "Tester", CALLBACK)
    assert (wish.resource, wish.scopes) == (MCP, ("mcp:server:wiki", "mcp:tool:wiki__*"))
    assert (wish.prompt, wish.max_age_s, wish.state) == (frozenset({"login", "consent"}), 60, "s t&=/é")


async def test_the_answer_holds_code_state_and_issuer(world: World) -> None:
    wish = await world.wish(await world.client())
    location = await world.server.granted(wish, Login(world.ann, START, "otp"), wish.scopes)
    told = answer(location)
    assert location.startswith(CALLBACK + "?")
    assert told.keys() == {"code", "state", "iss"}
    assert (told["state"], told["iss"]) == ("s t&=/é", ISSUER)
    assert len(told["code"]) >= 43


async def test_an_answer_keeps_the_query_of_the_redirect_uri(world: World) -> None:
    uri = CALLBACK + "?tenant=7"
    wish = await world.wish(await world.client(uri), redirect_uri=uri)
    assert world.server.refused(wish).startswith(uri + "&error=access_denied&")


async def test_a_no_is_told_with_state_and_issuer(world: World) -> None:
    wish = await world.wish(await world.client())
    assert answer(world.server.refused(wish)) == {"error": "access_denied", "state": "s t&=/é", "iss": ISSUER}


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "mhc_unknown"},
        {"client_id": "http://client.example.com/doc"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example.com/cb"},
        {"redirect_uri": CALLBACK + "/"},
        {"state": "x" * 9000},
    ],
)
async def test_nobody_is_sent_anywhere_before_client_and_redirect_are_known(
    world: World, changes: dict[str, str | None]
) -> None:
    client = await world.client()
    with pytest.raises(Unfit) as told:
        await world.server.wish(world.query(client, **changes))
    assert len(str(told.value)) > 30


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_who_asks_and_where_to_is_said_once(world: World, name: str) -> None:
    query = world.query(await world.client())
    with pytest.raises(Unfit):
        await world.server.wish([*query, (name, dict(query)[name])])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'code"\\\r\n'}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "https://x.example.com"}, "request_uri_not_supported"),
        ({"scope": "mcp everything"}, "invalid_scope"),
        ({"scope": "mcp:server:NOT/AN/ID"}, "invalid_scope"),
        ({"scope": " ".join(f"mcp:server:s{i}" for i in range(33))}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "１２"}, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_told_to_the_client_with_state_and_issuer(
    world: World, changes: dict[str, str | None], error: str
) -> None:
    told = await sent_back(world, world.query(await world.client(), **changes))
    assert (told["error"], told["state"], told["iss"]) == (error, "s t&=/é", ISSUER)
    assert told["error_description"]


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": "x" * 42},
        {"code_challenge": "x" * 44},
        {"code_challenge": "x" * 42 + "\n"},
        {"code_challenge": "x" * 42 + "="},
    ],
)
async def test_check_11_pkce_that_is_missing_or_plain_is_refused(world: World, changes: dict[str, str | None]) -> None:
    told = await sent_back(world, world.query(await world.client(), **changes))
    assert (told["error"], told["iss"]) == ("invalid_request", ISSUER)


@pytest.mark.parametrize("name", ["scope", "code_challenge", "prompt", "response_type", "made_up"])
async def test_a_parameter_sent_twice_is_refused(world: World, name: str) -> None:
    query = [*world.query(await world.client(), scope="mcp", prompt="login"), ("made_up", "1")]
    assert (await sent_back(world, [*query, (name, "mcp")]))["error"] == "invalid_request"


async def test_a_state_sent_twice_is_not_echoed(world: World) -> None:
    told = await sent_back(world, [*world.query(await world.client()), ("state", "other")])
    assert told["error"] == "invalid_request"
    assert "state" not in told


async def test_without_a_resource_the_token_is_for_the_default_endpoint(world: World) -> None:
    assert (await world.wish(await world.client(), resource=None)).resource == MCP


@pytest.mark.parametrize(
    "resource",
    [
        ISSUER,
        ISSUER + "/other/mcp",
        "https://evil.example.com/mcp",
        "urn:x",
        MCP + "?a=1",
        "https://hub.example.com@e/mcp",
    ],
)
async def test_cve_2025_69196_a_foreign_resource_is_refused_and_not_replaced(world: World, resource: str) -> None:
    """FastMCP ignored `resource` and gave out tokens for its base URL."""
    told = await sent_back(world, world.query(await world.client(), resource=resource))
    assert told["error"] == "invalid_target"


async def test_several_resources_are_refused(world: World) -> None:
    query = [*world.query(await world.client()), ("resource", ISSUER + "/dev/mcp")]
    assert (await sent_back(world, query))["error"] == "invalid_target"


async def test_offline_access_is_accepted_and_means_nothing(world: World) -> None:
    client = await world.client()
    assert (await world.wish(client, scope="offline_access")).scopes == ("mcp",)
    assert (await world.wish(client, scope="mcp offline_access")).scopes == ("mcp",)


async def test_check_14_the_issuer_is_the_same_bytes_in_metadata_answers_and_errors(world: World) -> None:
    client = await world.client()
    wish = await world.wish(client)
    told = {
        str(world.server.metadata()["issuer"]),
        answer(world.server.refused(wish))["iss"],
        answer(await world.server.granted(wish, Login(world.ann, START, "password"), wish.scopes))["iss"],
        (await sent_back(world, world.query(client, scope="x")))["iss"],
    }
    assert told == {ISSUER}
    assert world.server.metadata()["authorization_response_iss_parameter_supported"] is True


async def test_a_redirect_uri_cannot_bring_an_issuer_of_its_own(world: World) -> None:
    """Check 14: two of them in one answer would be read in two ways."""
    reply = await world.register(CALLBACK + "?iss=https%3A%2F%2Fevil.example.com")
    assert reply.status == 400


async def test_a_program_on_this_computer_may_listen_on_any_port(world: World) -> None:
    client = await world.client(LOOPBACK)
    other = LOOPBACK.replace("33418", "50111")
    wish = await world.wish(client, redirect_uri=other)
    assert wish.redirect_uri == other
    code = answer(await world.server.granted(wish, Login(world.ann, START, "password"), wish.scopes))["code"]
    good(await world.redeem(client, code, redirect_uri=other))


async def test_the_browser_goes_to_the_apps_own_scheme(world: World) -> None:
    uri = "cursor://anysphere.cursor-mcp/oauth/callback"
    wish = await world.wish(await world.client(uri, LOOPBACK, CALLBACK), redirect_uri=uri)
    location = world.server.refused(wish)
    assert (urlsplit(location).scheme, urlsplit(location).netloc) == ("cursor", "anysphere.cursor-mcp")


async def test_no_code_for_a_user_who_was_disabled_at_the_consent(world: World) -> None:
    wish = await world.wish(await world.client())
    world.people.disable(world.ann.id)
    told = answer(await world.server.granted(wish, Login(world.ann, START, "password"), wish.scopes))
    assert (told["error"], "code" in told) == ("access_denied", False)


async def test_no_code_for_an_endpoint_that_went_away_at_the_consent(world: World) -> None:
    wish = await world.wish(await world.client(), resource=ISSUER + "/dev/mcp")
    world.endpoints.discard("dev")
    told = answer(await world.server.granted(wish, Login(world.ann, START, "password"), wish.scopes))
    assert told["error"] == "invalid_target"


async def test_more_than_was_asked_for_cannot_be_allowed(world: World) -> None:
    root = world.people.add("root", "admin")
    wish = await world.wish(await world.client(), scope="mcp:server:wiki")
    for scopes in (("mcp",), ("mcp:server:wiki", "admin"), ("mcp:tool:*",), ("openid",), ()):
        told = answer(await world.server.granted(wish, Login(root, START, "password"), scopes))
        assert told["error"] == "invalid_scope", scopes


@pytest.mark.parametrize(
    ("roles", "scope"), [(("member",), "mcp"), (("auditor",), "audit:read"), (("admin",), "mcp admin")]
)
async def test_admin_scopes_are_given_only_where_a_role_has_them(
    world: World, roles: tuple[str, ...], scope: str
) -> None:
    user: UserRow = world.people.add("bob", *roles)
    made = await world.login(
        await world.client(), user, scope="mcp admin" if roles != ("auditor",) else "mcp audit:read"
    )
    assert made["scope"] == scope


async def test_a_user_whose_roles_allow_nothing_gets_no_code(world: World) -> None:
    user = world.people.add("nobody", "gone")
    wish = await world.wish(await world.client())
    told = answer(await world.server.granted(wish, Login(user, START, "password"), wish.scopes))
    assert told["error"] == "access_denied"

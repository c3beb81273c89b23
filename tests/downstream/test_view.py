"""What one endpoint's clients can name: merged lists, exact names, matching templates, and nothing of other servers."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.call import EMPTY
from hub.core.ports import Endpoint
from hub.downstream.link import Peer
from hub.downstream.shelf import Lists, Shelf, build
from hub.downstream.view import View
from tests.downstream.catalog_fakes import ALL, peer, prompt, resource, spec, template, tool

DEFAULT, BARE = Endpoint(""), Endpoint("bare", frozenset({"srv"}), "none")


def shelf(
    id: str = "srv", peer: Peer | None = peer(), pins: Any = "quarantine", known: Any = EMPTY, **kinds: Any
) -> Shelf:
    lists = Lists({kind: tuple(listed) for kind, listed in kinds.items()}, peer)  # type: ignore[misc]
    return build(spec(id, pins=pins), lists, known)


def test_lists_are_merged_in_the_order_of_canonical_names() -> None:
    view = View(DEFAULT, [shelf("b", tool=[tool("x")]), shelf("a-z", tool=[tool("y")]), shelf("a", tool=[tool("z")])])
    assert [item.name for item in view.items("tool")] == ["a-z__y", "a__z", "b__x"]


def test_every_listed_item_resolves_to_itself_at_both_kinds_of_endpoint() -> None:
    one = shelf(tool=[tool("a.b")], prompt=[prompt()], resource=[resource()], template=[template()])
    keys = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}
    for view in (View(DEFAULT, [one]), View(BARE, [one])):
        for kind, key in keys.items():
            (item,) = view.items(kind)  # type: ignore[arg-type]
            assert view.resolve(kind, item.shown[key]) is item  # type: ignore[arg-type]


def test_an_endpoint_without_prefix_knows_native_names_only() -> None:
    view = View(BARE, [shelf(tool=[tool("t")], resource=[resource("doc://r")])])
    assert view.resolve("tool", "t") is not None
    assert view.resolve("tool", "srv__t") is None
    assert view.uri("srv", "doc://r") == "doc://r"


def test_a_name_of_another_kind_or_server_is_unknown() -> None:
    view = View(DEFAULT, [shelf(tool=[tool("t")])])
    assert view.resolve("prompt", "srv__t") is None
    assert view.resolve("tool", "t") is None
    assert view.resolve("tool", "other__t") is None
    assert view.resolve("template", "srv+doc://{x}") is None


def test_a_uri_that_a_template_matches_is_a_resource_with_its_definition() -> None:
    given = template("doc://{id}", description="D", mimeType="text/plain")
    view = View(DEFAULT, [shelf(template=[template("other://{id}"), given])])
    item = view.resolve("resource", "srv+doc://7")
    assert item is not None
    assert (item.kind, item.name, item.native) == ("resource", "srv+doc://7", "doc://7")
    assert item.definition == given
    assert item.shown == {"uri": "srv+doc://7", "name": "doc://{id}", "description": "D", "mimeType": "text/plain"}
    assert item.sha256 == view.items("template")[0].sha256
    assert not item.writes


def test_a_hidden_template_hides_the_resources_it_matches() -> None:
    old = shelf(template=[template(description="old")])
    known = {(pin.kind, pin.native): pin for pin in old.first_sights}
    view = View(DEFAULT, [shelf(template=[template(description="new")], known=known)])
    item = view.resolve("resource", "srv+doc://7")
    assert item is not None
    assert item.changed


def test_an_exact_resource_comes_before_a_template() -> None:
    view = View(DEFAULT, [shelf(resource=[resource("doc://7")], template=[template("doc://{id}")])])
    item = view.resolve("resource", "srv+doc://7")
    assert item is view.items("resource")[0]


@pytest.mark.parametrize(
    ("endpoint", "name", "native"),
    [(DEFAULT, "srv+x://y", "x://y"), (DEFAULT, "ui://srv+p", "ui://p"), (BARE, "x://y", "x://y")],
)
def test_any_other_uri_of_a_server_with_resources_is_left_to_it(endpoint: Endpoint, name: str, native: str) -> None:
    item = View(endpoint, [shelf()]).resolve("resource", name)
    assert item is not None
    assert (item.native, item.definition, item.shown) == (native, {}, {"uri": name})


@pytest.mark.parametrize("name", ["", "srv+", "other+x://y", "x://y", "srv+" + "x" * 8193, "SRV+x"])
def test_a_uri_of_no_server_here_is_unknown(name: str) -> None:
    assert View(DEFAULT, [shelf()]).resolve("resource", name) is None


def test_a_uri_is_unknown_where_nobody_offers_resources() -> None:
    tools_only = peer({"tools": {}})
    assert View(DEFAULT, [shelf(peer=tools_only)]).resolve("resource", "srv+x://y") is None
    assert View(DEFAULT, [shelf(peer=None)]).resolve("resource", "srv+x://y") is None
    assert View(BARE, []).resolve("resource", "x://y") is None


@pytest.mark.parametrize("uri", ["doc://{a}{b}", "doc://{", "doc://{" + ",".join(f"v{n}" for n in range(40)) + "}"])
def test_a_template_that_cannot_be_matched_in_bounded_time_is_listed_and_left_to_its_server(uri: str) -> None:
    view = View(DEFAULT, [shelf(template=[template(uri)])])
    assert view.resolve("template", f"srv+{uri}") is not None
    item = view.resolve("resource", "srv+doc://x")
    assert item is not None
    assert item.definition == {}


def test_capabilities_are_the_union_the_hub_can_keep() -> None:
    one = shelf("a", peer({"tools": {"listChanged": False, "odd": 1}, "extensions": {"x": {}}, "prompts": None}))
    two = shelf("b", peer({"resources": {"subscribe": True}, "completions": {}}))
    assert View(DEFAULT, [one, two]).capabilities == {
        "tools": {"listChanged": True},
        "resources": {"listChanged": True, "subscribe": True},
        "completions": {},
    }


def test_what_a_server_not_yet_seen_may_offer_is_promised() -> None:
    assert View(DEFAULT, [], unknown=True).capabilities == {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"listChanged": True},
        "completions": {},
        "logging": {},
    }
    assert View(DEFAULT, []).capabilities == {}


def test_subscriptions_are_not_promised_for_modern_servers() -> None:
    modern = peer({"resources": {"subscribe": True}}, "modern")
    assert View(DEFAULT, [shelf(peer=modern)]).capabilities == {"resources": {"listChanged": True}}


def test_equal_signatures_mean_that_no_client_sees_a_difference() -> None:
    before = View(DEFAULT, [shelf(tool=[tool("a"), tool("b")])]).signature()
    assert View(DEFAULT, [shelf(tool=[tool("b"), tool("a")], peer=peer({**ALL, "x": {}}))]).signature() == before
    assert View(DEFAULT, [shelf(tool=[tool("a"), tool("b", title="B")])]).signature() != before


def test_a_hidden_item_is_in_no_signature() -> None:
    known = {(pin.kind, pin.native): pin for pin in shelf(tool=[tool("b")]).first_sights}
    without = View(DEFAULT, [shelf(tool=[tool("a")])]).signature()
    hidden = View(DEFAULT, [shelf(tool=[tool("a"), tool("b", title="B")], known=known)])
    assert len(hidden.items("tool")) == 2
    assert hidden.signature() == without

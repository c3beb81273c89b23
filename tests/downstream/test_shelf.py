"""A shelf is a pure function of what was listed and what was approved; one bad definition costs only itself."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from hub.core.call import Kind
from hub.core.ports import Pin
from hub.downstream import shelf as shelf_module
from hub.downstream.definitions import canonical, digest
from hub.downstream.shelf import Approved, Lists, Problem, Shelf, build, steadied
from tests.downstream.catalog_fakes import prompt, resource, spec, template, tool


def lists(**by_kind: Any) -> Lists:
    return Lists({kind: tuple(listed) for kind, listed in by_kind.items()})  # type: ignore[misc]


def approved(shelf: Shelf) -> Approved:
    return {(pin.kind, pin.native): pin for pin in shelf.first_sights}


def test_items_carry_public_names_in_their_order_and_their_definition_untouched() -> None:
    given = tool("b.c", description="B", x={"big": 2**70})
    shelf = build(spec("git"), lists(tool=[tool("z"), given, tool("a")]), {})
    items = shelf.items["tool"]
    assert [item.name for item in items] == sorted(item.name for item in items)
    (dotted,) = (item for item in items if item.native == "b.c")
    assert dotted.definition is given
    assert dotted.shown == {**given, "name": dotted.name}
    assert list(dotted.shown) == list(given)
    assert dotted.sha256 == digest(canonical(given))


def test_bare_items_show_the_very_definition() -> None:
    shelf = build(spec("git"), lists(tool=[tool()]), {})
    (item,) = shelf.bare["tool"]
    assert item.shown is item.definition
    assert item.name == "git__t"


@pytest.mark.parametrize(
    ("kind", "given", "native", "name", "shown"),
    [
        ("prompt", prompt("p"), "p", "git__p", "git__p"),
        ("resource", resource("doc://r"), "doc://r", "git+doc://r", "git+doc://r"),
        ("template", template("ui://{x}"), "ui://{x}", "ui://git+{x}", "ui://git+{x}"),
    ],
)
def test_every_kind_is_published_under_its_own_key(kind: Kind, given: Any, native: str, name: str, shown: str) -> None:
    (item,) = build(spec("git"), lists(**{kind: [given]}), {}).items[kind]
    assert (item.native, item.name) == (native, name)
    assert shown in item.shown.values()
    assert not item.writes


def test_links_to_app_resources_are_published_with_the_definition() -> None:
    given = tool(_meta={"ui": {"resourceUri": "ui://p"}})
    shelf = build(spec("git"), lists(tool=[given]), {})
    assert shelf.items["tool"][0].shown["_meta"] == {"ui": {"resourceUri": "ui://git+p"}}
    assert shelf.bare["tool"][0].shown is given


@pytest.mark.parametrize(
    ("trusted", "annotations", "writes"),
    [
        (True, {"readOnlyHint": True}, False),
        (False, {"readOnlyHint": True}, True),
        (True, {"readOnlyHint": "yes"}, True),
        (True, {"readOnlyHint": 1}, True),
        (True, {}, True),
    ],
)
def test_only_a_trusted_server_makes_a_tool_a_read(trusted: bool, annotations: Any, writes: bool) -> None:
    shelf = build(spec(trusted=trusted), lists(tool=[tool(annotations=annotations)]), {})
    assert shelf.items["tool"][0].writes is writes


def test_malformed_definitions_are_reported_and_the_rest_is_shown() -> None:
    shelf = build(spec(), lists(tool=["junk", None, {"name": "x" * 200}, tool("ok"), {"inputSchema": {}}]), {})
    assert [item.native for item in shelf.items["tool"]] == ["ok"]
    assert [problem.item for problem in shelf.problems] == ["entry 0", "entry 1", "x" * 79 + "…", "entry 4"]


def test_a_second_item_of_a_name_is_quarantined_by_native_and_by_public_name() -> None:
    # Found by search: two natives whose aliases agree would need the same eight hash digits; the native twin is enough
    # for one half, and the other half is an alias that another tool claims as its plain name.
    alias = build(spec(), lists(tool=[tool("a.b")]), {}).items["tool"][0].name.removeprefix("srv__")
    shelf = build(spec(), lists(tool=[tool("x", title="1"), tool("x", title="2"), tool("a.b"), tool(alias)]), {})
    assert [item.native for item in shelf.items["tool"]] == ["a.b", "x"]
    assert shelf.items["tool"][1].definition["title"] == "1"
    assert [problem.item for problem in shelf.problems] == ["x", alias]


def test_the_same_name_in_two_kinds_is_no_duplicate() -> None:
    shelf = build(spec(), lists(tool=[tool("x")], prompt=[prompt("x")]), {})
    assert shelf.problems == ()


def test_an_oversize_definition_is_quarantined() -> None:
    shelf = build(spec(), lists(tool=[tool("big", description="x" * 300_000), tool("ok")]), {})
    assert [item.native for item in shelf.items["tool"]] == ["ok"]
    assert shelf.problems == (Problem("tool", "big", "is larger than 262144 bytes"),)


def test_problems_are_bounded_and_a_cut_list_is_one() -> None:
    shelf = build(spec(), Lists({"tool": ("junk",) * 500}), {})
    assert len(shelf.problems) == 100
    cut = build(spec(), Lists({"tool": ()}, cuts={"tool": "only the first 3 are shown"}), {})
    assert cut.problems == (Problem("tool", "the list", "only the first 3 are shown"),)


def test_nulls_of_optional_members_are_dropped_before_anything_is_compared() -> None:
    first = build(spec(), lists(tool=[tool(description=None)]), {})
    assert "description" not in first.items["tool"][0].shown
    assert not build(spec(), lists(tool=[tool()]), approved(first)).changed


def test_first_sight_is_trusted_and_recorded_for_every_kind() -> None:
    shelf = build(spec(), lists(tool=[tool()], prompt=[prompt()], resource=[resource()], template=[template()]), {})
    assert [(pin.kind, pin.native) for pin in shelf.first_sights] == [
        ("tool", "t"),
        ("prompt", "p"),
        ("resource", "doc://r"),
        ("template", "doc://{id}"),
    ]
    assert not shelf.changed
    again = build(
        spec(), lists(tool=[tool()], prompt=[prompt()], resource=[resource()], template=[template()]), approved(shelf)
    )
    assert not again.first_sights
    assert not any(item.changed for items in again.items.values() for item in items)


def test_a_changed_definition_is_marked_and_told_with_both_sides() -> None:
    pins = approved(build(spec(), lists(tool=[tool(description="old")]), {}))
    shelf = build(spec(), lists(tool=[tool(description="new"), tool("other")]), pins)
    (changed,) = shelf.changed
    assert (changed.server, changed.kind, changed.native, changed.public) == ("srv", "tool", "t", "srv__t")
    assert changed.old == tool(description="old")
    assert changed.new == tool(description="new")
    assert [(item.native, item.changed) for item in shelf.items["tool"]] == [("other", False), ("t", True)]
    assert all(item.changed == bare.changed for item, bare in zip(shelf.items["tool"], shelf.bare["tool"], strict=True))


@pytest.mark.parametrize(("pins", "told"), [("warn", 1), ("off", 0)])
def test_warn_tells_and_off_ignores(pins: Literal["warn", "off"], told: int) -> None:
    known = approved(build(spec(), lists(tool=[tool(description="old")]), {}))
    shelf = build(spec(pins=pins), lists(tool=[tool(description="new"), tool("u")]), known)
    assert len(shelf.changed) == told
    assert len(shelf.first_sights) == told
    assert not any(item.changed for item in shelf.items["tool"])


def test_a_resource_whose_contents_changed_is_not_a_changed_definition() -> None:
    known = approved(build(spec(), lists(resource=[resource(size=1)]), {}))
    assert not build(spec(), lists(resource=[resource(size=2)]), known).changed
    assert build(spec(), lists(resource=[resource(size=2, title="T")]), known).changed


def test_first_sights_without_end_are_hidden_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_module, "MAX_PINS", 2)
    known: Approved = {("tool", "gone"): Pin("srv", "tool", "gone", "x", {})}
    shelf = build(spec(), lists(tool=[tool("a"), tool("b")]), known)
    assert [(item.native, item.changed) for item in shelf.items["tool"]] == [("a", False), ("b", True)]
    assert shelf.changed[0].old is None


def both(*listed: Any, **given: Any) -> tuple[Lists, Shelf]:
    made = lists(tool=listed, prompt=[prompt()])
    return made, build(spec("git", **given), made, {})


def test_what_a_server_lists_again_unchanged_keeps_its_very_items_and_definitions() -> None:
    old_lists, old = both(tool("a"), tool("b", x=1))
    kept_lists, kept = steadied(old_lists, old, *both(tool("b", x=1), tool("a")))
    for kind in ("tool", "prompt"):
        assert kept.items[kind] is old.items[kind]
        assert kept.bare[kind] is old.bare[kind]
        assert kept_lists.by_kind[kind] is old_lists.by_kind[kind]


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ([tool("a", x=1)], {}),
        ([tool("a", x=True)], {}),
        ([tool("a", x=1.0), tool("b")], {}),
        ([tool("a", x=1.0), "junk"], {}),
        ([], {}),
        ([tool("a", x=1.0, annotations={"readOnlyHint": True})], {"trusted": True}),
    ],
)
def test_a_kind_that_differs_in_anything_is_the_new_one_and_the_others_stay(listed: list[Any], given: Any) -> None:
    old_lists, old = both(tool("a", x=1.0))
    new_lists, new = both(*listed, **given)
    kept_lists, kept = steadied(old_lists, old, new_lists, new)
    assert kept.items["tool"] is new.items["tool"]
    assert kept.bare["tool"] is new.bare["tool"]
    assert kept_lists.by_kind["tool"] is new_lists.by_kind["tool"]
    assert (kept.items["prompt"] is old.items["prompt"]) is (kept.problems == old.problems)
    assert (kept.spec, kept.problems) == (new.spec, new.problems)


def test_the_same_definition_is_another_item_once_it_may_be_trusted_or_is_hidden() -> None:
    hinted = tool("a", annotations={"readOnlyHint": True})
    old_lists, old = both(hinted)
    for spec_now, pins in ((spec("git", trusted=True), {}), (spec("git", pins="quarantine"), other_pin(hinted))):
        now_lists = lists(tool=[hinted])
        _, kept = steadied(old_lists, old, now_lists, build(spec_now, now_lists, pins))
        assert kept.items["tool"][0] is not old.items["tool"][0]


def other_pin(given: Any) -> Approved:
    return {("tool", given["name"]): Pin("git", "tool", given["name"], "0" * 64, {})}

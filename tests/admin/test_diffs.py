"""What differs between two definitions, told so that the server's words can neither hide nor forge anything."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.admin.diffs import MAX_CHANGES, RUN_CHARS, VALUE_CHARS, Run, as_json, compare, told, words_of


def lines(old: Any, new: Any) -> list[str]:
    return told(as_json(compare(old, new)))


def test_a_description_is_told_word_by_word() -> None:
    old = {"description": "Tells the time in a zone. Use IANA names."}
    new = {"description": "Tells the time in any zone. Use IANA names, please."}
    assert lines(old, new) == [
        "description: changed",
        "  = Tells the time in",
        "  - a",
        "  + any",
        "  = zone. Use IANA",
        "  - names.",
        "  + names, please.",
    ]


def test_a_schema_is_told_by_path() -> None:
    old = {"inputSchema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}}
    new = {
        "inputSchema": {
            "type": "object",
            "properties": {"zone": {"type": "integer"}, "a key": {"default": 1}},
            "required": ["zone", "a key"],
            "additionalProperties": False,
        }
    }
    assert lines(old, new) == [
        "inputSchema.additionalProperties: added",
        "  + false",
        'inputSchema.properties["a key"]: added',
        '  + {"default": 1}',
        "inputSchema.properties.zone.type: changed",
        '  - "string"',
        '  + "integer"',
        "inputSchema.required: added",
        '  + ["a key"]',
    ]


def test_hints_are_told_and_true_is_no_one() -> None:
    old = {"annotations": {"readOnlyHint": True, "x": 1}}
    new = {"annotations": {"readOnlyHint": False, "x": True}}
    assert lines(old, new) == [
        "annotations.readOnlyHint: changed",
        "  - true",
        "  + false",
        "annotations.x: changed",
        "  - 1",
        "  + true",
    ]


def test_lists_of_objects_are_told_by_place_and_of_values_as_sets() -> None:
    old = {"arguments": [{"name": "a"}], "enum": ["x", "y"], "gone": [1, 2], "order": [1, 2]}
    new = {"arguments": [{"name": "b"}, {"name": "c"}], "enum": ["y", "z"], "gone": [2], "order": [2, 1]}
    found = {each.path: (each.how, each.old, each.new) for each in compare(old, new).differences}
    assert found == {
        "arguments[0].name": ("changed", '"a"', '"b"'),
        "arguments[1]": ("added", None, '{"name": "c"}'),
        "enum": ("changed", '["x"]', '["z"]'),
        "gone": ("removed", "[1]", None),
        "order": ("changed", "[1, 2]", "[2, 1]"),
    }


def test_a_first_definition_and_a_type_that_changed_are_told_whole() -> None:
    assert lines(None, {"name": "t", "description": "Does it."}) == [
        "description: added",
        "  + Does it.",
        "name: added",
        '  + "t"',
    ]
    assert lines({"x": {"a": 1}}, {"x": [1]}) == ["x: changed", '  - {"a": 1}', "  + [1]"]
    assert lines({"description": "Does it."}, None) == ["description: removed", "  - Does it."]
    assert lines({"title": "words"}, {"title": 5}) == ["title: changed", '  - "words"', "  + 5"]


def test_equal_definitions_do_not_differ() -> None:
    value = {"name": "t", "description": "x", "inputSchema": {"enum": [1, [2]]}}
    assert compare(value, dict(value)).differences == ()


def test_long_texts_under_any_name_are_told_word_by_word() -> None:
    text = "one two three four five six seven"
    [found] = compare({"x": text}, {"x": f"{text} eight"}).differences
    assert found.words == (Run("=", text), Run("+", " eight"))


def test_a_text_can_forge_no_line_of_the_difference() -> None:
    found = lines({"description": "Reads."}, {"description": "Reads.\n  - harmless\n  = Reads.\u202e\nname: removed"})
    assert found == ["description: changed", "  = Reads.", "  + \\n  - harmless\\n  = Reads.\\u202e\\nname: removed"]


def test_a_key_can_forge_no_path() -> None:
    assert lines({}, {"a: removed\n": 1, "b.c": 2, "\u202ex": 3}) == [
        '["a: removed\\n"]: added',
        "  + 1",
        '["b.c"]: added',
        "  + 2",
        '["\\u202ex"]: added',
        "  + 3",
    ]


def test_words_that_look_the_same_are_spelled_out() -> None:
    assert words_of("pay now", "рау now") == (Run("-", "pay"), Run("+", "\\u0440\\u0430\\u0443"), Run("=", " now"))
    [added] = compare({"title": "ab"}, {"title": "ab pаy"}).differences
    assert added.words[-1] == Run("+", " p\\u0430y")
    [name] = compare({"name": "read"}, {"name": "reаd"}).differences
    assert (name.old, name.new) == ('"read"', '"re\\u0430d"')


def test_honest_words_of_another_alphabet_stay_readable() -> None:
    assert words_of("Покажи время", "Покажи дату") == (Run("=", "Покажи"), Run("-", " время"), Run("+", " дату"))
    assert words_of("支付", "查询")[0] == Run("-", "支付")


def test_what_stayed_is_shortened_to_the_words_beside_a_change() -> None:
    before = [f"w{n}" for n in range(60)]
    after = [*before[:30], "NEW", *before[30:]]
    first, new, last = words_of(" ".join(before), " ".join(after))
    assert first.text == "… w22 w23 w24 w25 w26 w27 w28 w29"
    assert new == Run("+", " NEW")
    assert last.text == " w30 w31 w32 w33 w34 w35 w36 w37…"
    twice = words_of(" ".join(["a", *before, "b"]), " ".join(["c", *before, "d"]))
    assert [run.mark for run in twice] == ["-", "+", "=", "-", "+"]
    assert " … " in twice[2].text


def test_lengths_are_bounded_and_what_is_left_out_is_counted() -> None:
    [text] = compare({"title": "a"}, {"title": "a " + "x" * 20_000}).differences
    assert len(text.words[-1].text) < RUN_CHARS + 100
    assert "characters left out" in text.words[-1].text
    [value] = compare({}, {"x": "y" * 20_000}).differences
    assert len(value.new or "") < VALUE_CHARS + 100
    many = compare({}, {f"k{n}": n for n in range(MAX_CHANGES + 7)})
    assert (len(many.differences), many.left_out) == (MAX_CHANGES, 7)
    assert told(as_json(many))[-1] == "and 7 more differences; --json has both definitions whole"


def test_texts_made_to_be_slow_are_not() -> None:
    started = time.monotonic()
    for old, new in (("a b " * 60_000, "b b a " * 40_000), ("x" * 250_000, "y" * 250_000), (" " * 250_000, "\n" * 9)):
        compare({"description": old}, {"description": new})
    assert time.monotonic() - started < 5


texts = st.lists(st.sampled_from(["a", "b", "c\u200b", " ", "\n", "  "]), max_size=30).map("".join)


@given(texts, texts)
def test_no_word_is_lost_between_the_marks(old: str, new: str) -> None:
    runs = words_of(old, new)
    if all("…" not in run.text for run in runs):
        for side, text in (("-", old), ("+", new)):
            shown = "".join(run.text for run in runs if run.mark in ("=", side))
            assert shown.replace("\\n", "\n").replace("\\u200b", "\u200b") == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
definitions = st.dictionaries(st.text(max_size=3), values, max_size=4)


@given(definitions, definitions)
def test_definitions_differ_if_and_only_if_something_is_told(old: Any, new: Any) -> None:
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (lines(old, new) == []) is same
    assert all(line.isprintable() for line in lines(old, new))

"""The words a pattern cannot do without, held against what the pattern matches."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.detectors import phrases
from policies.detectors.descriptions import DESCRIPTIONS
from policies.detectors.languages import LANGUAGES
from policies.detectors.needs import MOST_GROUPS, Group, needs, pattern_of
from policies.detectors.payloads import PAYLOADS
from policies.detectors.rules import Rule

RULES = (
    *phrases.OVERRIDES,
    *phrases.MARKERS,
    *phrases.SECRECY,
    *phrases.EXFILTRATION,
    *phrases.ENCODED,
    *phrases.HIJACKS,
    *phrases.URGENCY,
    *LANGUAGES,
    *DESCRIPTIONS,
    *PAYLOADS,
)


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        ("alpha", [{"alpha"}]),
        (r"\balpha\b.{0,9}?(?:beta|gamma)s?", [{"\balpha\b"}, {"beta", "gamma"}]),
        (r"\b(?:alpha|beta)\b", [{"\balpha\b", "\bbeta\b"}]),
        (r"alpha\b(?: beta)?", [{"alpha\b"}]),
        (r"\balpha|alpha", [{"alpha"}]),
        ("(?:a|b)cd", [{"acd", "bcd"}]),
        ("alphas?|al[px]ha", [{"alpha", "alxha"}]),
        ("(?:alpha){2,}x", [{"alpha"}]),
        ("(?:alpha){3}", [{"alpha"}]),
        ("(?:alpha)+? beta*", [{"alpha"}, {" bet"}]),
        (r"a\x62\x{63}\.\n", [{"abc.\n"}]),
        ("[ab]cd", [{"acd", "bcd"}]),
        ("x{y}z{,3}", [{"x{y}z{,3}"}]),
        ("[]a]bc", [{"]bc", "abc"}]),
        (r"[\]a\n]bc", [{"]bc", "abc", "\nbc"}]),
        ("忽略[^。]{0,12}指令", [{"忽略"}, {"指令"}]),
    ],
)
def test_words_are_read_off(pattern: str, groups: list[set[str]]) -> None:
    assert sorted(map(sorted, needs(pattern))) == sorted(map(sorted, groups))


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a",
        "ab",
        "(?:alpha)?",
        "(?:alpha)*",
        "(?:alpha){0,2}",
        "alpha|",
        "alpha|b",
        r"\d+",
        "[a-z]{4}",
        "[^a]bc"[:4],
    ],
)
def test_what_may_do_without_words_needs_none(pattern: str) -> None:
    assert needs(pattern) == ()


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)alpha",
        "(?P<n>alpha)",
        r"\Qalpha\E",
        r"\p{Greek}alpha",
        "[[:alpha:]]alpha",
        "alpha\b",
        r"alpha\x08",
        "(alpha",
        "alpha)",
        "*alpha",
        "[a",
    ],
)
def test_what_is_not_understood_needs_nothing(pattern: str) -> None:
    assert needs(pattern) == ()


def test_a_pattern_has_few_groups() -> None:
    assert len(needs("alpha.beta.gamma.delta")) == MOST_GROUPS


def test_nearly_every_rule_has_words() -> None:
    assert sum(not needs(rule.pattern) for rule in RULES) <= 6


def _holds(text: str, groups: tuple[Group, ...]) -> bool:
    return all(any(re2.search(pattern_of(word), text) for word in group) for group in groups)


def test_a_boundary_is_searched_for_where_the_pattern_has_one() -> None:
    (group,) = needs(r"\balpha.\b")
    assert _holds("an alphabet", (group,))
    assert not _holds("nonalpha", (group,))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_rule_matches_holds_a_word_of_each_group(rule: Rule, data: st.DataObject) -> None:
    made = data.draw(st.from_regex(re.compile(rule.pattern.replace(r"\pL", r"\w")))).lower()
    if re2.search(rule.pattern, made):
        assert _holds(made, needs(rule.pattern))


PIECES = st.recursive(
    st.sampled_from(["ab", "c", "x|", "|", r"\b", r"\w", ".", "[ab]", "[^a]", "[a-c]", r"\.", "d", " "]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        inner.map(lambda piece: f"(?:{piece})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{2}", "{0,1}", "{1,}", "+?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(PIECES, st.data())
def test_whatever_any_pattern_matches_holds_a_word_of_each_group(pattern: str, data: st.DataObject) -> None:
    made = data.draw(st.from_regex(re.compile(pattern), alphabet=st.sampled_from("abcdx. ")))
    assert _holds(made, needs(pattern))

"""Public names and uris: reversible, capped, stable, and structured uris rewritten without touching anything else."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.names import (
    public_name,
    public_uri,
    publish_definition,
    publish_result,
    slug,
    split_name,
    split_uri,
)


def rename(uri: str) -> str:
    return public_uri("s", uri)


@pytest.mark.parametrize(
    ("pasted", "made"),
    [
        ("time", "time"),
        ("My Server", "my-server"),
        (" Git_Hub ", "git-hub"),
        ("a" * 24, "a" * 24),
        ("a1", "a1"),
        ("a\n", "a"),
    ],
)
def test_pasted_names_become_server_ids(pasted: str, made: str) -> None:
    assert slug(pasted) == made


@pytest.mark.parametrize("pasted", ["", "1st", "-x", "a" * 25, "naïve", "a.b", "a/b", "a\nb", "a+b"])
def test_what_no_server_id_fits_is_refused_by_name(pasted: str) -> None:
    with pytest.raises(ValueError, match="is no server id"):
        slug(pasted)


@pytest.mark.parametrize(
    ("server", "native", "public"),
    [
        ("git", "log", "git__log"),
        ("git", "a__b", "git__a__b"),
        ("git", "_log", "git___log"),
        ("git", "A-Z_09", "git__A-Z_09"),
    ],
)
def test_a_plain_name_is_server_and_native_and_splits_back(server: str, native: str, public: str) -> None:
    assert public_name(server, native) == public
    assert split_name(public) == (server, native)


@pytest.mark.parametrize("native", ["a.b", "a b", "日本", "x" * 60, "a\n", "", "a/../b", "a+b"])
def test_a_name_that_does_not_fit_gets_a_capped_plain_alias(native: str) -> None:
    public = public_name("server", native)
    assert len(public) <= 48
    assert public.isascii()
    assert split_name(public) is not None
    assert public == public_name("server", native)
    assert public != public_name("server", native + ".")


def test_an_alias_of_the_longest_server_id_keeps_readable_characters() -> None:
    public = public_name("s" * 24, "y" * 300)
    assert len(public) == 48
    assert public.startswith("s" * 24 + "__yyy")


def test_names_that_differ_only_in_foreign_characters_stay_apart() -> None:
    assert public_name("s", "a.b") != public_name("s", "a/b") != public_name("s", "a_b")


@pytest.mark.parametrize("public", ["", "log", "git_log", "__log", "git__", "Git__log", "1__x", "a+b__c"])
def test_what_is_no_public_name_does_not_split(public: str) -> None:
    assert split_name(public) is None


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("file:///a+b", "s+file:///a+b"),
        ("doc://{id}/x{?q}", "s+doc://{id}/x{?q}"),
        ("ui://panel/main", "ui://s+panel/main"),
        ("ui://", "ui://s+"),
        ("x", "s+x"),
    ],
)
def test_a_uri_carries_its_server_and_splits_back(uri: str, public: str) -> None:
    assert public_uri("s", uri) == public
    assert split_uri(public) == ("s", uri)


@pytest.mark.parametrize("public", ["", "file:///a", "+x", "S+x", "ui://x", "ui://+x", "a b+c", "https://h/a+b"])
def test_what_is_no_public_uri_does_not_split(public: str) -> None:
    assert split_uri(public) is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"name": "n"}, {"name": "n"}),
        ({"_meta": 5}, {"_meta": 5}),
        ({"_meta": {"x": 1, "ui": "odd", "ui/resourceUri": 5}}, {"_meta": {"x": 1, "ui": "odd", "ui/resourceUri": 5}}),
        (
            {"_meta": {"x": 1, "ui": {"resourceUri": "ui://p", "visibility": ["app"]}}},
            {"_meta": {"x": 1, "ui": {"resourceUri": "ui://s+p", "visibility": ["app"]}}},
        ),
        ({"_meta": {"ui/resourceUri": "ui://p"}}, {"_meta": {"ui/resourceUri": "ui://s+p"}}),
    ],
)
def test_a_definition_links_to_public_app_resources_only(given: Any, wanted: Any) -> None:
    before = repr(given)
    assert publish_definition(given, rename) == wanted
    assert repr(given) == before


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            {"contents": [{"uri": "a://1", "text": "see a://1"}, {"uri": 5}, "odd"], "big": 2**70},
            {"contents": [{"uri": "s+a://1", "text": "see a://1"}, {"uri": 5}, "odd"], "big": 2**70},
        ),
        (
            {"content": [{"type": "resource_link", "uri": "a://1", "x": 1}, {"type": "text", "text": "a://1"}]},
            {"content": [{"type": "resource_link", "uri": "s+a://1", "x": 1}, {"type": "text", "text": "a://1"}]},
        ),
        (
            {"content": [{"type": "resource", "resource": {"uri": "a://1", "blob": ""}}]},
            {"content": [{"type": "resource", "resource": {"uri": "s+a://1", "blob": ""}}]},
        ),
        (
            {"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "a://1"}}}]},
            {"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "s+a://1"}}}]},
        ),
    ],
)
def test_structured_uris_of_a_result_are_published_and_texts_are_not(given: Any, wanted: Any) -> None:
    before = repr(given)
    assert publish_result(given, rename) == wanted
    assert repr(given) == before


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"content": "a://1"},
        {"content": [{"type": "resource", "resource": {"uri": 1}}, {"type": "resource", "resource": "odd"}]},
        {"content": [{"type": "resource_link"}], "structuredContent": {"uri": "a://1"}},
        {"messages": [{"role": "user", "content": {"type": "text", "text": "a://1"}}, "odd"]},
    ],
)
def test_a_result_without_structured_uris_is_the_same_object(given: Any) -> None:
    assert publish_result(given, rename) is given

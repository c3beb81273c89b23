"""Names and uris round-trip, stay within their cap, never collide, and depend on no other server."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from hub.core.names import NAME_CAP, SERVER_ID, public_name, public_uri, split_name, split_uri

servers = st.from_regex(SERVER_ID, fullmatch=True)
plain = st.from_regex(re.compile(r"[A-Za-z0-9_-]{1,20}"), fullmatch=True)
natives = st.one_of(plain, st.text(max_size=80), st.text(alphabet="ab._- ", min_size=1, max_size=60))
uris = st.one_of(
    st.text(max_size=60),
    st.builds("{}://{}".format, st.sampled_from(["file", "ui", "doc", "https", "UI"]), st.text(max_size=40)),
    st.builds("doc://{}{{{}}}".format, st.text(max_size=10), st.sampled_from(["id", "+path", "?a,b", "/seg*"])),
)


@given(servers, plain)
def test_plain_names_round_trip(server: str, native: str) -> None:
    assert split_name(public_name(server, native)) == (server, native)


@given(servers, natives, st.integers(min_value=40, max_value=64))
def test_every_public_name_is_plain_capped_and_leads_back_to_its_server(server: str, native: str, cap: int) -> None:
    public = public_name(server, native, cap)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", public)
    assert len(public) <= cap
    found = split_name(public)
    assert found is not None
    assert found[0] == server


@given(st.lists(st.tuples(servers, natives), unique=True, max_size=30))
def test_different_items_have_different_public_names(pairs: list[tuple[str, str]]) -> None:
    assert len({public_name(server, native) for server, native in pairs}) == len(pairs)


@given(servers, natives, st.lists(st.tuples(servers, natives), max_size=5))
def test_a_name_depends_on_no_other_server(server: str, native: str, others: list[tuple[str, str]]) -> None:
    before = public_name(server, native)
    for other in others:
        public_name(*other)
    assert public_name(server, native) == before
    assert len(before) <= NAME_CAP


@given(servers, uris)
def test_uris_round_trip_and_app_uris_keep_their_scheme(server: str, uri: str) -> None:
    public = public_uri(server, uri)
    assert split_uri(public) == (server, uri)
    assert public.startswith("ui://") is uri.startswith("ui://")


@given(st.lists(st.tuples(servers, uris), unique=True, max_size=30))
def test_different_resources_have_different_public_uris(pairs: list[tuple[str, str]]) -> None:
    assert len({public_uri(server, uri) for server, uri in pairs}) == len(pairs)

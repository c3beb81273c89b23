"""What a `WWW-Authenticate` is taken to say, and that one that fits no grammar says nothing."""

from __future__ import annotations

import pytest

from hub.identity.outbound.challenge import MAX_HEADER, Challenge, challenge
from hub.identity.outbound.parties import MAX_SCOPES

PLACE = "https://s.example/.well-known/oauth-protected-resource/mcp"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, Challenge()),
        ("", Challenge()),
        ("Bearer", Challenge()),
        (f'Bearer resource_metadata="{PLACE}"', Challenge(PLACE)),
        (f'bearer scope="a b", Resource_Metadata = "{PLACE}"', Challenge(PLACE, ("a", "b"))),
        ('Bearer error=insufficient_scope, scope="a"', Challenge(None, ("a",), "insufficient_scope")),
        ('Bearer realm="a, \\"b\\" scope=\\"x\\"", scope="c"', Challenge(None, ("c",))),
        ('Basic realm="x", Bearer scope="a"', Challenge(None, ("a",))),
        ('Negotiate dG9r==, Bearer scope="a", DPoP algs="ES256"', Challenge(None, ("a",))),
        ('Basic, ,, Bearer scope="a"', Challenge(None, ("a",))),
        ('Bearer scope="a", Bearer scope="b"', Challenge(None, ("a",))),
        ('Bearer scope="a a  b"', Challenge(None, ("a", "b"))),
        ('DPoP resource_metadata="https://s.example/x"', Challenge()),
        ('Basic realm="Bearer scope=evil"', Challenge()),
    ],
)
def test_the_first_bearer_challenge_is_read(header: str | None, said: Challenge) -> None:
    assert challenge(header) == said


@pytest.mark.parametrize(
    "header",
    [
        'Bearer scope="a", scope="b"',
        'Bearer scope="a',
        'Bearer scope="a" error="b"',
        'Foo Bearer scope="a"',
        'Bearer scope="a\nb"',
        'Bearer scope="a\\"',
        '"Bearer scope=a',
        'Bearer scope="a", =x',
        f'Bearer realm="{"a" * MAX_HEADER}", scope="b"',
        'Bearer scope="a \\"b\\""',
        f'Bearer scope="{" ".join(map(str, range(MAX_SCOPES + 1)))}"',
    ],
)
def test_a_header_that_can_be_read_in_two_ways_says_nothing(header: str) -> None:
    assert challenge(header) == Challenge()


def test_only_insufficient_scope_asks_for_a_better_token() -> None:
    assert challenge('Bearer error="insufficient_scope"').is_step_up
    assert not challenge('Bearer error="invalid_token"').is_step_up
    assert not challenge("Bearer").is_step_up


def test_a_header_made_to_be_read_for_long_says_nothing() -> None:
    for part in ('a="', "a=b,", 'a="\\"', "a ", "Bearer ", ",", "\t"):
        assert challenge((part * MAX_HEADER)[:MAX_HEADER]) == Challenge()

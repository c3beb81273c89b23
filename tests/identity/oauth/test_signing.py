from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hub.identity.oauth.signing import TURN_S, SigningFailed, SigningKeys
from tests.identity.oauth.world import Clock, World, good


def keys(path: Path, clock: Clock) -> SigningKeys:
    made = SigningKeys(path, 600.0, clock)
    made.load()
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "oauth-signing.json"


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    keys(path, Clock())
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o644)
    keys(path, Clock())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_start_keeps_key_and_mark(path: Path) -> None:
    one, other = keys(path, Clock()), keys(path, Clock())
    assert one.current()[0] == other.current()[0]
    assert (one.mark(), len(one.mark())) == (other.mark(), 32)


def test_jwks_tells_public_keys_only_by_their_thumbprint(path: Path) -> None:
    clock = Clock()
    made = keys(path, clock)
    clock.go(TURN_S)
    assert made.turn()
    told = made.jwks()["keys"]
    assert [key["kid"] for key in told] == [made.current()[0], told[1]["kid"]]
    for key in told:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        public = made.public(key["kid"])
        assert public is not None
        assert key["kid"] == public.thumbprint()


def test_of_a_key_that_was_replaced_the_private_half_is_gone_from_the_disk(path: Path) -> None:
    clock = Clock()
    made = keys(path, clock)
    clock.go(TURN_S)
    made.turn()
    newest, before = json.loads(path.read_bytes())["keys"]
    assert ("d" in newest["jwk"], "d" in before["jwk"]) == (True, False)


async def test_tokens_of_the_key_before_stay_good_until_the_last_has_expired(world: World) -> None:
    client = await world.client()
    world.clock.go(TURN_S - 1)
    made = await world.login(client)
    old = world.signing.current()[0]
    world.clock.go(1)
    await world.server.tend()
    assert world.signing.current()[0] != old
    assert await world.is_good(made["access_token"])
    await world.start()
    assert await world.is_good(made["access_token"])
    new = good(await world.refresh(client, made["refresh_token"]))
    assert await world.is_good(new["access_token"])
    world.clock.go(659)
    await world.server.tend()
    assert old in [key["kid"] for key in world.server.jwks()["keys"]]
    world.clock.go(1)
    await world.server.tend()
    assert [key["kid"] for key in world.server.jwks()["keys"]] == [world.signing.current()[0]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"keys":[]}',
        '{"keys":[{"jwk":{"kty":"oct","k":"AA"},"made":1}],"mark":"AA=="}',
        '{"keys":7,"mark":"x"}',
        '{"keys":[{"jwk":null,"made":true}],"mark":null}',
    ],
)
def test_a_damaged_file_is_made_anew(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    made = keys(path, Clock())
    assert keys(path, Clock()).current()[0] == made.current()[0]


def test_a_clock_that_was_set_back_makes_a_new_key(path: Path) -> None:
    clock = Clock()
    made = keys(path, clock)
    before = made.current()[0]
    clock.go(-3600)
    assert made.turn()
    assert made.current()[0] != before
    assert made.public(before) is not None


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(SigningFailed, match=r"oauth-signing\.json"):
        keys(tmp_path / "keys" / "oauth-signing.json", Clock())


def test_what_a_killed_attempt_left_is_written_over(path: Path) -> None:
    path.parent.mkdir()
    path.with_name(f".{path.name}.new").write_text("half")
    keys(path, Clock())
    assert os.listdir(path.parent) == [path.name]


def test_no_key_is_shown(path: Path) -> None:
    made = keys(path, Clock())
    secret = json.loads(path.read_bytes())["keys"][0]["jwk"]["d"]
    assert secret not in repr((made, vars(made), made.jwks()))

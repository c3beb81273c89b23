from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hub.identity.tokens import MAX_LENGTH, LocalTokens, local_tokens

CLIENT, ADMIN = "c" * 32, "a" * 32
BOTH = {"MCP_HUB_TOKEN": CLIENT, "MCP_HUB_ADMIN_TOKEN": ADMIN}


def test_tokens_of_the_environment_are_taken_and_nothing_is_written(tmp_path: Path) -> None:
    assert local_tokens(tmp_path, BOTH) == LocalTokens(CLIENT, ADMIN)
    assert list(tmp_path.iterdir()) == []


def test_tokens_are_made_once_and_kept_for_their_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "deep" / "data"
    made = local_tokens(data_dir, {})
    assert local_tokens(data_dir, {}) == made
    assert made.client != made.admin
    assert min(len(made.client), len(made.admin)) >= 32
    modes = {path.name: path.stat().st_mode & 0o777 for path in (data_dir / "tokens").iterdir()}
    assert modes == {"client": 0o600, "admin": 0o600}
    assert (data_dir / "tokens").stat().st_mode & 0o777 == 0o700
    assert data_dir.stat().st_mode & 0o077 == 0


def test_one_token_of_the_environment_leaves_the_other_to_the_file(tmp_path: Path) -> None:
    tokens = local_tokens(tmp_path, {"MCP_HUB_ADMIN_TOKEN": ADMIN})
    assert tokens.admin == ADMIN
    assert tokens.client == (tmp_path / "tokens" / "client").read_text()
    assert not (tmp_path / "tokens" / "admin").exists()


def test_a_file_that_others_may_read_is_tightened(tmp_path: Path) -> None:
    first = local_tokens(tmp_path, {})
    file = tmp_path / "tokens" / "client"
    file.chmod(0o644)
    file.parent.chmod(0o755)
    assert local_tokens(tmp_path, {}) == first
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        ("", "at least 32"),
        ("x" * 31, "at least 32"),
        ("x" * (MAX_LENGTH + 1), "may have 512"),
        ("x" * 31 + " ", "blanks"),
        ("x" * 31 + "é", "ASCII"),
        ("x" * 31 + "\n", "blanks"),
    ],
)
@pytest.mark.parametrize("variable", ["MCP_HUB_TOKEN", "MCP_HUB_ADMIN_TOKEN"])
def test_an_unfit_token_names_its_variable_and_the_rule_not_itself(
    tmp_path: Path, variable: str, token: str, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule) as told:
        local_tokens(tmp_path, {**BOTH, variable: token})
    assert variable in str(told.value)
    assert "xxx" not in str(told.value)


def test_both_tokens_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MCP_HUB_TOKEN and MCP_HUB_ADMIN_TOKEN are the same") as told:
        local_tokens(tmp_path, {"MCP_HUB_TOKEN": CLIENT, "MCP_HUB_ADMIN_TOKEN": CLIENT})
    assert CLIENT not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_spoilt_file_is_named_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    local_tokens(tmp_path, {})
    (tmp_path / "tokens" / "admin").write_bytes(content)
    with pytest.raises(ValueError, match="delete the file") as told:
        local_tokens(tmp_path, {})
    assert str(tmp_path / "tokens" / "admin") in str(told.value)


def test_processes_that_start_at_once_agree_on_one_token(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    seen: list[LocalTokens] = []

    def start() -> None:
        barrier.wait(5)
        seen.append(local_tokens(tmp_path, {}))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == ["admin", "client"]


def test_tokens_do_not_show_when_printed() -> None:
    assert CLIENT not in repr(LocalTokens(CLIENT, ADMIN))
    assert ADMIN not in repr(LocalTokens(CLIENT, ADMIN))

"""Stored secrets: what is on disk opens with the vault's key alone, in its own row alone, whatever was cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from hub.core.ports import SecretRow
from hub.identity.kek import KekFile, VaultSealed, kek_id
from hub.identity.vault import MAX_VALUE_BYTES, UnknownSecret, Vault
from hub.stores.memory.secrets import MemorySecrets

VALUE = "s3cret-canary-é"


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


async def fresh(folder: Path, store: MemorySecrets | None = None, clock: Clock | None = None) -> Vault:
    vault = Vault(store or MemorySecrets(), KekFile(folder / "kek"), clock or Clock())
    await vault.load()
    return vault


async def rows(store: MemorySecrets) -> dict[str, SecretRow]:
    return {row.name: row for row in await store.all("local")}


async def test_a_secret_is_told_to_who_asks_by_name_now_and_after_a_restart(tmp_path: Path) -> None:
    store = MemorySecrets()
    vault = await fresh(tmp_path, store)
    row = await vault.put("jira", VALUE)
    assert (row.version, row.created_at, row.updated_at) == (1, "2026-09-21T14:13:20.000Z", "2026-09-21T14:13:20.000Z")
    for now in (vault, await fresh(tmp_path, store)):
        assert (now.get("jira"), now.get("wiki"), now.names()) == (VALUE, None, ("jira",))
        assert now.rows() == (row,)


async def test_nothing_on_disk_holds_the_value_or_anything_that_opens_it(tmp_path: Path) -> None:
    store = MemorySecrets()
    vault = await fresh(tmp_path, store)
    await vault.put("jira", VALUE)
    [row] = await store.all("local")
    key = (tmp_path / "kek").read_bytes()
    assert VALUE.encode() not in row.sealed
    assert key not in (row.sealed_key, row.sealed, row.nonce)
    assert (tmp_path / "kek").stat().st_mode & 0o777 == 0o600
    assert VALUE not in repr(row)


async def test_the_key_is_made_with_the_first_secret_and_not_before(tmp_path: Path) -> None:
    vault = await fresh(tmp_path)
    assert list(tmp_path.iterdir()) == []
    await vault.put("a", "1")
    made = (tmp_path / "kek").read_bytes()
    await vault.put("b", "2")
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]
    assert (tmp_path / "kek").read_bytes() == made


async def test_a_new_value_is_a_new_version_sealed_anew(tmp_path: Path) -> None:
    clock = Clock()
    vault = await fresh(tmp_path, clock=clock)
    old = await vault.put("jira", VALUE)
    clock.now += 60
    new = await vault.put("jira", VALUE)
    assert (new.version, new.created_at) == (2, old.created_at)
    assert new.updated_at == "2026-09-21T14:14:20.000Z"
    assert len({old.nonce, new.nonce, old.key_nonce, new.key_nonce}) == 4
    assert old.sealed != new.sealed


@pytest.mark.parametrize(
    "moved",
    [
        {"name": "wiki"},
        {"version": 2},
        {"sealed": b"\0" * 40},
        {"sealed_key": b"\0" * 48},
        {"nonce": b"\0" * 12},
        {"key_nonce": b"\0" * 12},
    ],
)
async def test_a_ciphertext_in_another_place_or_changed_does_not_open(tmp_path: Path, moved: dict[str, object]) -> None:
    store = MemorySecrets()
    row = await (await fresh(tmp_path, store)).put("jira", VALUE)
    await store.remove("local", "jira")
    forged = replace(row, **moved)  # type: ignore[arg-type]
    await store.put((forged,))
    vault = Vault(store, KekFile(tmp_path / "kek"))
    with pytest.raises(VaultSealed, match=f"secrets set {forged.name}") as caught:
        await vault.load()
    assert VALUE not in str(caught.value)
    assert vault.get(forged.name) is None
    assert vault.names() == (forged.name,)


async def test_swapped_rows_are_detected_and_the_others_open(tmp_path: Path) -> None:
    store = MemorySecrets()
    first = await fresh(tmp_path, store)
    for name in ("admin", "guest", "other"):
        await first.put(name, f"value of {name}")
    found = await rows(store)
    await store.put((replace(found["admin"], name="guest"), replace(found["guest"], name="admin")))
    vault = Vault(store, KekFile(tmp_path / "kek"))
    with pytest.raises(VaultSealed, match=r"admin.*guest"):
        await vault.load()
    assert [vault.get(name) for name in ("admin", "guest", "other")] == [None, None, "value of other"]
    await vault.put("admin", "again")  # as the words say
    await vault.remove("guest")
    await vault.load()
    assert vault.get("admin") == "again"


async def test_many_that_do_not_open_are_told_in_few_words(tmp_path: Path) -> None:
    store = MemorySecrets()
    first = await fresh(tmp_path, store)
    for number in range(5):
        row = await first.put(f"s{number}", "x")
        await store.put((replace(row, version=9),))
    with pytest.raises(VaultSealed, match=r"\(and 2 more\)$"):
        await Vault(store, KekFile(tmp_path / "kek")).load()


async def test_without_its_key_nothing_opens_and_nothing_is_sealed_with_another(tmp_path: Path) -> None:
    store = MemorySecrets()
    await (await fresh(tmp_path, store)).put("jira", VALUE)
    (tmp_path / "kek").unlink()
    vault = Vault(store, KekFile(tmp_path / "kek"))
    with pytest.raises(VaultSealed, match=r"is missing.*restore it from a backup"):
        await vault.load()
    assert vault.get("jira") is None
    with pytest.raises(VaultSealed, match="is missing"):
        await vault.put("wiki", "x")
    with pytest.raises(VaultSealed, match="does not open"):
        await vault.rekey()
    assert list(tmp_path.iterdir()) == []
    await vault.remove("jira")
    await vault.put("jira", "anew")
    assert (await fresh(tmp_path, store)).get("jira") == "anew"


async def test_another_vaults_key_opens_nothing(tmp_path: Path) -> None:
    store = MemorySecrets()
    await (await fresh(tmp_path, store)).put("jira", VALUE)
    (tmp_path / "kek").write_bytes(b"x" * 32)
    with pytest.raises(VaultSealed, match="another vault key"):
        await Vault(store, KekFile(tmp_path / "kek")).load()


async def test_a_damaged_key_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "kek").write_bytes(b"short")
    with pytest.raises(VaultSealed, match="5 bytes instead of 32"):
        await fresh(tmp_path)


async def test_a_key_that_cannot_be_read_or_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "kek").mkdir()
    with pytest.raises(VaultSealed, match="cannot be read"):
        await fresh(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(VaultSealed, match="cannot be written"):
        KekFile(tmp_path / "file" / "kek").make()


async def test_a_key_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    store = MemorySecrets()
    await (await fresh(tmp_path, store)).put("jira", VALUE)
    (tmp_path / "kek").chmod(0o644)
    assert (await fresh(tmp_path, store)).get("jira") == VALUE
    assert (tmp_path / "kek").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("", "x", "no name"),
        ("a b", "x", "no name"),
        ("a\n", "x", "no name"),
        ("../kek", "x", "no name"),
        ("x" * 65, "x", "at most 64"),
        ("a", "", "empty"),
        ("a", "s3c\0ret", "NUL"),
        ("a", "s3c\ud800ret", "UTF-8"),
        ("a", "s3cret" * MAX_VALUE_BYTES, "at most 16384"),
    ],
)
async def test_what_may_not_be_is_refused_without_its_value(tmp_path: Path, name: str, value: str, words: str) -> None:
    store = MemorySecrets()
    vault = await fresh(tmp_path, store)
    with pytest.raises(ValueError, match=words) as caught:
        await vault.put(name, value)
    assert "s3c" not in str(caught.value)
    assert await store.all("local") == ()


async def test_removing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    vault = await fresh(tmp_path)
    with pytest.raises(UnknownSecret, match="no secret is called 'jira'"):
        await vault.remove("jira")


@pytest.mark.parametrize("before", [None, "old"])
async def test_a_put_can_be_undone(tmp_path: Path, before: str | None) -> None:
    store = MemorySecrets()
    vault = await fresh(tmp_path, store)
    row = await vault.put("jira", before) if before else None
    await vault.put("jira", "new")
    await vault.undo("jira", row)
    for now in (vault, await fresh(tmp_path, store)):
        assert (now.get("jira"), now.rows()) == (before, (row,) if row else ())


async def test_what_somebody_else_stored_or_removed_meanwhile_is_not_undone(tmp_path: Path) -> None:
    vault = await fresh(tmp_path)
    old = await vault.put("jira", "old")
    await vault.put("jira", "new")
    await vault.put("jira", "another's")
    await vault.undo("jira", old)
    assert vault.get("jira") == "another's"
    await vault.remove("jira")
    await vault.undo("jira", old)
    assert vault.names() == ()


async def test_what_was_sealed_with_a_key_that_is_gone_is_not_put_back(tmp_path: Path) -> None:
    vault = await fresh(tmp_path)
    old = await vault.put("jira", "old")
    await vault.put("jira", "new")
    await vault.rekey()
    with pytest.raises(VaultSealed):
        await vault.undo("jira", old)
    assert vault.get("jira") == "new"


async def test_rekey_seals_every_data_key_anew_and_nothing_else(tmp_path: Path) -> None:
    store = MemorySecrets()
    vault = await fresh(tmp_path, store)
    for name in ("a", "b"):
        await vault.put(name, f"value of {name}")
    before, old = await rows(store), (tmp_path / "kek").read_bytes()
    id, count = await vault.rekey()
    after, new = await rows(store), (tmp_path / "kek").read_bytes()
    assert (id, count) == (kek_id(new), 2)
    assert new != old
    assert {row.kek for row in after.values()} == {id}
    for name, row in after.items():
        assert replace(row, key_nonce=b"", sealed_key=b"", kek="") == replace(
            before[name], key_nonce=b"", sealed_key=b"", kek=""
        )
        assert row.sealed_key != before[name].sealed_key
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]
    again = await fresh(tmp_path, store)
    assert [again.get(name) for name in ("a", "b")] == ["value of a", "value of b"]


async def test_rekey_of_an_empty_vault_makes_a_key(tmp_path: Path) -> None:
    assert (await (await fresh(tmp_path)).rekey())[1] == 0
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]


class StoppingKek(KekFile):
    """Dies before the new key takes the old one's place."""

    def promote(self) -> None:
        raise RuntimeError("killed")


class StoppingStore(MemorySecrets):
    def __init__(self, written: bool) -> None:
        super().__init__()
        self.written, self.stops = written, False

    async def put(self, rows: Sequence[SecretRow]) -> None:
        if not self.stops or self.written:
            await super().put(rows)
        if self.stops:
            raise OSError("the disk went away")


async def test_a_rekey_that_stops_before_the_write_leaves_the_old_key_in_force(tmp_path: Path) -> None:
    store = StoppingStore(written=False)
    vault = await fresh(tmp_path, store)
    await vault.put("jira", VALUE)
    old, store.stops = (tmp_path / "kek").read_bytes(), True
    with pytest.raises(OSError, match="disk"):
        await vault.rekey()
    assert (tmp_path / "kek.next").exists()
    store.stops = False
    assert (await fresh(tmp_path, store)).get("jira") == VALUE
    assert (tmp_path / "kek").read_bytes() == old
    assert not (tmp_path / "kek.next").exists()


@pytest.mark.parametrize("restart", [True, False])
async def test_a_rekey_that_stops_after_the_write_is_finished_later(tmp_path: Path, restart: bool) -> None:
    store = StoppingStore(written=True)
    vault = await fresh(tmp_path, store)
    await vault.put("jira", VALUE)
    store.stops = True
    with pytest.raises(OSError, match="disk"):
        await vault.rekey()
    staged, store.stops = (tmp_path / "kek.next").read_bytes(), False
    if restart:
        vault = await fresh(tmp_path, store)
    else:  # the hub goes on: it may store more before it tries again
        await vault.put("wiki", "w")
        assert (await vault.rekey())[1] == 2
    assert (tmp_path / "kek").read_bytes() == staged
    assert not (tmp_path / "kek.next").exists()
    assert (await fresh(tmp_path, store)).get("jira") == vault.get("jira") == VALUE


async def test_while_both_keys_are_in_use_both_are_kept(tmp_path: Path) -> None:
    store = StoppingStore(written=True)
    vault = await fresh(tmp_path, store)
    await vault.put("jira", VALUE)
    store.stops = True
    with pytest.raises(OSError, match="disk"):
        await vault.rekey()
    store.stops = False
    await vault.put("wiki", "w")  # with the key that rules still
    again = await fresh(tmp_path, store)
    assert (again.get("jira"), again.get("wiki")) == (VALUE, "w")
    assert (tmp_path / "kek.next").exists()
    await again.rekey()
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]


async def test_a_rekey_that_stops_before_its_last_step_is_finished_by_the_next_start(tmp_path: Path) -> None:
    store = MemorySecrets()
    vault = Vault(store, StoppingKek(tmp_path / "kek"))
    await vault.put("jira", VALUE)
    with pytest.raises(RuntimeError):
        await vault.rekey()
    assert (await fresh(tmp_path, store)).get("jira") == VALUE
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]


async def test_what_a_killed_attempt_left_beside_the_key_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".kek.new").write_bytes(b"half")
    await (await fresh(tmp_path)).put("jira", VALUE)
    assert [file.name for file in tmp_path.iterdir()] == ["kek"]


class SlowStore(MemorySecrets):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.reached = asyncio.Event(), asyncio.Event()

    async def put(self, rows: Sequence[SecretRow]) -> None:
        self.reached.set()
        await self.gate.wait()
        await super().put(rows)


async def test_a_write_is_seen_through_when_its_caller_goes_away(tmp_path: Path) -> None:
    store = SlowStore()
    vault = await fresh(tmp_path, store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(vault.put, "jira", VALUE)
        with anyio.fail_after(5):
            await store.reached.wait()
        tasks.cancel_scope.cancel()
        store.gate.set()
    assert vault.get("jira") == VALUE
    assert len(await store.all("local")) == 1


async def test_writes_at_once_come_one_after_another(tmp_path: Path) -> None:
    store = MemorySecrets()
    vault = await fresh(tmp_path, store)
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(vault.put, "jira", f"value {number}")
            tasks.start_soon(vault.rekey)
    [row] = await store.all("local")
    assert row.version == 8
    assert (await fresh(tmp_path, store)).get("jira") == vault.get("jira")


async def test_a_full_vault_takes_new_values_but_no_new_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.identity.vault.MAX_SECRETS", 1)
    vault = await fresh(tmp_path)
    await vault.put("a", "1")
    await vault.put("a", "2")
    with pytest.raises(ValueError, match="full"):
        await vault.put("b", "1")

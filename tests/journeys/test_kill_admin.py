"""kill -9 during the writes of administrators, again and again: nothing half-done, nothing acknowledged lost."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hub.audit.read import MAX_LIMIT, check_chain, read_entries
from hub.core.ports import KeyRow
from hub.identity.kek import KekFile, kek_id
from hub.identity.keys import Keys
from hub.identity.vault import Vault
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.secrets import SqliteSecrets
from tests.equipment import ROOT

ROUNDS: Final = 25
MOST: Final = 14  # acts acknowledged before a kill
ROUND_S: Final = 30.0

# Acts as the verbs do, each begun and acknowledged on a line of its own, for ever.
ADMINISTRATOR: Final = """
import asyncio, json, sys
from datetime import timedelta
from pathlib import Path
from hub.admin.keys import KeyDesk
from hub.admin.secrets import SecretDesk
from hub.audit.writer import AuditLog
from hub.identity.kek import KekFile
from hub.identity.keys import Keys
from hub.identity.vault import Vault
from hub.running import DataDir
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.keys import SqliteKeys
from hub.stores.sqlite.secrets import SqliteSecrets

def say(**told):
    print(json.dumps(told), flush=True)

async def main(folder, round):
    data = DataDir(folder)
    data.lock("an administrator")
    database = await open_database(folder / "hub.db")
    journal = AuditLog(folder / "audit.db", policy_version="1", hmac_key=data.key("audit-hmac"))
    await journal.start()
    keys, vault = Keys(SqliteKeys(database)), Vault(SqliteSecrets(database), KekFile(folder / "kek"))
    await keys.load()
    await vault.load()
    desk, secrets = KeyDesk(keys, journal, ()), SecretDesk(vault, journal, dict)
    number = 0
    while True:
        number += 1
        name, value = f"s{number % 3}", f"value {round}.{number}"
        say(begun="set", name=name, value=value)
        await secrets.put("admin", name, value)
        say(done="set", name=name, value=value)
        say(begun="rekey")
        say(done="rekey", kek=(await secrets.rekey("admin"))["kek"])
        key = f"k{round}.{number}"
        say(begun="create")
        say(done="create", id=(await desk.create("admin", {"name": key}))["id"])
        say(begun="rotate")
        made = await desk.rotate("admin", key, timedelta(hours=1))
        say(done="rotate", id=made["id"], old=made["replaces"]["id"])
        say(begun="rekey")
        say(done="rekey", kek=(await secrets.rekey("admin"))["kek"])

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@dataclass
class Known:
    """What was acknowledged before the kills, and what may or may not have been done."""

    values: dict[str, str] = field(default_factory=dict)
    maybe: tuple[str, str] | None = None  # a name and a value on their way when the process died
    keys: set[str] = field(default_factory=set)
    successors: dict[str, str] = field(default_factory=dict)
    keks: set[str] = field(default_factory=set)
    acts: int = 0

    def hear(self, told: dict[str, Any]) -> None:
        if "begun" in told:
            self.maybe = (told["name"], told["value"]) if told["begun"] == "set" else None
            return
        self.acts += 1
        match told["done"]:
            case "set":
                self.values[told["name"]], self.maybe = told["value"], None
            case "create":
                self.keys.add(told["id"])
            case "rotate":
                self.keys.add(told["id"])
                self.successors[told["old"]] = told["id"]
            case _:
                self.keks.add(told["kek"])


async def administer_until_killed(folder: Path, round: int, known: Known, chance: random.Random) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ADMINISTRATOR, str(folder), str(round)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    end, most = known.acts + chance.randint(1, MOST), chance.random() * 0.004
    try:
        async with asyncio.timeout(ROUND_S):
            while known.acts < end:
                line = await child.stdout.readline()
                assert line, "the administrator ended by itself"
                known.hear(json.loads(line))
            await asyncio.sleep(most)  # anywhere within the next act
            child.kill()
            while line := await child.stdout.readline():
                known.hear(json.loads(line))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def check_keys(rows: tuple[KeyRow, ...], known: Known) -> None:
    ids = {row.id for row in rows}
    assert known.keys <= ids, "an acknowledged key is gone"
    assert all(row.replaced_by is None or row.replaced_by in ids for row in rows), "half a rotation"
    assert all((row.replaced_by is None) is (row.expires_at is None) for row in rows), "half a rotation"
    assert known.successors.items() <= {row.id: row.replaced_by for row in rows}.items()
    assert all(row.revoked_at is None for row in rows)


def check_log(log: Path, known: Known) -> None:
    report = check_chain(log)
    assert report.ok, report
    entries: list[dict[str, Any]] = []
    while page := read_entries(log, after_seq=entries[-1]["seq"] if entries else 0, limit=MAX_LIMIT):
        entries += page
    details = [entry["detail"] for entry in entries if entry["kind"] == "admin"]
    after = [detail["after"] for detail in details if "after" in detail]
    assert known.keys <= {told["id"] for told in after if "id" in told}
    assert known.keks <= {told["kek"] for told in after if "kek" in told}


async def check(folder: Path, known: Known) -> int:
    """All of it opens and fits together; how many secrets there are."""
    kek = KekFile(folder / "kek")
    database = await open_database(folder / "hub.db")
    try:
        keys, vault = Keys(SqliteKeys(database)), Vault(SqliteSecrets(database), kek)
        await keys.load()
        await vault.load()
    finally:
        await database.aclose()
    found = {name: vault.get(name) for name in vault.names()}
    if known.maybe is not None and found.get(known.maybe[0]) == known.maybe[1]:
        known.values[known.maybe[0]] = known.maybe[1]  # done, but not said
    known.maybe = None
    assert found == known.values
    current = kek.current()
    assert {row.kek for row in vault.rows()} <= ({kek_id(current)} if current is not None else set())
    assert not (folder / "kek.next").exists()
    check_keys(keys.rows(), known)
    check_log(folder / "audit.db", known)
    with closing(sqlite3.connect(folder / "hub.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return len(found)


async def test_twenty_five_kills_during_admin_writes_leave_everything_consistent(tmp_path: Path) -> None:
    folder, known, chance = tmp_path / "data", Known(), random.Random(7)
    for round in range(ROUNDS):
        await administer_until_killed(folder, round, known, chance)
        secrets = await check(folder, known)
    assert secrets == 3
    assert known.acts >= ROUNDS
    assert len(known.keks) >= ROUNDS
    assert not [file for file in folder.iterdir() if b"value 24." in (file.read_bytes() if file.is_file() else b"")]

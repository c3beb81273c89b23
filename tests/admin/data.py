"""A data directory as a hub leaves it: keys, a vault, a log, local tokens. For tests of what looks at one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from hub.audit.writer import AuditLog
from hub.core.ports import KeyRow, SecretRow
from hub.stores.sqlite.database import open_database
from hub.stores.sqlite.keys import SqliteKeys

CANARY = b"canary-that-no-file-may-hold-twice"
KEK = b"k" * 32
AT = "2026-01-01T00:00:00.000Z"


async def made(folder: Path, entries: int = 5) -> Path:
    """Of the newest schema, with one key, one secret and a log of some entries."""
    folder.mkdir(mode=0o700)
    for name, data in (("keys/audit-hmac", b"h" * 32), ("keys/cursors", b"c" * 32), ("tokens/client", b"t" * 43)):
        (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
        private(folder / name, data)
    private(folder / "kek", KEK)
    database = await open_database(folder / "hub.db")
    await SqliteKeys(database).add(KeyRow("k1", "local", "ci", "ab", ("mcp",), ("*",), None, AT))
    await database.aclose()
    add_secret(folder / "hub.db", "WIKI_TOKEN", KEK)
    await written(folder, entries)
    return folder


async def written(folder: Path, entries: int) -> None:
    """Lengthen its log."""
    log = AuditLog(folder / "audit.db", policy_version="p1", hmac_key=b"h" * 32)
    await log.start()
    for number in range(entries):
        await log.event("admin", "local:admin", "done", None, {"act": f"act-{number}"})
    await log.aclose()


def private(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def add_secret(path: Path, name: str, kek: bytes) -> SecretRow:
    row = SecretRow("local", name, 1, b"n" * 12, CANARY, b"m" * 12, b"s" * 48, sha256(kek).hexdigest()[:12], AT, AT)
    values = (row.tenant, row.name, row.version, row.nonce, row.sealed, row.key_nonce, row.sealed_key, row.kek)
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"INSERT INTO secrets VALUES ({', '.join('?' * 10)})", (*values, AT, AT))
        file.commit()
    return row


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute(query).fetchall()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute(statement)
        file.commit()


def acts(path: Path) -> list[str]:
    """What the log says was administered, oldest first."""
    lines = [json.loads(str(line)) for (line,) in rows(path, "SELECT line FROM entries ORDER BY seq")]
    return [line["detail"]["act"] for line in lines if line["kind"] == "admin"]

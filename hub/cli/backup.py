"""`mcp-hub backup`: the data directory as one file. Works with the hub running or stopped."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from hub.admin.archive import Manifest
from hub.admin.backup import make_backup
from hub.admin.backups import record, record_of
from hub.audit.writer import AuditLog
from hub.cli.failure import Failed
from hub.cli.hub_client import api
from hub.cli.place import Place, add_config, add_json, place
from hub.cli.screen import note, out, out_json, plain, waiting
from hub.core.errors import HubError
from hub.running import DataDir, Held, StartRefused

WHO: Final = "local:admin"
LOCK_S: Final = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the backup to be made; no file is replaced")
    parser.add_argument(
        "--without-secrets",
        action="store_true",
        help="leave out the vault and its key, the local tokens and the sealing keys",
    )
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    where, target = place(args), Path(args.file).absolute()
    with waiting("copying"):
        manifest, logged = asyncio.run(_backed_up(where, target, not args.without_secrets))
    size = target.stat().st_size
    if args.json:
        out_json({"file": str(target), "bytes": size, "logged": logged, **manifest.shown()})
        return 0
    out(plain(f"{target}: {size} bytes, the log to entry {manifest.audit['head']['seq']}"))
    note("whoever has this file is this hub: it holds its keys" if manifest.secrets else _left_out(manifest))
    if where.path is not None:
        note(f"the configuration {where.path} is not in it")
    return 0


def _left_out(manifest: Manifest) -> str:
    again = [str(manifest.left_out["tokens"])]
    again += [f"the secret {name}: mcp-hub secrets set {name}" for name in manifest.left_out["secrets"]]
    return plain("after a restore these have to be set again: " + "; ".join(again))


async def _backed_up(where: Place, target: Path, secrets: bool) -> tuple[Manifest, bool]:
    """Made and noted in the log. What the log does not take is said, and the backup kept: it may be the last one."""
    config = where.config
    data = await asyncio.to_thread(_locked, where)
    try:
        try:
            manifest = await asyncio.to_thread(make_backup, config.data_dir, target, secrets=secrets)
        except HubError as exc:
            raise Failed(str(exc)) from exc
        try:
            await _logged(where, data, record_of(manifest))
        except (Failed, HubError, StartRefused, OSError) as exc:
            note(f"warning: the backup is made, but the log does not tell of it: {plain(str(exc))}")
            return manifest, False
        return manifest, True
    finally:
        if data is not None:
            data.unlock()


def _locked(where: Place) -> DataDir | None:
    """The directory, held so that no hub starts on it meanwhile; None where one runs or is about to."""
    data = DataDir(where.config.data_dir)
    if where.running() is not None or not data.path.is_dir():
        return None
    try:
        data.lock("mcp-hub backup", LOCK_S)
    except Held:  # a hub that starts, or a verb at work: a copy disturbs neither
        return None
    except StartRefused as exc:
        raise Failed(str(exc)) from exc
    return data


async def _logged(where: Place, data: DataDir | None, made: dict[str, Any]) -> None:
    run = where.running()
    if run is not None:
        await asyncio.to_thread(api, run, "POST", "/backups", made)
        return
    if data is None:
        raise Failed(f"{where.config.data_dir} is in use")
    journal = AuditLog(
        where.config.data_dir / "audit.db",
        policy_version=where.config.policy_version,
        hmac_key=data.key("audit-hmac"),
    )
    await journal.start()
    try:
        await record(journal, WHO, made)
    finally:
        await journal.aclose()

"""The two local tokens: the client's, which people paste into their programs, and the admin's.

Taken from the environment, or made once and kept under the data directory. Never logged, never told in an error.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MIN_LENGTH: Final = 32
MAX_LENGTH: Final = 512
CLIENT_VARIABLE: Final = "MCP_HUB_TOKEN"
ADMIN_VARIABLE: Final = "MCP_HUB_ADMIN_TOKEN"


@dataclass(frozen=True, slots=True)
class LocalTokens:
    client: str = field(repr=False)
    admin: str = field(repr=False)


def local_tokens(data_dir: Path, environ: Mapping[str, str]) -> LocalTokens:
    """The tokens in force. Files are made when they are needed, mode 0600 in a directory of mode 0700.

    Raises ValueError, naming the variable or the file and the rule, when a token is not fit or both are the same.
    """
    client = _token(CLIENT_VARIABLE, environ, data_dir / "tokens" / "client")
    admin = _token(ADMIN_VARIABLE, environ, data_dir / "tokens" / "admin")
    if secrets.compare_digest(client, admin):
        raise ValueError(f"{CLIENT_VARIABLE} and {ADMIN_VARIABLE} are the same: whoever calls must not administer")
    return LocalTokens(client, admin)


def _token(variable: str, environ: Mapping[str, str], path: Path) -> str:
    given = environ.get(variable)
    if given is not None:
        return _fit(given, variable)
    kept = _kept(path)
    return _fit(kept, f"the token in {path} (delete the file to get a new one)")


def _fit(token: str, where: str) -> str:
    if len(token) < MIN_LENGTH:
        raise ValueError(f"{where} has {len(token)} characters: it needs at least {MIN_LENGTH}")
    if len(token) > MAX_LENGTH:
        raise ValueError(f"{where} has {len(token)} characters: it may have {MAX_LENGTH}")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{where} holds blanks or characters that are not ASCII: no HTTP header can carry it")
    return token


def _kept(path: Path) -> str:
    """The token in the file, made when there is none; two processes that start at once agree on one."""
    path.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.mkdir(exist_ok=True, mode=0o700)
    _tighten(path.parent, 0o700)
    if not path.exists():
        _make(path)
    _tighten(path, 0o600)
    return path.read_text("ascii", "replace").strip()


def _make(path: Path) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)  # refuses where a file stands: whoever was first has made the token
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)


def _tighten(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 != mode:
        path.chmod(mode)

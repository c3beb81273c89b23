"""References to secrets (`env:X`, `file:PATH`) in the configuration, resolved while it is loaded.

A resolved value is in no message: faults name the reference.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_SECRET_BYTES: Final = 64 * 1024
SECRET_NAME: Final = re.compile(r"(?i)token|secret|passw|api[-_]?key|credential|authorization|private[-_]?key|cookie")
_REFERENCE = re.compile(r"(?:(Bearer|Basic|Token) +)?(env|file|secret):(?!//)(.+)", re.DOTALL)
_SHELL = re.compile(r"\$\{(?:env:)?([^}]*)\}")


class Unresolved(ValueError):
    """A reference that leads nowhere; the text is safe to show."""


class Secrets:
    def __init__(self, environ: Mapping[str, str], folder: Path, *, sealed: bool = False) -> None:
        """`sealed`: references stand for nothing. For programs that start no server and must not need its secrets."""
        self._environ, self._folder, self._sealed = environ, folder, sealed
        self.warnings: list[str] = []

    def resolve(self, text: str, *, worded: bool = False) -> tuple[str, bool]:
        """(the value, whether it was a reference). `worded` lets `Bearer env:X` stand for `Bearer <value>`.

        Raises Unresolved.
        """
        refuse_shell(text)
        found = _REFERENCE.fullmatch(text)
        if found is None or (found[1] and not worded):
            return text, False
        word, kind, name = found.groups()
        if self._sealed:
            return "", True
        match kind:
            case "env":
                value = self._environ.get(name)
                if value is None:
                    raise Unresolved(f"the environment variable {name} is not set; set it before starting the hub")
            case "file":
                value = self._file(name)
            case _:
                raise Unresolved(f"secret:{name}: stored secrets are not built yet; write env:NAME or file:PATH")
        return (f"{word} {value}" if word else value), True

    def _file(self, name: str) -> str:
        path = self._folder / Path(name).expanduser()
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SECRET_BYTES + 1)
                mode = stat.S_IMODE(path.stat().st_mode)
            text = data.decode()
        except OSError as exc:
            raise Unresolved(f"file:{name} cannot be read ({path}): {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise Unresolved(f"file:{name} is not UTF-8 text ({path})") from exc
        if len(data) > MAX_SECRET_BYTES:
            raise Unresolved(f"file:{name} is larger than {MAX_SECRET_BYTES} bytes; this is no secret ({path})")
        if mode & 0o077:
            self.warnings.append(f"{path} holds a secret and others may read it; run: chmod 600 {path}")
        return text.rstrip("\r\n")


def refuse_shell(text: str) -> None:
    """`${VAR}` is another program's spelling; passing it on as it stands would start a server with nonsense."""
    found = _SHELL.search(text)
    if found:
        name = found[1].removeprefix("input:") or "VAR"
        where = "as the whole value of an env, header or url"
        raise Unresolved(f"{found[0]} is not expanded here; write env:{name} {where}")

"""References to secrets (`env:X`, `file:PATH`, `secret:NAME`) in the configuration, resolved while it is loaded.

A resolved value is in no message: faults name the reference.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

MAX_SECRET_BYTES: Final = 64 * 1024
SECRET_NAME: Final = re.compile(r"(?i)token|secret|passw|api[-_]?key|credential|authorization|private[-_]?key|cookie")
_REFERENCE = re.compile(r"(?:(Bearer|Basic|Token) +)?(env|file|secret):(?!//)(.+)", re.DOTALL)
_STORED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ARGUMENT = re.compile(r"(-{0,2}[A-Za-z_][\w.-]*=)?(secret:[A-Za-z0-9._-]{1,64})")
_SHELL = re.compile(r"\$\{(?:env:)?([^}]*)\}")


class Unresolved(ValueError):
    """A reference that leads nowhere; the text is safe to show."""


class Secrets:
    def __init__(
        self,
        environ: Mapping[str, str],
        folder: Path,
        *,
        sealed: bool = False,
        stored: Callable[[str], str | None] | None = None,
    ) -> None:
        """`sealed`: references stand for nothing. For programs that start no server and must not need its secrets.

        `stored` gives the value of a stored secret, None for one that nobody set. Without it `secret:NAME` stands for
        nothing yet: the store is found by the configuration, so that a first reading has to do without it.
        """
        self._environ, self._folder, self._sealed, self._stored = environ, folder, sealed, stored
        self._named: list[str] = []
        self.warnings: list[str] = []

    def named(self) -> tuple[str, ...]:
        """Which stored secrets were referred to since this was last asked."""
        named, self._named = tuple(dict.fromkeys(self._named)), []
        return named

    def resolve(self, text: str, *, worded: bool = False) -> tuple[str, bool]:
        """(the value, whether it was a reference). `worded` lets `Bearer env:X` stand for `Bearer <value>`.

        Raises Unresolved.
        """
        refuse_shell(text)
        found = _REFERENCE.fullmatch(text)
        if found is None or (found[1] and not worded):
            return text, False
        word, kind, name = found.groups()
        if kind == "secret":
            self._named.append(_stored_name(name))
        if self._sealed or (kind == "secret" and self._stored is None):
            return "", True
        match kind:
            case "env":
                value = self._environ.get(name)
                if value is None:
                    raise Unresolved(f"the environment variable {name} is not set; set it before starting the hub")
            case "file":
                value = self._file(name)
            case _:
                value = self._stored(name) if self._stored is not None else None
                if value is None:
                    raise Unresolved(f"no secret is called {name}; run: mcp-hub secrets set {name}")
        return (f"{word} {value}" if word else value), True

    def argument(self, text: str) -> str:
        """`secret:NAME` and `--flag=secret:NAME` resolved: for programs that take a secret in no other way.

        Raises Unresolved.
        """
        found = _ARGUMENT.fullmatch(text)
        return text if found is None else (found[1] or "") + self.resolve(found[2])[0]

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


def referred(entry: Any) -> Iterator[str]:
    """Names of stored secrets that texts anywhere in an entry refer to."""
    if isinstance(entry, str):
        found = _REFERENCE.fullmatch(entry)
        if found is not None and found[2] == "secret":
            yield found[3]
        elif (given := _ARGUMENT.fullmatch(entry)) is not None:
            yield given[2].removeprefix("secret:")
    elif isinstance(entry, Mapping | list | tuple):
        for value in entry.values() if isinstance(entry, Mapping) else entry:
            yield from referred(value)


def _stored_name(name: str) -> str:
    if not _STORED.fullmatch(name):
        raise Unresolved(f"secret:{name[:80]} names no secret: use letters, digits, '.', '_' and '-', at most 64")
    return name


def refuse_shell(text: str) -> None:
    """`${VAR}` is another program's spelling; passing it on as it stands would start a server with nonsense."""
    found = _SHELL.search(text)
    if found:
        name = found[1].removeprefix("input:") or "VAR"
        where = "as the whole value of an env, header or url"
        raise Unresolved(f"{found[0]} is not expanded here; write env:{name} {where}")

"""Values that an entry needs: asked for in a terminal, without echo where they are secret, else from named sources.

Never from the command line itself: other users of the machine and the shell's history read it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any, Final

from hub.cli.failure import USAGE, Failed
from hub.cli.screen import plain

MAX_BYTES: Final = 64 * 1024
SOURCES: Final = "NAME=- (a line of standard input), NAME=env:VARIABLE or NAME=file:PATH"


def add_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secret", action="append", default=[], metavar="NAME=SOURCE", help=f"a value that is needed: {SOURCES}"
    )
    parser.add_argument(
        "--value", action="append", default=[], metavar="NAME=TEXT", help="a value that is needed and no secret"
    )


def given(args: argparse.Namespace, *, stdin_taken: bool = False) -> dict[str, str]:
    """What `--secret` and `--value` say. Raises Failed, which never holds a value."""
    values: dict[str, str] = {}
    for text in args.value:
        name, found, value = text.partition("=")
        if not found or not name:
            raise Failed("--value wants NAME=TEXT", USAGE)
        values[name] = value
    for text in args.secret:
        name, found, source = text.partition("=")
        if not found or not name:
            raise Failed(f"--secret wants {SOURCES}", USAGE)
        values[name] = _from(name, source, stdin_taken)
    return values


def ask(
    needs: Sequence[Mapping[str, Any]],
    *,
    terminal: Callable[[], bool] | None = None,
    secret: Callable[[str], str] = lambda prompt: getpass(prompt, sys.stderr),
    line: Callable[[str], str] | None = None,
) -> dict[str, str]:
    """One value for each name that is needed, where somebody is there to ask; an empty answer leaves one out."""
    if not needs or not (terminal or can_ask)():
        return {}
    answers: dict[str, str] = {}
    for need in needs:
        if need["name"] in answers:
            continue
        told = f" ({plain(need['prompt'])})" if need["prompt"] else ""
        choices = f" [{', '.join(plain(choice) for choice in need['choices'])}]" if need["choices"] else ""
        hidden = " (not shown)" if need["secret"] else ""
        prompt = f"{plain(need['name'])}{told}{choices}{hidden}: "
        try:
            answer = secret(prompt) if need["secret"] else (line or _line)(prompt)
        except EOFError:
            break
        if answer:
            answers[need["name"]] = answer
    return answers


def can_ask() -> bool:
    """Whether a person sits there: standard input may be the paste itself."""
    if not sys.stderr.isatty():
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _line(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    with Path("/dev/tty").open() as terminal:
        return terminal.readline().rstrip("\r\n")


def _from(name: str, source: str, stdin_taken: bool) -> str:
    shown = plain(name)
    if source == "-":
        if stdin_taken:
            raise Failed(f"standard input is the paste already; give {shown} as env:VARIABLE or file:PATH", USAGE)
        value = sys.stdin.buffer.readline(MAX_BYTES + 1)
    elif source.startswith("env:"):
        variable = source.removeprefix("env:")
        if variable not in os.environ:
            raise Failed(f"the environment variable {plain(variable)} of --secret {shown} is not set", USAGE)
        return os.environ[variable]
    elif source.startswith("file:"):
        try:
            with Path(source.removeprefix("file:")).expanduser().open("rb") as file:
                value = file.read(MAX_BYTES + 1)
        except OSError as exc:
            raise Failed(f"the file of --secret {shown} cannot be read: {exc.strerror}", USAGE) from exc
    else:
        raise Failed(
            f"--secret {shown} holds a value: other users can read a command line. Replace that value at its origin, "
            f"and give {SOURCES}",
            USAGE,
        )
    return _text(shown, value)


def _text(shown: str, value: bytes) -> str:
    if len(value) > MAX_BYTES:
        raise Failed(f"the value of {shown} is longer than {MAX_BYTES} bytes", USAGE)
    try:
        text = value.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Failed(f"the value of {shown} is no UTF-8 text", USAGE) from None
    if not text:
        raise Failed(f"the value of {shown} is empty", USAGE)
    return text

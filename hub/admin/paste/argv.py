"""What may be started: launchers of an allow-list, an argv and never a shell line. Warns of what is not pinned.

The allow-list keeps accidents and pasted tricks out; it does not make a package trustworthy that a launcher fetches.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from hub.admin.paste.pasted import Wrong

LAUNCHERS: Final = ("npx", "uvx", "uv", "docker", "node", "python", "python3", "deno", "bun", "dnx")
_SHELLS: Final = frozenset(
    re.findall(
        r"\S+",
        "sh bash zsh dash ash ksh csh tcsh fish cmd powershell pwsh osascript env sudo doas su nohup setsid "
        "xargs busybox eval exec ssh nsenter chroot",
    )
)
_OPERATORS: Final = frozenset(("&&", "||", "|", ";", "&", ">", ">>", "<", "<<", "2>&1", "|&"))
_SUBSTITUTION = re.compile(r"\$\(|`|<\(")
_INLINE: Final = {
    "node": ("-e", "--eval", "-p", "--print", "-pe", "-r", "--require", "--import"),
    "python": ("-c",),
    "python3": ("-c",),
    "deno": ("eval",),
    "bun": ("-e", "--eval", "-p", "--print"),
    "npx": ("-c", "--call", "--shell"),
}
_STEERING = re.compile(r"(?i)(?:LD_|DYLD_)\w+|NODE_OPTIONS|BASH_ENV|ENV|PATH|PYTHONSTARTUP|PYTHONHOME|PERL5OPT|RUBYOPT")
_SOURCES = re.compile(r"(?i)npm_config_\w*registry\w*|(?:UV|PIP)_(?:DEFAULT_|EXTRA_)?INDEX(?:_URL)?|NUGET_\w*SOURCE\w*")
_DOCKER_POWER = re.compile(
    r"--privileged(?:=true)?|.*docker\.sock.*|(?:--pid|--ipc|--userns|--uts|--network|--net)=?host|host|"
    r"--cap-add(?:=.*)?|--device(?:=.*)?|--security-opt(?:=.*)?|/:/.*|.*(?:source|src)=/(?:,.*|$)"
)
_DOCKER_VALUES: Final = frozenset(
    re.findall(
        r"\S+",
        "-e --env --env-file -v --volume --mount --name --network --net -p --publish --platform -w --workdir "
        "-u --user --entrypoint -l --label --add-host --cpus -m --memory --cap-add --cap-drop --security-opt "
        "--pid --ipc --gpus --pull --log-driver --restart --hostname -h --tmpfs --device --ulimit --dns "
        "--userns --uts --shm-size --stop-timeout --log-opt --init-path --runtime --cidfile --memory-swap "
        "--pids-limit --annotation",
    )
)
_NPM_VALUES: Final = frozenset(("-p", "--package", "--registry", "--cache", "--prefix", "--loglevel", "--userconfig"))
_UVX_VALUES: Final = frozenset(
    re.findall(
        r"\S+",
        "--from --with -p --python --index --default-index --index-url -i --extra-index-url --find-links -f "
        "--with-editable --with-requirements --cache-dir --directory --project --config-file --env-file "
        "--color",
    )
)


def split(command: str, args: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(program, arguments, what was changed): Windows spellings and a launcher line in one text come apart.

    Raises Wrong for a line that only a shell could run.
    """
    told: list[str] = []
    parts = list(args)
    if re.search(r"\s", command.strip()) and command.split()[0] in LAUNCHERS:
        _refuse_shell_words(command.split())
        try:
            command, *front = shlex.split(command)
        except ValueError as exc:
            raise Wrong("command holds an open quote; write the program, and its arguments in args") from exc
        parts = [*front, *parts]
        told.append("command held a whole line; it was split into command and args, and no shell will read it")
    command = command.strip()
    if re.fullmatch(r"(?i)cmd(?:\.exe)?", command) and len(parts) >= 2 and parts[0].lower() == "/c":
        command, parts = parts[1], parts[2:]
        told.append(f"cmd /c is for Windows; {command} is started directly")
    bare = re.sub(r"(?i)\.(?:cmd|exe)$", "", command)
    if bare in LAUNCHERS:
        command = bare
    return command, tuple(parts), tuple(told)


def check(command: str, args: Sequence[str], env: Sequence[str], *, allow_command: bool) -> tuple[str, ...]:
    """What should be known about starting this. Raises Wrong for what is not started."""
    name = _program(command)
    if name in _SHELLS:
        raise Wrong(f"command {name!r} runs other programs; write the program itself (one of {', '.join(LAUNCHERS)})")
    if command not in LAUNCHERS:
        _check_path(command, allow_command=allow_command)
    _refuse_shell_words(args)
    _refuse_shells(args)
    if not allow_command:
        _refuse_power(command, args, env)
    return (*_unpinned(command, args), *_sourced(command, args, env))


def image_at(args: Sequence[str]) -> int | None:
    """Where the image stands in the arguments of `docker run`, or None."""
    if not args or args[0] not in ("run", "container"):
        return None
    at = 2 if args[0] == "container" else 1
    while at < len(args):
        if args[at].startswith("-"):
            at += 2 if args[at] in _DOCKER_VALUES else 1
        else:
            return at
    return None


def _program(command: str) -> str:
    name = PureWindowsPath(command).name if "\\" in command else PurePosixPath(command).name
    return re.sub(r"\.(?:exe|cmd|bat)$", "", name.lower())


def _check_path(command: str, *, allow_command: bool) -> None:
    listed, shown = ", ".join(LAUNCHERS), command.split()[0][:80]
    if not command.startswith("/"):
        if "/" in command or "\\" in command or command.startswith("~"):
            raise Wrong(f"command {shown!r} is no absolute path; use one of {listed}, or a path from the root")
        raise Wrong(
            f"command {shown!r} is not on the list of launchers ({listed}); "
            "give its absolute path and --allow-command to start it all the same"
        )
    if not allow_command:
        raise Wrong(f"command {shown!r} is no launcher ({listed}); --allow-command starts it all the same")


def _refuse_shell_words(args: Sequence[str]) -> None:
    for arg in args:
        if arg in _OPERATORS or _SUBSTITUTION.search(arg):
            shown = arg if arg in _OPERATORS else "$(...)"
            raise Wrong(f"{shown!r} in args is for a shell, and none reads it; write a program and its arguments")


def _refuse_shells(args: Sequence[str]) -> None:
    for first, second in pairwise(args):
        if _program(first) in _SHELLS and re.fullmatch(r"-\w*c|/[cCkK]|-[cC]ommand|-EncodedCommand", second):
            raise Wrong(f"{_program(first)} {second} runs a shell line; write the program and its arguments instead")


def _refuse_power(command: str, args: Sequence[str], env: Sequence[str]) -> None:
    """What turns a launcher into a way to run anything, or gives a container the machine."""
    for arg in _own_arguments(command, args):
        if arg in _INLINE.get(command, ()) or any(arg.startswith(f"{flag}=") for flag in _INLINE.get(command, ())):
            raise Wrong(f"{command} {arg.partition('=')[0]} runs code from its arguments; --allow-command permits that")
    if command == "docker":
        end = image_at(args)
        for before, arg in zip(("", *args), args[: len(args) if end is None else end], strict=False):
            if _DOCKER_POWER.fullmatch(arg) and (arg != "host" or before.startswith("--")):
                raise Wrong(f"docker with {arg[:40]!r} gives the container this machine; --allow-command permits that")
    for name in env:
        if _STEERING.fullmatch(name):
            raise Wrong(f"env {name} changes which code is run; --allow-command permits that")


def _own_arguments(command: str, args: Sequence[str]) -> Sequence[str]:
    """The launcher's own arguments: up to the first that is none, which is the program."""
    if command == "deno":
        return args[:1]
    for place, arg in enumerate(args):
        if not arg.startswith("-"):
            return args[:place]
    return args


def _package(args: Sequence[str], values: frozenset[str], named: Sequence[str]) -> str | None:
    """What is fetched: said by an option, else the first argument that is none."""
    at = 0
    while at < len(args):
        arg = args[at]
        flag, given, value = arg.partition("=")
        if flag in named:
            return value if given else (args[at + 1] if at + 1 < len(args) else None)
        if arg.startswith("-"):
            at += 2 if arg in values else 1
        else:
            return arg
    return None


def _unpinned(command: str, args: Sequence[str]) -> tuple[str, ...]:
    package: str | None = None
    pinned = r"."
    match command, args[:1]:
        case "npx", _:
            package, pinned = _package(args, _NPM_VALUES, ("-p", "--package")), r".+@\d.*"
        case "bun", ["x"]:
            package, pinned = _package(args[1:], frozenset(), ()), r".+@\d.*"
        case "uvx", _:
            package, pinned = _package(args, _UVX_VALUES, ("--from",)), r".+(?:==|@)\d.*"
        case "uv", ["tool"]:
            package, pinned = _package(args[2:], _UVX_VALUES, ("--from",)), r".+(?:==|@)\d.*"
        case "dnx", _:
            package, pinned = _package(args, frozenset(("--version", "--source")), ()), r".+@\d.*"
            if any(arg.startswith("--version") for arg in args):
                return ()
        case "deno", ["run"]:
            package = next((arg for arg in args if re.match(r"(?:npm|jsr|https?):", arg)), None)
            pinned = r".+@v?\d.*"
        case "docker", _:
            return _unpinned_image(args)
    if package is None or _is_local(package):
        return ()
    if re.search(r"git\+|github:|^https?:.*\.git", package):
        fixed = re.search(r"[@#][0-9a-f]{40}$", package)
        return () if fixed else (f"{package[:80]} is fetched from git without a commit; pin one (@<40 hex digits>)",)
    if re.fullmatch(pinned, package):
        return ()
    told = f"{package[:80]} is not pinned to a version: every start may run other code"
    return (f"{told}; write {_example(command, package)}",)


def _example(command: str, package: str) -> str:
    bare = re.sub(r"(?<=.)(?:@|==|>=|~=).*$", "", package)[:60]
    return f"{bare}=={'1.2.3'}" if command in ("uvx", "uv") and "[" in bare else f"{bare}@1.2.3"


def _unpinned_image(args: Sequence[str]) -> tuple[str, ...]:
    at = image_at(args)
    if at is None or "@sha256:" in args[at]:
        return ()
    tag = args[at].rpartition("/")[2].partition(":")[2]
    if tag and tag not in ("latest", "main", "master", "edge", "nightly"):
        return ()
    return (f"image {args[at][:80]} is not pinned: every start may run other code; write IMAGE@sha256:...",)


def _is_local(package: str) -> bool:
    return package.startswith((".", "/", "~", "file:", "${"))


def _sourced(command: str, args: Sequence[str], env: Sequence[str]) -> tuple[str, ...]:
    """Packages from elsewhere than usual."""
    flags = ("--registry", "--index", "--index-url", "--default-index", "--extra-index-url", "--source", "--add-source")
    given = [arg.partition("=")[0] for arg in _own_arguments(command, args) if arg.partition("=")[0] in flags]
    given += [name for name in env if _SOURCES.fullmatch(name)]
    return tuple(f"{what} makes the launcher fetch code from elsewhere than usual" for what in given)

"""`.mcpb` bundles: a zip with a manifest and a server in it. Checks what may be unpacked; unpacks nothing itself."""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, Final

from hub.admin.paste.pasted import Wrong
from hub.admin.paste.template import holes, parse

MANIFEST: Final = "manifest.json"
MAX_MEMBERS: Final = 20_000
MAX_BYTES: Final = 512 * 1024 * 1024  # unpacked
MAX_MANIFEST: Final = 1024 * 1024
MAX_RATIO: Final = 200  # unpacked to packed; text compresses tenfold
_USER_CONFIG = re.compile(r"\$\{user_config\.([^}]+)\}")
_ODD = re.compile(r"[\x00-\x1f\\:]")


def members(archive: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, ...]:
    """The files to unpack. Raises Wrong when one would land outside, is no plain file, or all are too large."""
    found = archive.infolist()
    if len(found) > MAX_MEMBERS:
        raise Wrong(f"the bundle holds {len(found)} files; at most {MAX_MEMBERS} are unpacked")
    total, names = 0, set[str]()
    for info in found:
        _check_name(info)
        if info.filename.lower().rstrip("/") in names:
            raise Wrong(f"the bundle holds {info.filename[:80]!r} twice")
        names.add(info.filename.lower().rstrip("/"))
        total += info.file_size
        if total > MAX_BYTES:
            raise Wrong(f"the bundle unpacks to more than {MAX_BYTES >> 20} MiB")
        if info.file_size > MAX_RATIO * max(info.compress_size, 1024):
            raise Wrong(f"{info.filename[:80]!r} in the bundle is packed suspiciously well; it is not unpacked")
    return tuple(info for info in found if not info.is_dir())


def _check_name(info: zipfile.ZipInfo) -> None:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or _ODD.search(info.filename) or not path.parts:
        raise Wrong(f"the bundle holds a file that would land outside of it ({info.filename[:80]!r})")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise Wrong(f"{info.filename[:80]!r} in the bundle is no plain file; links and devices are not unpacked")
    if info.flag_bits & 0x1:
        raise Wrong(f"{info.filename[:80]!r} in the bundle is encrypted")


def opened(file: IO[bytes]) -> zipfile.ZipFile:
    """Raises Wrong."""
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as exc:
        raise Wrong("this is no bundle: a .mcpb file is a zip with a manifest.json") from exc


def manifest(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """Raises Wrong."""
    try:
        with archive.open(MANIFEST) as file:
            data = file.read(MAX_MANIFEST + 1)
        found = json.loads(data) if len(data) <= MAX_MANIFEST else None
    except (KeyError, ValueError, RuntimeError, zipfile.BadZipFile, OSError) as exc:
        raise Wrong("the bundle has no readable manifest.json") from exc
    if not isinstance(found, Mapping) or not isinstance(found.get("server"), Mapping):
        raise Wrong("the bundle's manifest.json names no server")
    return found


def as_paste(manifest: Mapping[str, Any], folder: str, platform: str) -> str:
    """The same as `servers` with `inputs`, run from `folder`. Raises Wrong.

    `platform`: `linux`, `darwin` or `win32`, as the manifest's overrides say it.
    """
    server = manifest["server"]
    config = server.get("mcp_config")
    config = dict(config) if isinstance(config, Mapping) else {}
    overrides = config.pop("platform_overrides", None)
    if isinstance(overrides, Mapping) and isinstance(overrides.get(platform), Mapping):
        config |= overrides[platform]
    command, args = config.get("command"), _texts(config.get("args"))
    if not isinstance(command, str) or not command:
        command, args = _usual(server)
    settings = manifest.get("user_config")
    settings = settings if isinstance(settings, Mapping) else {}
    left_out = {name for name, each in settings.items() if not _is_asked(each)}
    env = config.get("env")
    made = {
        "command": _placed(command, folder),
        "args": [_placed(arg, folder) for arg in args if not _only(arg, left_out)],
        "env": {
            name: _placed(text, folder)
            for name, text in (env.items() if isinstance(env, Mapping) else ())
            if isinstance(text, str) and not _only(text, left_out)
        },
    }
    name = manifest.get("name")
    if not isinstance(name, str) or not name:
        raise Wrong("the bundle's manifest.json has no name")
    inputs = [_input(name, each) for name, each in settings.items() if name not in left_out]
    return json.dumps({"servers": {name: made}, "inputs": inputs}, indent=1)


def entry_point(manifest: Mapping[str, Any]) -> str | None:
    """The file that must be executable, of a bundle that holds a program."""
    server = manifest["server"]
    found = server.get("entry_point")
    return found if server.get("type") == "binary" and isinstance(found, str) else None


def _usual(server: Mapping[str, Any]) -> tuple[str, list[str]]:
    start = server.get("entry_point")
    if not isinstance(start, str) or not start:
        raise Wrong("the bundle's manifest.json says neither a command nor an entry_point")
    inside = f"${{__dirname}}/{start}"
    match server.get("type"):
        case "node":
            return "node", [inside]
        case "python":
            return "python3", [inside]
        case "uv":
            return "uv", ["run", "--directory", "${__dirname}", start]
        case "binary":
            return inside, []
    raise Wrong("the bundle's server is of no type that is known here (node, python, uv, binary)")


def _placed(text: str, folder: str) -> str:
    return _USER_CONFIG.sub(r"${\1}", text.replace("${__dirname}", folder).replace("${/}", "/"))


def _only(text: str, left_out: set[str]) -> bool:
    """Whether the text stands for nothing but settings that nobody is asked for."""
    found = [hole.name for hole in holes(parse(text))]
    return bool(found) and all(name in left_out for name in found)


def _is_asked(setting: Any) -> bool:
    if not isinstance(setting, Mapping):
        return False
    return setting.get("required") is True or _default(setting) is not None


def _default(setting: Mapping[str, Any]) -> str | None:
    value = setting.get("default")
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, Mapping | list):
        return None
    return None if "${" in str(value) else str(value)  # "${HOME}/..." is somebody else's home


def _input(name: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    told = setting.get("title") or setting.get("description") or ""
    made: dict[str, Any] = {"id": name, "type": "promptString", "description": str(told)}
    if setting.get("sensitive") is True:
        made["password"] = True
    default = _default(setting)
    return made if default is None or setting.get("sensitive") is True else {**made, "default": default}


def _texts(value: Any) -> list[str]:
    given: Sequence[Any] = value if isinstance(value, list) else ()
    return [text for text in given if isinstance(text, str)]

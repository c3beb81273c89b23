"""One entry in any program's spelling, turned into the members that our configuration knows. Texts keep their holes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hub.admin.paste.logins import login
from hub.admin.paste.pasted import Wrong
from hub.admin.paste.unwrap import unwrap

_URLS: Final = ("url", "httpUrl", "serverUrl", "http_url", "server_url")
_TYPES: Final = ("type", "transport", "transportType", "transport_type")
_STDIO: Final = frozenset(("stdio", "local"))
_HTTP: Final = frozenset(("http", "https", "streamable-http", "streamablehttp", "streamable_http", "remote"))
_HEADERS: Final = ("headers", "http_headers", "httpHeaders")
_COPILOT = re.compile(r"COPILOT_MCP_\w+")  # the name of a secret of GitHub's, in the place of its value
OWN: Final = ("era", "timeouts", "max_result_bytes", "limit", "variant_of", "connector")
TRUSTING: Final = ("trusted", "pins")  # what a stranger's paste may not say of itself
_REFUSED: Final[Mapping[str, str]] = {
    "authProviderType": "logs in as that program does, which the hub cannot; register an app for the hub, give it in "
    "auth: {client: {id, secret}}, and remove this key",
    "headersHelper": "runs a command to make headers, which the hub does not do; give the headers themselves",
    "envFile": "is not read; give each value in env",
    "env_file": "is not read; give each value in env",
}
_APPROVING: Final = ("autoApprove", "alwaysAllow", "trust", "approval", "require_approval", "autoStart")
_CHOOSING: Final = (
    "includeTools",
    "excludeTools",
    "enabled_tools",
    "disabled_tools",
    "disabledTools",
    "allowedTools",
    "allowed_tools",
    "tools",
)
_DECORATION: Final = frozenset(
    re.findall(
        r"\S+",
        "name title description version icon icons gallery note notes comment comments _comment id tags "
        "homepage docs author license repository metadata source category fromGalleryId dev $schema required "
        "provider key label supports_parallel_tool_calls",
    )
)


def translate(given: Mapping[str, Any], *, own: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(members of ours, warnings). `own`: the admin's own words, which may say what to trust. Raises Wrong."""
    return _Translation(dict(given), own).result()


class _Translation:
    def __init__(self, given: dict[str, Any], own: bool) -> None:
        self._left, self._own = given, own
        self._made: dict[str, Any] = {}
        self._warnings: list[str] = []

    def result(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        for key, text in _REFUSED.items():
            if key in self._left and not _is_off(self._left[key]):
                raise Wrong(f"{key} {text}")
            self._left.pop(key, None)
        self._program()
        self._remote()
        self._codex()
        self._login()
        for key in OWN:
            if (value := self._left.pop(key, None)) is not None:
                self._made[key] = value
        self._switches()
        self._times()
        self._rest()
        return self._made, tuple(self._warnings)

    def _program(self) -> None:
        command, args = self._left.pop("command", None), self._left.pop("args", None)
        if isinstance(command, list) and command and args is None:
            command, args = command[0], command[1:]
        env = {**_pairs(self._left.pop("env", None), "env"), **_pairs(self._left.pop("environment", None), "env")}
        for name in self._left.pop("env_vars", None) or ():
            word = name.get("name") if isinstance(name, Mapping) else name
            if isinstance(word, str):
                env.setdefault(word, f"${{{word}}}")
        env = {name: f"${{{text}}}" if _COPILOT.fullmatch(text) else text for name, text in env.items()}
        if command is not None:
            if not isinstance(command, str) or not command.strip():
                raise Wrong("command must be a text: the program to start")
            if not isinstance(args if args is not None else [], list):
                raise Wrong("args must be a list of texts")
            found = unwrap(command, [_spelled(arg, "args") for arg in args or ()], env)
            self._made.update(found.entry)
            self._warnings += found.warnings
        elif env:
            self._warnings.append("env means nothing for a remote server and was left out")
        if (cwd := self._left.pop("cwd", None)) not in (None, ""):
            text = _spelled(cwd, "cwd")  # a relative one begins where only the program it was written for knows
            self._made["cwd"] = text if text.startswith(("/", "~", "${")) else "${cwd}"

    def _remote(self) -> None:
        urls = {key: self._left.pop(key) for key in _URLS if self._left.get(key) not in (None, "")}
        for key in _URLS:
            self._left.pop(key, None)
        headers: dict[str, str] = {}
        for key in _HEADERS:
            headers |= _pairs(self._left.pop(key, None), key)
        said = self._type()
        if urls:
            if "command" in self._made or "url" in self._made:
                raise Wrong("has both command and url; keep one of them")
            self._made["url"] = _spelled(next(iter(urls.values())), next(iter(urls))).strip()
            if len({str(url) for url in urls.values()}) > 1:
                self._warnings.append(f"it has several URLs; {next(iter(urls))} is taken")
            if said == "stdio":
                raise Wrong("type stdio does not go with a url; remove one of them")
            if said == "sse":
                self._made["type"] = "sse"
        elif said in ("http", "sse") and "command" in self._made:
            raise Wrong(f"type {said} does not go with a command; remove one of them")
        if headers and "url" in self._made:
            self._made["headers"] = {**headers, **self._made.get("headers", {})}
        elif headers:
            self._warnings.append("headers mean nothing for a local program and were left out")
        if not self._made.keys() & {"command", "url"} and "connector" not in self._left:
            raise Wrong("has neither command nor url; nothing says what to start or where to connect")

    def _type(self) -> str | None:
        found: str | None = None
        for key in _TYPES:
            word = self._left.pop(key, None)
            if word is None:
                continue
            plain = str(word).lower()
            kind = "stdio" if plain in _STDIO else "http" if plain in _HTTP else "sse" if plain == "sse" else None
            if kind is None:
                raise Wrong(f"{key} {str(word)[:30]!r} is none of stdio, http, sse")
            found = found or kind
        return found

    def _codex(self) -> None:
        """Headers whose values Codex takes from its environment."""
        variable, named = self._left.pop("bearer_token_env_var", None), self._left.pop("env_http_headers", None)
        if "url" not in self._made:
            return
        headers = dict(self._made.get("headers", {}))
        if isinstance(variable, str) and variable:
            headers["Authorization"] = f"Bearer ${{{variable}}}"
        for name, word in _pairs(named, "env_http_headers").items():
            headers[name] = f"${{{word}}}"
        if (token := self._left.pop("bearer_token", None)) is not None:
            headers["Authorization"] = f"Bearer {_spelled(token, 'bearer_token')}"
        if headers:
            self._made["headers"] = headers

    def _login(self) -> None:
        for key in ("auth", "oauth"):
            if key not in self._left:
                continue
            made, warnings = login(self._left.pop(key), own=self._own)
            if made is None:
                self._warnings += warnings
            elif "url" not in self._made and not self._own:
                self._warnings.append(f"{key} means nothing for a local program and was left out")
            elif not self._own and any(name.lower() == "authorization" for name in self._made.get("headers", {})):
                self._warnings.append(f"{key} was left out: its headers hold an Authorization already")
            else:
                self._made["auth"] = made
                self._warnings += warnings

    def _switches(self) -> None:
        disabled, enabled = self._left.pop("disabled", None), self._left.pop("enabled", None)
        for key, value in (("disabled", disabled), ("enabled", enabled)):
            if value is not None and not isinstance(value, bool):
                raise Wrong(f"{key} must be true or false")
        if disabled is True or enabled is False:
            self._made["enabled"] = False
        for key in TRUSTING:
            if (value := self._left.pop(key, None)) is None:
                continue
            if self._own:
                self._made[key] = value
            else:
                self._warnings.append(f"{key} is not taken from a paste; set it yourself when you trust this server")

    def _times(self) -> None:
        """Seconds or milliseconds: nobody waits 1000 s for a call, and nothing answers within 30 ms."""
        times: dict[str, float] = {}
        for key, name, unit in (
            ("timeout", "call", 0.0),
            ("tool_timeout_sec", "call", 1.0),
            ("startup_timeout_sec", "initialize", 1.0),
            ("startup_timeout_ms", "initialize", 0.001),
            ("initTimeout", "initialize", 0.0),
        ):
            value = self._left.pop(key, None)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                self._warnings.append(f"{key} is no usable time and was left out")
                continue
            seconds = value * (unit or (0.001 if value >= 1000 else 1.0))
            times[name] = min(3600.0, max(0.1, seconds))
        if times and "timeouts" not in self._made:
            plain = {name: int(value) if value == int(value) else value for name, value in times.items()}
            if plain.get("call", 0) > 600:  # the hub's own limit for one call
                plain["hard"] = plain["call"]
            self._made["timeouts"] = plain

    def _rest(self) -> None:
        for key, value in self._left.items():
            if key in _APPROVING:
                self._warnings.append(f"{key} means nothing here: the hub asks nobody before a call")
            elif key in _CHOOSING:
                if value not in (["*"], "*", [], None):
                    self._warnings.append(f"{key} is NOT applied: all its tools are offered; see mcp-hub endpoints add")
            elif key not in _DECORATION and not key.startswith("//"):
                self._warnings.append(f"{key[:40]!r} is not known here and was left out")


def _pairs(given: Any, what: str) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, list):  # NAME=VALUE, as docker compose has it
        split = [str(item).partition("=") for item in given if isinstance(item, str)]
        return {name: value if found else f"${{{name}}}" for name, found, value in split}
    if not isinstance(given, Mapping):
        raise Wrong(f"{what} must be an object of names and texts")
    return {name: "" if value is None else _spelled(value, f"{what}.{name}") for name, value in given.items()}


def _spelled(value: Any, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise Wrong(f"{what[:60]} must be a text")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value.replace("\r", "")):
        raise Wrong(f"{what[:60]} holds control characters")
    return value


def _is_off(value: Any) -> bool:
    return value in (None, False, {}, "none") or (isinstance(value, Mapping) and value.get("enabled") is False)

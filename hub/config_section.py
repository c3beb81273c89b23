"""One mapping of the configuration, read key by key. What nobody asked for at the end is an unknown key.

Every reader answers with a usable value, whatever the file says, so that one pass finds all faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar, cast, get_args, overload

from hub.config_yaml import Fault, Node

Choice = TypeVar("Choice", bound=str)


class Section:
    def __init__(self, node: Node | None, where: str, faults: list[Fault]) -> None:
        self.where, self.line = where, node.line if node is not None else None
        self._faults = faults
        self._asked: list[str] = []
        self._nodes: Mapping[str, Node] = {}
        if node is not None and isinstance(node.value, Mapping):
            self._nodes = node.value
        elif node is not None and node.value is not None:
            self.fault(None, f"must be a mapping, not a {node.kind}")

    def fault(self, key: str | None, text: str) -> None:
        node = self._nodes.get(key) if key is not None else None
        where = self.where if key is None else f"{self.where}.{key}" if self.where else key
        self._faults.append(Fault(node.line if node is not None else self.line, where, text))

    def has(self, key: str) -> bool:
        return key in self._nodes

    def take(self, key: str) -> Node | None:
        """The node under `key`; a key without a value counts as absent."""
        self._asked.append(key)
        node = self._nodes.get(key)
        return None if node is None or node.value is None else node

    @overload
    def text(self, key: str, default: str) -> str: ...

    @overload
    def text(self, key: str, default: None) -> str | None: ...

    def text(self, key: str, default: str | None) -> str | None:
        node = self.take(key)
        if node is None:
            return default
        if isinstance(node.value, str) and node.value and "\0" not in node.value:
            return node.value
        self.fault(key, "must be a text" if not isinstance(node.value, str) else "must not be empty or hold NUL")
        return default

    def flag(self, key: str, default: bool) -> bool:
        node = self.take(key)
        if node is None or isinstance(node.value, bool):
            return default if node is None else cast(bool, node.value)
        self.fault(key, "must be true or false")
        return default

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        node = self.take(key)
        if node is None:
            return default
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.fault(key, f"must be a whole number from {low} to {high}")
        return default

    def number(self, key: str, default: float, low: float, high: float) -> float:
        node = self.take(key)
        if node is None:
            return default
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.fault(key, f"must be a number from {low:g} to {high:g}")
        return default

    def choice(self, key: str, default: Choice, of: object) -> Choice:
        """One word of the Literal type `of`."""
        node = self.take(key)
        if node is None:
            return default
        words = get_args(of)
        if node.value in words:
            return cast(Choice, node.value)
        self.fault(key, f"must be one of {', '.join(words)}")
        return default

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts; None when absent. Numbers stand as they are spelled."""
        node = self.take(key)
        if node is None:
            return None
        if not isinstance(node.value, tuple):
            self.fault(key, f"must be a list of texts, not a {node.kind}")
            return ()
        return tuple(text for item in node.value if (text := self._spelled(key, item)) is not None)

    def pairs(self, key: str) -> dict[str, str]:
        """A mapping of texts to texts. Numbers and true/false stand as they are spelled."""
        node = self.take(key)
        if node is None:
            return {}
        if not isinstance(node.value, Mapping):
            self.fault(key, f"must be a mapping of names to texts, not a {node.kind}")
            return {}
        spelled = {name: self._spelled(f"{key}.{name}", item) for name, item in node.value.items()}
        return {name: text for name, text in spelled.items() if text is not None}

    def items(self, key: str) -> tuple[Section, ...]:
        """A list of mappings, each as a section; none when absent."""
        node = self.take(key)
        if node is None:
            return ()
        if not isinstance(node.value, tuple):
            self.fault(key, f"must be a list of mappings, not a {node.kind}")
            return ()
        inside = f"{self.where}.{key}" if self.where else key
        return tuple(Section(item, f"{inside}[{at}]", self._faults) for at, item in enumerate(node.value, 1))

    def section(self, key: str) -> Section:
        node = self.take(key)
        return Section(node, f"{self.where}.{key}" if self.where else key, self._faults)

    def sections(self) -> tuple[tuple[str, Section], ...]:
        """Every entry as a section: for mappings whose keys are names."""
        inside = f"{self.where}." if self.where else ""
        return tuple((key, Section(node, f"{inside}{key}", self._faults)) for key, node in self._nodes.items())

    def line_of(self, key: str, name: str | None = None) -> int | None:
        node = self._nodes.get(key)
        if node is not None and name is not None and isinstance(node.value, Mapping) and name in node.value:
            return node.value[name].line
        return node.line if node is not None else self.line

    def fault_at(self, line: int | None, where: str, text: str) -> None:
        self._faults.append(Fault(line, f"{self.where}.{where}" if self.where else where, text))

    def close(self, unbuilt: Mapping[str, str] = {}, foreign: Mapping[str, str] = {}) -> None:
        """Report what nobody asked for: features not built yet and other programs' keys by name, else the nearest."""
        for key in self._nodes:
            if key in self._asked:
                continue
            if key in unbuilt:
                self.fault(key, f"{unbuilt[key]} is not built yet; remove this key")
            elif key in foreign:
                self.fault(key, foreign[key])
            else:
                self.fault(key, f"unknown key; {_nearest(key, self._asked)}")

    def _spelled(self, where: str, node: Node) -> str | None:
        if isinstance(node.value, Mapping | tuple) or node.value is None or "\0" in node.text:
            self.fault_at(node.line, where, f"must be a text, not a {node.kind}")
            return None
        return node.text


def _nearest(key: str, known: Sequence[str]) -> str:
    folded = {name.lower().replace("_", ""): name for name in known}
    near = get_close_matches(key.lower().replace("_", "").replace("-", ""), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[near[0]]!r}?" if near else f"known here: {', '.join(sorted(known))}"

"""The text of a configuration file as values that know their lines. Knows no key of the hub's own.

YAML 1.2 and JSON are read into the same nodes. Scalars keep their spelling, because `PORT: 8080` and `1.10` in an
environment are texts. A key given twice is a fault, never a silent choice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

MAX_BYTES: Final = 1024 * 1024  # a file people write; bounds what a pasted one may cost
MAX_NODES: Final = 50_000  # aliases multiply: ten lines of YAML can mean a billion values
MAX_DEPTH: Final = 32

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: where it stands and what to do about it."""

    line: int | None
    where: str
    text: str


class ConfigError(ValueError):
    """Every fault of one configuration at once, in the order of their lines."""

    def __init__(self, faults: tuple[Fault, ...], source: str = "") -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        self.source = source
        super().__init__("\n".join(self._line(fault) for fault in self.faults))

    def _line(self, fault: Fault) -> str:
        place = ":".join(part for part in (self.source, str(fault.line or "")) if part)
        return ": ".join(part for part in (place, fault.where, fault.text) if part)


@dataclass(frozen=True, slots=True)
class Node:
    """One value. `text` is how a scalar was spelled; `children` of a list or mapping are nodes too."""

    line: int
    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    text: str = ""

    @property
    def kind(self) -> str:
        if isinstance(self.value, Mapping):
            return "mapping"
        if isinstance(self.value, tuple):
            return "list"
        return {str: "text", bool: "yes/no", type(None): "nothing"}.get(type(self.value), "number")


def read_source(path: Path) -> str:
    """The text of the file. Raises ConfigError in words."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            fault = Fault(None, "", f"is larger than {MAX_BYTES} bytes; this is no configuration file")
            raise ConfigError((fault,), str(path))
        return data.decode("utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError((Fault(None, "", "there is no such file"),), str(path)) from exc
    except OSError as exc:
        raise ConfigError((Fault(None, "", f"cannot be read: {exc.strerror}"),), str(path)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError((Fault(None, "", "is not UTF-8 text"),), str(path)) from exc


def parse(text: str, *, is_json: bool) -> tuple[Node, list[Fault]]:
    """The document and the faults that left it readable (duplicate keys). Raises ConfigError on a syntax error."""
    if is_json:
        _check_json(text)
        text = text.replace("\t", " ")  # outside of strings only: a raw tab inside one is no JSON
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark is not None else None
        raise ConfigError((Fault(line, "", f"is no YAML: {exc.problem or exc.context}"),)) from exc
    except (YAMLError, RecursionError, ValueError) as exc:
        raise ConfigError((Fault(None, "", f"is no YAML: {str(exc).splitlines()[0]}"),)) from exc
    builder = _Builder()
    node = builder.build(root, "", 0) if root is not None else Node(1, {})
    return node, builder.faults


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as exc:
        raise ConfigError((Fault(exc.lineno, "", f"is no JSON: {exc.msg}"),)) from exc
    except RecursionError as exc:
        raise ConfigError((Fault(None, "", "is nested too deeply"),)) from exc


class _Builder:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._made = 0

    def build(self, node: Any, where: str, depth: int) -> Node:
        self._made += 1
        line = node.start_mark.line + 1
        if self._made > MAX_NODES or depth > MAX_DEPTH:
            raise ConfigError((Fault(line, where, "is too large or nested too deeply"),))
        if isinstance(node, SequenceNode):
            items = (self.build(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(node.value))
            return Node(line, tuple(items))
        if isinstance(node, MappingNode):
            return Node(line, self._mapping(node, where, depth))
        assert isinstance(node, ScalarNode)
        text = _joined(node.value)
        return Node(line, self._scalar(node, text, where, line), text)

    def _mapping(self, node: Any, where: str, depth: int) -> dict[str, Node]:
        made: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self.faults.append(Fault(line, where, "a key must be a text"))
                continue
            key = _joined(key_node.value)
            inside = f"{where}.{key}" if where else key
            if str(key_node.tag).endswith(":merge"):
                self.faults.append(Fault(line, where, "merge keys (<<) are not supported; write the values out"))
            elif key in made:
                self.faults.append(Fault(line, inside, f"is given twice; the first stands on line {made[key].line}"))
            else:
                built = self.build(value_node, inside, depth + 1)
                made[key] = Node(line, built.value, built.text)  # people look for the key
        return made

    def _scalar(self, node: Any, text: str, where: str, line: int) -> Scalar:
        kind = node.tag.rpartition(":")[2]
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0) if text.lstrip("+-").startswith(("0x", "0o", "0b")) else int(text)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
                case "str" | "timestamp" | "value":
                    return text
        except ValueError:
            return text
        self.faults.append(Fault(line, where, f"the tag {node.tag} is not supported"))
        return text


def _joined(text: str) -> str:
    """JSON writes an emoji as two escapes; YAML reads them as two halves."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""A copy of the runner that asks for a server's items by their names behind the hub; its checks are untouched.

The copy is made for one run and thrown away. Only whole literals are replaced: a text that mentions a name stays.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from conformance.official.runner import PACKAGE
from conformance.servers import reference_asking as asking
from conformance.servers import reference_items as items
from hub.core.names import public_name, public_uri
from tests.equipment import OFFICIAL

READ: Final = "test://template/123/data"  # the one resource of the template that the suite reads
LATER: Final = tuple(row["name"] for row in items.MODERN_TOOLS)


def public_names(server: str) -> Mapping[str, str]:
    """What each item of the reference servers is called behind the hub: with a prefix, long ones shortened."""
    named = (row["name"] for row in (*items.TOOLS, *asking.TOOLS, *items.PROMPTS, asking.PROMPT))
    found = {name: public_name(server, name) for name in (*named, *LATER)}
    found.update({uri: public_uri(server, uri) for uri in (*(row["uri"] for row in items.RESOURCES), READ)})
    return found


def with_names(script: str, names: Mapping[str, str]) -> str:
    """The script with each name, where it is a whole literal, replaced."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"([\"'`])({known})\1", lambda found: f"{found[1]}{names[found[2]]}{found[1]}", script)


def missing_names(script: str, names: Iterable[str]) -> list[str]:
    """Names that the script has nowhere as a whole literal: a sign that the runner has changed."""
    return [name for name in names if not re.search(rf"([\"'`]){re.escape(name)}\1", script)]


def mapped_package(folder: Path, names: Mapping[str, str]) -> Path:
    """A package in `folder` like the installed one, but for the names."""
    package = folder / "package"
    (package / "dist").mkdir(parents=True)
    shutil.copytree(PACKAGE / "requirements", package / "requirements")
    shutil.copy(PACKAGE / "package.json", package)
    script = (PACKAGE / "dist" / "index.js").read_text()
    (package / "dist" / "index.js").write_text(with_names(script, names))
    (package / "node_modules").symlink_to(OFFICIAL / "node_modules", target_is_directory=True)
    return package

"""The parsers of the verbs: each one says what it does, and its help ends with the verb in use."""

from __future__ import annotations

import argparse
from typing import Any

from hub.cli.examples import examples


class Parser(argparse.ArgumentParser):
    """Parsers of verbs within a verb are of this class too."""

    def format_help(self) -> str:
        return super().format_help() + examples(self.prog.removeprefix("mcp-hub").strip())


def add_verb(verbs: Any, name: str, summary: str, **more: Any) -> argparse.ArgumentParser:
    """One verb within a verb; its own help begins with what the list of verbs says of it."""
    made: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", **more
    )
    return made

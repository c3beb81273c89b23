"""Which hub a verb speaks of: its configuration, its directory, and the process that serves it, if one does."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from hub.cli.failure import USAGE, Failed
from hub.cli.screen import note, waiting
from hub.config import Config, ConfigError, find, load
from hub.running import Run, StartRefused, read_run, start_background


@dataclass(frozen=True, slots=True)
class Place:
    path: Path | None  # of the configuration
    config: Config

    def running(self) -> Run | None:
        return read_run(self.config.data_dir)

    def reach(self) -> Run:
        """The running hub, else one started in the background. Raises Failed."""
        run = self.running()
        if run is not None:
            return run
        try:
            with waiting("starting a hub in the background"):
                run = asyncio.run(start_background(self.path, self.config.data_dir))
        except StartRefused as exc:
            raise Failed(str(exc)) from exc
        note(f"no hub was running; process {run.pid} now is one and leaves after ten idle minutes")
        return run


def place(args: argparse.Namespace, *, listen: str | None = None, sealed: bool = True) -> Place:
    """Where `--config`, the environment and the current directory lead. Raises Failed with every fault."""
    path = find(args.config, os.environ, Path.cwd())
    try:
        return Place(path, load(path, os.environ, listen=listen, sealed=sealed))
    except ConfigError as exc:
        raise Failed(f"the configuration has {_count(len(exc.faults))}:\n{exc}", USAGE) from exc


def _count(faults: int) -> str:
    return "one fault" if faults == 1 else f"{faults} faults"


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="the configuration (else MCP_HUB_CONFIG, ./hub.yaml, built-in defaults)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")

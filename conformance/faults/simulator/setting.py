"""The configuration file of the simulated hub, and what is changed in it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any, Final

from conformance.faults.simulator.judge import BACK_QUEUE, CALL_S

FIXED: Final = {"steady": "modern", "alpha": "legacy", "beta": "modern", "gamma": "auto"}  # era as configured
TRUSTED: Final = frozenset({"steady", "alpha"})
TIMEOUTS: Final = {"connect": 2, "initialize": 4, "list": 3, "call": 5, "hard": 12}


def entry(id: str, era: str, *, trusted: bool = False, pins: str = "quarantine") -> dict[str, Any]:
    return {
        "command": sys.executable,  # never started: it only has to be there
        "args": [id],
        "era": era,
        "trusted": trusted,
        "pins": pins,
        "timeouts": TIMEOUTS,
    }


class Setting:
    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.path, self.data_dir, self._dice = folder / "hub.json", folder / "data", dice
        self._said: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "data_dir": str(self.data_dir),
            "mcpServers": {id: entry(id, era, trusted=id in TRUSTED) for id, era in FIXED.items()},
            "endpoints": {
                "/mcp": {},
                "/narrow/mcp": {"servers": ["steady", "alpha", "beta"], "tools": ["*__get_*"], "read_only": False},
            },
            "edge": {"call_s": CALL_S, "drain_s": 5, "back_queue": BACK_QUEUE},
            "limits": {"per_caller": {"per_minute": 100_000, "burst": 10_000}},
        }
        self.write()

    def write(self) -> None:
        self.path.write_text(json.dumps(self._said))
        self.path.chmod(0o600)

    def spoil(self) -> None:
        """What is in the file now has a fault in its second half."""
        self.path.write_text(json.dumps({**self._said, "endpoints": {"/mcp": {"servers": ["nobody"]}}}))

    def change(self) -> None:
        narrow = self._said["endpoints"]["/narrow/mcp"]
        match self._dice.randrange(5):
            case 0:
                narrow["tools"] = self._dice.choice([["*__get_*"], ["alpha__*"], ["*__put_one", "steady__*"]])
            case 1:
                narrow["read_only"] = not narrow["read_only"]
            case 2:
                narrow["servers"] = self._dice.choice([["steady", "alpha", "beta"], ["steady", "beta"], ["steady"]])
            case 3:
                per_minute = self._dice.choice([600, 100_000])
                self._said["limits"]["per_caller"] = {"per_minute": per_minute, "burst": max(50, per_minute // 10)}
            case _:
                pins = self._dice.choice(["quarantine", "warn", "off"])
                self._said["mcpServers"]["beta"]["pins"] = pins
        self.write()

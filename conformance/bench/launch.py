"""Starts a hub as `mcp-hub` does, and writes down which stages its pipeline has. Only the bench uses it.

    python -m conformance.bench.launch STAGES_FILE [--without NAME]... -- serve --config FILE

With --without the pipeline is built without the named stages: no configuration can do that. `--without log` gives it
an auditor that writes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hub import assembly
from hub.cli.main import main as hub
from hub.config import Config
from hub.core.call import Outcome
from hub.core.pipeline import Pipeline, Record
from hub.core.ports import Auditor, Stage

LOG = "log"


class Silent:
    """An auditor that keeps nothing."""

    async def intent(self, record: Record) -> None:
        pass

    async def finish(self, record: Record, outcome: Outcome) -> None:
        pass


def prepare(told: Path, without: Sequence[str]) -> None:
    """From now on every pipeline of this process is built without these, and names its stages in `told`."""
    whole = assembly.pipeline

    def pipeline(config: Config, ports: assembly.StagePorts, dispatch: Stage, audit: Auditor) -> Pipeline:
        if not without:
            made = whole(config, ports, dispatch, audit)
        else:
            every = assembly.stages(config, ports)
            if unknown := set(without) - {LOG} - {stage.name for stage in every}:
                raise SystemExit(f"there is no stage {', '.join(sorted(unknown))}")
            kept = [stage for stage in every if stage.name not in without]
            made = Pipeline(kept, dispatch, Silent() if LOG in without else audit)
        told.write_text(json.dumps(made.names))
        return made

    setattr(assembly, "pipeline", pipeline)  # noqa: B010  # a module's function, for this process alone


def main() -> int:
    mine, theirs = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    prepare(Path(mine[0]), [name for flag, name in zip(mine[1::2], mine[2::2], strict=True) if flag == "--without"])
    sys.argv = ["mcp-hub", *theirs]
    return hub()


if __name__ == "__main__":
    sys.exit(main())

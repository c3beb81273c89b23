"""What the process table says."""

from __future__ import annotations

from pathlib import Path


def is_running(pid: int) -> bool:
    """Zombies have ended; what is left of them is their parent's business."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children(pid: int | None) -> list[int]:
    """Zombies too."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

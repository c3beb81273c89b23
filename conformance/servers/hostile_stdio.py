"""A stdio MCP server that starts well and is hostile in its calls.

    python -m conformance.servers.hostile_stdio ERA [FILE]

ERA is legacy or modern. With FILE its tools are what that file says (an empty one: lists are never answered), and every
call is answered well. Otherwise they are the ways of `hostile_messages`, `repeats` (what it was sent) and those of a
process: `exits`, `shouts` (on stderr) and `spawns` (children that are deaf to TERM, as it is itself).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from conformance.servers.hostile_messages import WAYS, Dies, Id, answer, greeting, line, tool

SHOUT_BYTES: Final = 1_000_000_000  # of stderr
DEAF: Final = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
EXITS: Final = 3

_lock = threading.Lock()


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def shouts() -> None:
    block = b"a word too many\n" * 65_536
    for _ in range(SHOUT_BYTES // len(block)):
        os.write(2, block)


def spawns() -> str:
    """The pids of a deaf child and of a deaf grandchild in a session of its own, whose parent is gone."""
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen([sys.executable, "-c", DEAF], **quiet)
    between = (
        f"import subprocess, sys; n = subprocess.DEVNULL; p = subprocess.Popen([sys.executable, '-c', {DEAF!r}], "
        "start_new_session=True, stdin=n, stdout=n, stderr=n); print(p.pid)"
    )
    grandchild = subprocess.run([sys.executable, "-c", between], capture_output=True, check=True).stdout
    return json.dumps([child.pid, int(grandchild)])


def call(id: Id, name: str, said: str) -> None:
    if name == "exits":
        os._exit(EXITS)
    if name == "shouts":
        shouts()
    if name in ("shouts", "spawns", "repeats"):
        told = spawns() if name == "spawns" else said if name == "repeats" else "well"
        with _lock:
            write(answer(id, told))
        return
    try:
        for part in WAYS[name](id):
            if part:
                write(part)
    except Dies:
        os._exit(EXITS)


def main() -> None:
    era, file = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    own = [tool(name) for name in (*WAYS, "repeats", "exits", "shouts", "spawns")]
    for said in sys.stdin:
        message = json.loads(said)
        if "id" not in message:
            continue
        if message["method"] != "tools/call":
            written = Path(file).read_text() if file is not None else ""
            if file is None or written or message["method"] != "tools/list":
                with _lock:
                    write(line(greeting(message, era, json.loads(written) if written else own)))
        elif file is not None:
            with _lock:
                write(answer(message["id"], "well"))
        else:
            asked = (message["id"], message["params"]["name"], said)
            threading.Thread(target=call, args=asked, daemon=True).start()


if __name__ == "__main__":
    main()

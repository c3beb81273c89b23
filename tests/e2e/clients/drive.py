"""Runs one client of this folder in the environment that has it, and prints what it saw as one line of JSON.

    python drive.py MODULE TASK

TASK is a JSON object: the `road` (http, sse or stdio) with its `url` and `token` or its `command`, the `mode` of a
client that has several, and what to do: `calls` and `gets` as [name, arguments], `reads` as uris. The answer has the
names of all `tools`, `resources` and `prompts`, and the texts that were `called`, `read` and `prompted`, in the order
of the task; what the client cannot do is not in it.

Imports nothing of this project: its environment holds only the client.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

LIMIT_S = 60.0


async def did(module: Any, task: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        said: dict[str, Any] = await module.did(task)
        return said


if __name__ == "__main__":
    print(json.dumps(asyncio.run(did(importlib.import_module(sys.argv[1]), json.loads(sys.argv[2])))))

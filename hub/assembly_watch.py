"""Notices that the configuration file was changed, or that SIGHUP asks for it, and has it read anew.

By asking the file system: editors replace files, mounts tell nothing, and a look costs microseconds. What is there is
read once it has been the same for one look, so that half of a file is no fault.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from hub.assembly_live import Live
from hub.config_yaml import MAX_BYTES

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5


class Look(NamedTuple):
    stat: tuple[int, ...]  # empty: there is no file
    sha256: str = ""


@asynccontextmanager
async def watched(live: Live, path: Path | None, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """While entered: SIGHUP reads the file anew, and so does any change of it."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    known = await asyncio.to_thread(look, path) if path is not None else Look(())
    task = asyncio.create_task(_watch(live, path, known, asked, every_s), name="configuration watch")
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        task.cancel()
        await asyncio.wait((task,))


async def _watch(live: Live, path: Path | None, known: Look, asked: asyncio.Event, every_s: float) -> None:
    before = known
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await asked.wait()
        try:
            await live.catch_up()
            now = await asyncio.to_thread(look, path, before) if path is not None else known
            settled, before = now == before, now
            if asked.is_set():
                asked.clear()
                known = now
                await live.reload("SIGHUP", "system")
            elif settled and now.sha256 != known.sha256:
                await live.reload("file watch", "system")
                known = now
        except Exception:  # the outermost loop of this task: the next look is a new chance
            log.exception("the configuration was not read anew")


def look(path: Path, before: Look = Look(())) -> Look:
    """What is there now; the contents are read only where something differs from `before`."""
    try:
        found = path.stat()
        stat = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stat == before.stat:
            return before
        with path.open("rb") as file:
            return Look(stat, sha256(file.read(MAX_BYTES + 1)).hexdigest())
    except OSError:  # gone, or being replaced
        return Look(())

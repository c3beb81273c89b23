"""Looks host names up for the fetcher, in threads of its own.

The event loop's few threads also serve the servers the hub is configured for: names chosen by strangers, on name
servers that never answer, must not take them all.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread
from typing import Final

from hub.core.ports import FetchRefused

AT_ONCE: Final = 8  # a look-up cannot be called off: one that nobody waits for any more counts until it ends


class Resolver:
    """The operating system's answer, asked once for each call; nothing is kept."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once, self._under_way = at_once, 0

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        """Addresses in the order to try them. Raises OSError, or FetchRefused while too many are under way."""
        if self._under_way >= self._at_once:
            raise FetchRefused("too many host names wait for their name servers; try again later")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[tuple[str, ...]] = loop.create_future()

        def tell(answer: tuple[str, ...] | Exception) -> None:
            self._under_way -= 1
            if found.done():
                return
            if isinstance(answer, Exception):
                found.set_exception(answer)
            else:
                found.set_result(answer)

        def look_up() -> None:
            answer = _addresses(host, port)
            with suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(tell, answer)

        Thread(target=look_up, name="resolver", daemon=True).start()  # it must not hold up the end of the process
        self._under_way += 1
        return await found


def _addresses(host: str, port: int) -> tuple[str, ...] | Exception:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        return exc if isinstance(exc, OSError) else OSError(f"{host} cannot be asked for")
    return tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))

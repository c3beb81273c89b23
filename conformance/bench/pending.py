"""Opens 50 calls to a tool that never answers, says so in one line, and keeps them open until it is ended."""

from __future__ import annotations

import argparse
import asyncio
from urllib.parse import urlsplit

from conformance.bench.load import Task, request


async def hold(task: Task, count: int) -> None:
    streams = []
    for number in range(count):
        reader, writer = await asyncio.open_connection(task.host, task.port)
        writer.write(request(task, number, {}))
        await writer.drain()
        streams.append((reader, writer))
    await asyncio.sleep(0.3)  # until the hub has passed the last of them on
    print("pending", flush=True)
    await asyncio.gather(*(reader.read() for reader, _ in streams))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--count", type=int, default=50)
    given = parser.parse_args()
    url = urlsplit(given.url)
    task = Task(url.hostname or "", url.port or 80, url.path, given.tool, given.token)
    asyncio.run(hold(task, given.count))


if __name__ == "__main__":
    main()

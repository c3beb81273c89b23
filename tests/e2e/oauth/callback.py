"""Where a client on this computer waits: a listener on loopback that keeps each address it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

WAIT_S = 20.0


@dataclass(slots=True)
class Callback:
    url: str = ""
    arrived: list[dict[str, str]] = field(default_factory=list)  # the queries
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def keep(self, query: dict[str, str]) -> None:
        with self._changed:
            self.arrived.append(query)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> dict[str, str]:
        """The last query, once so many have arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.arrived) >= count, WAIT_S), f"{len(self.arrived)} arrived"
            return self.arrived[-1]


@contextmanager
def callback() -> Iterator[Callback]:
    kept = Callback()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            is_ours = parts.path == "/callback"
            self.send_response(200 if is_ours else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>The app has its answer</h1>")
            if is_ours:
                pairs = parse_qsl(parts.query)
                assert len(dict(pairs)) == len(pairs), "no parameter may come twice"
                kept.keep(dict(pairs))

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/callback"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

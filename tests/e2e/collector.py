"""An OpenTelemetry collector as a program of its own (rotel): it takes OTLP/HTTP and prints all it was sent."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.hub_process import until
from tests.equipment import COLLECTOR

_PAIR = re.compile(r" +-> ([\w.]+): \w+\((.*)\)")
_FIELD = re.compile(r" *([A-Za-z ]+?) *: ?(.*)")


@dataclass(slots=True)
class Seen:
    """One span, as the collector says it got it."""

    service: str
    fields: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.fields["Name"]

    @property
    def kind(self) -> str:
        return self.fields["Kind"].removeprefix("SPAN_KIND_").lower()

    @property
    def id(self) -> str:
        return self.fields["ID"]

    @property
    def parent(self) -> str:
        return self.fields["Parent ID"]

    @property
    def trace(self) -> str:
        return self.fields["Trace ID"]

    @property
    def start(self) -> int:
        return int(self.fields["Start time"])

    @property
    def ms(self) -> float:
        return (int(self.fields["End time"]) - self.start) / 1e6


class Collector:
    """A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._out = folder / "collector.txt"
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Collector:
        (program,) = COLLECTOR.python.parent.parent.glob("lib/python*/site-packages/rotel/rotel-agent")
        argv = [str(program), "start", "--otlp-http-endpoint", self.url.removeprefix("http://")]
        argv += ["--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "blackhole"]
        argv += ["--debug-log", "traces", "--debug-log", "metrics", "--debug-log-verbosity", "detailed"]
        argv += ["--log-file", str(self._folder / "collector.log"), "--pid-file", str(self._folder / "collector.pid")]
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            until(self._listens, "the collector listens")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _end(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(10)

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the collector ended: {self.text()}")
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", int(self.url.rpartition(":")[2]))) == 0

    def text(self) -> str:
        """All it has printed."""
        return self._out.read_text()

    def spans(self) -> list[Seen]:
        """All it got that is whole."""
        return read_spans(self.text())


def read_spans(text: str) -> list[Seen]:
    found: list[Seen] = []
    service, current = "", None
    for line in text.splitlines():
        if line.startswith(("ResourceSpans", "ResourceMetrics")):
            current = None
        elif line.startswith("Span #"):
            current = Seen(service)
            found.append(current)
        elif pair := _PAIR.fullmatch(line):
            if current is not None:
                current.attributes[pair[1]] = pair[2]
            elif pair[1] == "service.name":
                service = pair[2]
        elif current is not None and (own := _FIELD.fullmatch(line)):
            current.fields[own[1]] = own[2].strip()
    return [span for span in found if "Status message" in span.fields]


def tree(spans: Sequence[Seen]) -> list[tuple[int, Seen]]:
    """The spans of one trace with their depth, each under its parent and in the order in which they began."""
    ids = {span.id for span in spans}
    below: dict[str, list[Seen]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        below.setdefault(span.parent if span.parent in ids else "", []).append(span)

    def walk(parent: str, depth: int, below: Mapping[str, Sequence[Seen]]) -> list[tuple[int, Seen]]:
        rows = []
        for span in below.get(parent, ()):
            rows += [(depth, span), *walk(span.id, depth + 1, below)]
        return rows

    return walk("", 0, below)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

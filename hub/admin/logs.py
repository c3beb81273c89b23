"""The hub's own log on standard error: one JSON object a line, without secrets, without forged lines.

This is what operators read while something is wrong; what happened is in the audit log, not here.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

MAX_CHARS: Final = 8192  # of one message or traceback

_SECRETS: Final = re.compile(
    r"""(?ix)
    (?P<keep>
        \b(?:bearer|basic)\s+
      | \b[\w-]*(?:token|secret|passw(?:or)?d|api[-_]?key|private[-_]?key|authorization|cookie|session[-_]?id)
        ["']?\s*[=:]\s*["']?(?:(?:bearer|basic)\s+)?
      | ://[^/\s:@]*:(?=[^/\s@]+@)
    )
    (?P<secret>[^\s"'&,;@<>{}\[\]()]{4,})
    | \bmhk_[\w-]+
    | \bsk-[\w-]{16,}
    | \bgh[pousr]_\w{16,}
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    """
)


def redact(text: str) -> str:
    """The text with everything that looks like a credential taken out."""
    return _SECRETS.sub(lambda found: f"{found['keep'] or ''}[redacted]", text)


class JsonLines(logging.Formatter):
    """One record as one line; control characters leave as JSON escapes."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        call = getattr(record, "call", None)
        if isinstance(call, str):
            line["call"] = call
        if record.exc_info:
            line["trace"] = _clean(self.formatException(record.exc_info))
        return json.dumps(line)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send everything to standard error in this form; called once, before anything logs."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        # start-up chatter is no news, nor is one line for each request that strangers garble: they could fill a disk
        logger.setLevel(logging.WARNING if name == "asyncio" else logging.ERROR)
    logging.getLogger("authlib").setLevel(logging.INFO)  # at debug it tells the tokens it makes
    logging.captureWarnings(True)


def _clean(text: str) -> str:
    return redact(text if len(text) <= MAX_CHARS else text[:MAX_CHARS] + f"... ({len(text)} characters)")

"""The bare server of the bench over stdio: one line in, one line out, nothing else.

    python -m conformance.servers.echo_stdio [--legacy]

Tools as `conformance.servers.echo`, but for those that wait; `count` tells how many calls it answered.
"""

from __future__ import annotations

import sys

import msgspec

from conformance.servers.echo import Echo


def main() -> None:
    echo = Echo(legacy="--legacy" in sys.argv)
    read, out = sys.stdin.buffer.readline, sys.stdout.buffer
    while line := read():
        asked = msgspec.json.decode(line)
        if "id" not in asked:
            continue
        answer = {"jsonrpc": "2.0", "id": asked["id"]}
        result = echo.result(asked["method"], asked.get("params") or {})
        if result is None:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        else:
            answer["result"] = result
        out.write(msgspec.json.encode(answer) + b"\n")
        out.flush()


if __name__ == "__main__":
    main()

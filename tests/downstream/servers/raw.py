"""A stdio server in plain Python that misbehaves on request: argv says how to connect, the tool what to do."""

import json
import os
import subprocess
import sys
import time
from typing import Any

MODE = sys.argv[1]
seen: list[dict[str, Any]] = []  # notifications that the client sent
held: list[Any] = []  # ids of requests that are not answered yet


def write(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(id: Any, result: Any) -> None:
    write({"jsonrpc": "2.0", "id": id, "result": result})


def refuse(id: Any, code: int, data: Any = None) -> None:
    write({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no", "data": data}})


def told(method: str, **params: Any) -> None:
    write({"jsonrpc": "2.0", "method": method, "params": params})


def text(words: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(words)}], "structuredContent": words}


def read() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        if MODE == "stubborn":
            time.sleep(600)
        sys.exit(0)
    message: dict[str, Any] = json.loads(line)
    return message


def grandchild(script: str) -> int:
    made = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    return int(made.stdout.readline())


def call(id: Any, params: dict[str, Any]) -> None:
    name, given, meta = params["name"], params.get("arguments", {}), params.get("_meta", {})
    token = meta.get("progressToken")
    match name:
        case "echo":
            answer(id, text({"arguments": given, "meta": meta}) | {"unknownField": 2**70})
        case "env":
            answer(id, text(dict(os.environ)))
        case "pid":
            answer(id, text({"pid": os.getpid()}))
        case "cwd":
            answer(id, text({"cwd": os.getcwd()}))
        case "seen":
            answer(id, text({"seen": seen}))
        case "hang":
            held.append(id)
        case "release":
            for late in held:
                answer(late, text("late"))
            answer(id, text("released"))
        case "twice":
            answer(id, text("first"))
            answer(id, text("second"))
            answer(10**9, text("foreign"))
            answer("someone", text("foreign"))
        case "big":
            size = given["size"]
            if given.get("id_last"):
                sys.stdout.write('{"result":{"content":[{"type":"text","text":"')
            else:
                sys.stdout.write(f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"')
            for _ in range(size // 65536):
                sys.stdout.write("x" * 65536)
            sys.stdout.write("x" * (size % 65536) + '"}]}')
            sys.stdout.write(f',"jsonrpc":"2.0","id":{id}}}\n' if given.get("id_last") else "}\n")
            sys.stdout.flush()
        case "garbage":
            for _ in range(given["lines"]):
                sys.stdout.write("not json\n")
            sys.stdout.flush()
            answer(id, text("after"))
        case "die":
            os._exit(7)
        case "answer_and_die":
            answer(id, text("last words"))
            os._exit(0)
        case "progress":
            for n in range(given["steps"]):
                time.sleep(given.get("pause_s", 0))
                told("notifications/progress", progressToken=token, progress=n + 1, total=given["steps"])
            answer(id, text("done"))
        case "log":
            for level in given["levels"]:
                told("notifications/message", level=level, data="words")
            answer(id, text("logged"))
        case "stderr":
            for _ in range(given["size"] // 65536):
                sys.stderr.write(("e" * 127 + "\n") * 512)
            sys.stderr.write(given.get("last", "") + "\n")
            sys.stderr.flush()
            answer(id, text("printed"))
        case "ask":
            write({"jsonrpc": "2.0", "id": "s1", "method": given["method"], "params": {}})
            answer(id, text(read()))
        case "changed":
            told("notifications/tools/list_changed")
            answer(id, text("told"))
        case "close_output":
            os.close(1)
            time.sleep(600)
        case "deaf":
            answer(id, text("deaf from now on"))
            time.sleep(600)
        case "error":
            refuse(id, -32050, {"why": "data"})
        case "grandchild":
            answer(id, text({"pid": grandchild("trap '' TERM; echo $$; exec 1>&-; while :; do sleep 1; done")}))
        case "daemon":
            script = "setsid sh -c \"trap '' TERM; echo \\$\\$; exec 1>&-; while :; do sleep 1; done\" & exit"
            answer(id, text({"pid": grandchild(script)}))


def discover(id: Any) -> None:
    capabilities: dict[str, Any] = {"tools": {"listChanged": MODE == "listen"}, "logging": {}}
    told_info = {"io.modelcontextprotocol/serverInfo": {"name": "raw", "version": "1"}}
    answer(id, {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "_meta": told_info})


def on_request(message: dict[str, Any]) -> None:
    id, method, params = message["id"], message["method"], message.get("params") or {}
    match method, MODE:
        case "server/discover", "modern" | "listen" | "stubborn":
            discover(id)
        case "server/discover", "exit_on_probe":
            sys.exit(4)
        case "server/discover", "slow_modern" if held:
            discover(id)
        case "server/discover", "swallow" | "slow_modern" | "garbled_initialize" | "neither" if not held:
            held.append("the question")
        case "server/discover", "future":
            refuse(id, -32022, {"supported": ["2031-01-01"], "requested": "2026-07-28"})
        case "server/discover", "garbled":
            answer(id, "no object")
        case "server/discover", "legacy_only_discover":
            answer(id, {"supportedVersions": ["2025-11-25"], "capabilities": {}})
        case "initialize", "slow_modern" | "neither":
            held.append("initialize")
            refuse(id, -32022, {"supported": ["2026-07-28"], "requested": "2025-11-25"})
        case "initialize", "refuse":
            refuse(id, -32603)
        case "initialize", "ancient":
            answer(id, {"protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": {}})
        case "initialize", "garbled_initialize":
            answer(id, [])
        case "initialize", _:
            version = params["protocolVersion"]
            capabilities: dict[str, Any] = {"tools": {}, "logging": {}}
            info = {"name": "raw", "version": "1"}
            answer(id, {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info})
        case "subscriptions/listen", "listen":
            meta = {"io.modelcontextprotocol/subscriptionId": id}
            told("notifications/subscriptions/acknowledged", notifications=params["notifications"], _meta=meta)
        case "tools/call", _:
            call(id, params)
        case "ping" | "logging/setLevel", _:
            seen.append({"method": method, "params": params})
            answer(id, {})
        case _:
            refuse(id, -32601)


def main() -> None:
    if MODE == "exit":
        sys.stderr.write("cannot find my configuration\n")
        sys.exit(3)
    if MODE == "mute":
        time.sleep(600)
    if MODE == "banner":
        sys.stdout.write("Welcome to the server!\n{}\n")
        sys.stdout.flush()
    if MODE == "noise":
        while True:
            sys.stdout.write("spam\n")
    while True:
        message = read()
        if "id" in message and "method" in message:
            on_request(message)
        else:
            seen.append(message)


main()

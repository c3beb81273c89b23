"""A stored secret on its way from the command line to the one server that refers to it, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from tests.e2e.real import Hub, wait_until

CANARY: Final = "s3cret-canary-4d7c1b"
NEW: Final = "s3cret-canary-9a20fe"

# A legacy stdio server whose one tool tells a hash of the token it was given.
SERVER: Final = """
import hashlib, json, os, sys
told = hashlib.sha256(os.environ.get("TOKEN", "").encode()).hexdigest()
for line in sys.stdin:
    said = json.loads(line)
    if said.get("id") is None:
        continue
    answer = {"jsonrpc": "2.0", "id": said["id"]}
    if said["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                            "serverInfo": {"name": "s", "version": "1"}}
    elif said["method"] == "tools/list":
        answer["result"] = {"tools": [{"name": "token", "inputSchema": {"type": "object"}}]}
    elif said["method"] == "tools/call":
        answer["result"] = {"content": [{"type": "text", "text": told}]}
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    print(json.dumps(answer), flush=True)
"""


def store(hub: Hub, name: str, value: str) -> Any:
    done = subprocess.run(
        hub.verb("secrets", "set", name, "--json"),
        input=value + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        env=hub.environment,
        cwd=hub.folder,
    )
    assert done.returncode == 0, done.stderr
    assert value not in done.stdout + done.stderr
    return json.loads(done.stdout)


def told_by(hub: Hub, server: str) -> str:
    done = hub.told("tools", "call", f"{server}__token", "--json")
    assert done.returncode == 0, done.stderr
    text: str = json.loads(done.stdout)["content"][0]["text"]
    return text


def digest(value: str) -> str:
    return sha256(value.encode()).hexdigest()


def test_a_stored_secret_reaches_its_server_alone_and_a_new_value_at_once(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    entry = {"command": sys.executable, "args": [str(script)], "era": "legacy"}
    hub = Hub(tmp_path / "hub", {"with": {**entry, "env": {"TOKEN": "secret:token"}}, "without": entry})
    hub.folder.mkdir()
    said = {"listen": "127.0.0.1:0", "data_dir": str(hub.data_dir), "mcpServers": hub.servers}
    hub.config.write_text(json.dumps(said))
    hub.config.chmod(0o600)
    refused = subprocess.run(
        hub.verb("serve"), capture_output=True, text=True, timeout=60, env=hub.environment, cwd=hub.folder
    )
    assert refused.returncode == 2
    assert "run: mcp-hub secrets set token" in refused.stderr
    assert store(hub, "token", CANARY)["used_by"] == ["with"]
    try:
        hub.start()
        assert told_by(hub, "with") == digest(CANARY)
        assert told_by(hub, "without") == digest("")
        assert store(hub, "token", NEW)["version"] == 2
        wait_until(lambda: told_by(hub, "with") == digest(NEW) or None, "the new value")
        assert hub.told("secrets", "remove", "token").returncode == 1
        assert hub.told("secrets", "rekey").returncode == 0
        assert told_by(hub, "with") == digest(NEW)
        shown = [hub.told(*words).stdout for words in (("secrets", "list"), ("servers", "list"), ("audit", "tail"))]
        assert hub.stop() == 0
        hub.start()
        assert told_by(hub, "with") == digest(NEW)
    finally:
        if hub.child is not None:
            hub.stop()
    files = [file for file in hub.folder.rglob("*") if file.is_file()]
    assert hub.log in files
    assert hub.data_dir / "hub.db" in files
    for value in (CANARY, NEW):
        assert value not in "".join(shown)
        assert [file for file in files if value.encode() in file.read_bytes()] == []

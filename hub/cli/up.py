"""`mcp-hub up`: a hub to try, and on the screen all that a first use needs."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from hub.admin.logs import configure
from hub.cli.failure import Failed
from hub.cli.place import Place, add_config, place
from hub.cli.screen import out
from hub.cli.serve import add_listen, serve
from hub.identity.tokens import local_tokens
from hub.running import Run

FIRST_TOOL: Final = "sandbox__query_customer_data"
CLIENTS_PAGE: Final = "hub/docs/clients.md"
FIRST_ARGUMENTS: Final = {"customer_id": "C-1001"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_listen(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    where = place(args, listen=args.listen, sealed=False)
    if _told_running(where):
        return 0
    config = where.config
    configure("warning" if config.log_level == "info" else config.log_level)  # the screen is for the reader
    try:
        return serve(config, lambda run: out(screen(where, run)), sandbox=True)
    except Failed:
        if _told_running(where):  # another `up` was quicker
            return 0
        raise


def screen(where: Place, run: Run) -> str:
    """What a new user reads: the endpoint, a block for each client, a first call."""
    token = local_tokens(where.config.data_dir, where.config.tokens).client
    config = ["--config", str(where.path)] if where.path is not None else []
    command = own_command()
    call = shlex.join([*command, "tools", "call", FIRST_TOOL, "--args", json.dumps(FIRST_ARGUMENTS), *config])
    http = {"url": run.url, "headers": {"Authorization": f"Bearer {token}"}}
    stdio = {"command": command[0], "args": [*command[1:], "stdio", *config]}
    add = ["claude", "mcp", "add", "--transport", "http", "mcp-hub", run.url]
    claude_code = shlex.join([*add, "--header", f"Authorization: Bearer {token}"])
    parts = (
        ("mcp-hub is running", f"endpoint  {run.url}\nprocess   {run.pid} (Ctrl-C stops it)"),
        ("Claude Desktop: claude_desktop_config.json", _block({"mcpServers": {"mcp-hub": stdio}})),
        ("VS Code: .vscode/mcp.json", _block({"servers": {"mcp-hub": {"type": "http", **http}}})),
        ("Cursor: ~/.cursor/mcp.json", _block({"mcpServers": {"mcp-hub": http}})),
        ("Claude Code: run", claude_code),
        ("Windsurf, Gemini CLI, Codex and others", f"see {CLIENTS_PAGE}"),
        ("A first call, in a second terminal", call),
    )
    return "\n\n".join(f"{title}\n{'-' * len(title)}\n{body}" for title, body in parts) + "\n"


def own_command() -> tuple[str, ...]:
    """How another program starts this one: by its absolute path, because clients have a PATH of their own."""
    script = Path(sys.argv[0])
    if script.name == "mcp-hub" and script.is_file():
        return (str(script.absolute()),)
    beside = Path(sys.executable).with_name("mcp-hub")
    if beside.is_file():
        return (str(beside),)
    found = shutil.which("mcp-hub")
    return (found,) if found else (sys.executable, "-m", "hub.cli.main")


def _told_running(where: Place) -> bool:
    run = where.running()
    if run is None:
        return False
    out(f"mcp-hub is running at {run.url} (process {run.pid}); stop it with: kill {run.pid}")
    return True


def _block(value: object) -> str:
    return json.dumps(value, indent=2)

"""`mcp-hub serve`: the hub in the foreground, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from hub.admin.logs import configure
from hub.cli.failure import USAGE, Failed
from hub.cli.place import Place, add_config, place
from hub.cli.screen import note, out
from hub.config import Config, ConfigError, Listen
from hub.core.errors import HubError
from hub.identity.tokens import local_tokens
from hub.running import DataDir, PortBusy, Run, StartRefused, listen_on

IDLE_EXIT_S: Final = 600.0  # of a background hub: the next client starts another one in a second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_listen(parser)
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)  # `mcp-hub stdio` starts it so
    parser.set_defaults(run=run)


def add_listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen; port 0 takes a free one")


def run(args: argparse.Namespace) -> int:
    where = place(args, listen=args.listen, sealed=False)
    config = where.config
    configure(config.log_level)
    if args.background:
        sandbox = where.path is None
        return serve(_elsewhere_if_taken(config), _announce, sandbox=sandbox, idle_exit_s=IDLE_EXIT_S)
    refuse_second(where)
    return serve(config, _announce)


def serve(
    config: Config, announce: Callable[[Run], None], *, sandbox: bool = False, idle_exit_s: float | None = None
) -> int:
    """Run the hub until it ends. Raises Failed, in words, when it does not start."""
    from hub.assembly import serve as assembled  # the MCP SDK costs half a second: only here is it needed

    check_tokens(config)
    for warning in config.warnings:
        note(f"warning: {warning}")
    try:
        return run_loop(assembled(config, announce=announce, sandbox=sandbox, idle_exit_s=idle_exit_s))
    except ConfigError as exc:  # what can be known only once the store of secrets is open
        raise Failed(f"the configuration has faults:\n{exc}", USAGE) from exc
    except (StartRefused, HubError, OSError) as exc:
        raise Failed(str(exc)) from exc


def check_tokens(config: Config) -> None:
    """A token that is no good is wrong usage, and said before anything starts."""
    try:
        DataDir(config.data_dir).create()
        local_tokens(config.data_dir, config.tokens)
    except StartRefused as exc:
        raise Failed(str(exc)) from exc
    except ValueError as exc:
        raise Failed(str(exc), USAGE) from exc


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it exists."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def refuse_second(where: Place) -> None:
    """Say who serves this directory before half a second goes into starting another hub."""
    run = where.running()
    if run is not None:
        raise Failed(
            f"a hub already serves {where.config.data_dir} at {run.url} (process {run.pid}); "
            f"use it, stop it (kill {run.pid}), or give this one another data_dir"
        )


def _announce(run: Run) -> None:
    out(f"mcp-hub serves {run.url} (process {run.pid})")


def _elsewhere_if_taken(config: Config) -> Config:
    """A hub that nobody chose a port for takes a free one when its own is in use: its clients read `run.json`."""
    try:
        listen_on(config.listen.host, config.listen.port).close()
    except PortBusy:
        return config.listening(Listen(config.listen.host, 0))
    except StartRefused:
        return config  # the start itself says why
    return config

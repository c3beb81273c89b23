"""The gateways of others in front of the same servers, each as its makers say it is run, with its log turned down."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.bench.equipment import ENVOY, FASTMCP, MCP_PROXY
from conformance.bench.gateways import Gateway, free_port, rpc, wait_open
from conformance.bench.processes import move_apart, started
from conformance.bench.session import in_session
from tests.equipment import ROOT

STDIO = "conformance.servers.echo_stdio"
STDIO_SERVER = ("-m", STDIO)


@contextmanager
def envoy(where: set[int], downstreams: tuple[Gateway, Gateway, Gateway], folder: Path) -> Iterator[Gateway]:
    """Envoy's MCP router over three servers, of which the first is called."""
    port = free_port()
    text = (Path(__file__).parent / "envoy.yaml").read_text().replace("@PORT@", str(port))
    for mark, server in zip(("@ONE@", "@TWO@", "@THREE@"), downstreams, strict=True):
        text = text.replace(mark, str(server.port))
    conf = folder / "envoy.yaml"
    conf.write_text(text)
    flags = ["--concurrency", "1", "--log-level", "off", "--use-dynamic-base-id"]
    command = [str(ENVOY.python.with_name("envoy")), "-c", str(conf), *flags]
    with started(command, where) as child:
        wait_open(port)
        yield Gateway("envoy", f"http://127.0.0.1:{port}/mcp", child.pid, "one__")


@contextmanager
def mcp_proxy(where: set[int], servers_core: set[int]) -> Iterator[Gateway]:
    """mcp-proxy, which puts a stdio server behind a url; its server is not its cost."""
    port = free_port()
    command = [str(MCP_PROXY.python.with_name("mcp-proxy")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--pass-environment", "--log-level", "ERROR", "--", sys.executable, *STDIO_SERVER, "--legacy"]
    with started(command, where, {"PYTHONPATH": str(ROOT)}) as child:
        wait_open(port, 30)
        move_apart(child.pid, STDIO, servers_core)
        url = f"http://127.0.0.1:{port}/mcp"
        yield Gateway("mcp-proxy", url, child.pid, era="legacy", apart=STDIO, share=0.05)


@contextmanager
def fastmcp(where: set[int], downstream: Gateway) -> Iterator[Gateway]:
    """FastMCP's proxy with one session for all callers, its fastest way."""
    port = free_port()
    script = str(Path(__file__).parent / "fastmcp_proxy.py")
    command = [str(FASTMCP.python), script, downstream.url, str(port)]
    with started(command, where) as child:
        wait_open(port, 60)
        yield Gateway("fastmcp", f"http://127.0.0.1:{port}/mcp", child.pid, era="legacy", share=0.02)


def counted(gateway: Gateway) -> int:
    """How many calls the stdio server behind this gateway says it has answered."""
    if gateway.era == "modern":
        result = rpc(gateway, "tools/call", {"name": f"{gateway.prefix}count", "arguments": {}})
    else:
        result = in_session(gateway, {"name": f"{gateway.prefix}count", "arguments": {}})
    return int(result["content"][0]["text"])

"""CPU per `tools/call` of the whole process tree: direct, nginx, others and the hub, in interleaved rounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from conformance.bench import gateways, peers
from conformance.bench.equipment import lacking, must_have
from conformance.bench.gateways import Gateway
from conformance.bench.processes import cores, move_apart
from tests.equipment import ROOT

Ask = Callable[[int], dict[str, Any]]
Behind = Literal["modern", "legacy", "stdio"]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of work, and who does it beside the hub."""

    name: str
    what: str
    peers: tuple[str, ...]
    concurrency: int = 16
    calls: int = 2000  # of a round
    rounds: int = 6
    shape: Literal["echo", "big"] = "echo"
    client: Literal["modern", "legacy"] = "modern"
    behind: Behind = "modern"  # what the hub calls
    reads: bool = True  # the server's word that its tools only read is trusted: one entry in the log, not two


ECHO = "tools/call echo, 100 bytes, modern to modern"
CASES = (
    Case("echo", f"{ECHO}, concurrency 16", ("nginx", "envoy", "mcp-proxy", "fastmcp"), calls=4000, rounds=10),
    Case("echo-write", "the same, as a call that may write: intent and outcome in the log", ("nginx",), reads=False),
    Case("echo-1", f"{ECHO}, concurrency 1", ("nginx", "envoy"), concurrency=1, calls=1000),
    Case("echo-64", f"{ECHO}, concurrency 64", ("nginx", "envoy"), concurrency=64, calls=4000, rounds=8),
    Case("big", "a result of 100 KB, concurrency 16", ("nginx", "envoy", "mcp-proxy"), calls=800, shape="big"),
    Case("stdio", "echo of a stdio server, which is not counted", ("nginx", "mcp-proxy"), behind="stdio"),
    Case("legacy-in", "echo, client in a session of 2025-11-25, modern server", ("nginx",), client="legacy"),
    Case("legacy-out", "echo, modern client, server in a session of 2025-11-25", ("nginx",), behind="legacy"),
)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A gateway in its place, and how the server behind it counts."""

    gateway: Gateway
    count: Callable[[], int]

    @property
    def name(self) -> str:
        return self.gateway.name


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a case to run; the bench's own check runs little."""

    rounds: int | None = None
    calls: int | None = None


def measure(case: Case, folder: Path, size: Size) -> dict[str, Any]:
    """Medians over the rounds for each gateway, and the hub's ratio to nginx round by round."""
    rounds, calls = size.rounds or case.rounds, size.calls or case.calls
    folder.mkdir(exist_ok=True)
    _, where = cores()
    with ExitStack() as stack:
        entrants, left_out = enter(case, folder, stack)
        asks = [stack.enter_context(load_of(case, each.gateway, where)) for each in entrants]
        for entrant, ask in zip(entrants, asks, strict=True):  # warm-up, not counted
            one_round(entrant, ask, max(calls // 4, 2 * case.concurrency))
        seen: dict[str, list[dict[str, Any]]] = {entrant.name: [] for entrant in entrants}
        for number in range(rounds):
            for entrant, ask in zip(entrants, asks, strict=True):
                share = max(int(calls * entrant.gateway.share), case.concurrency)
                seen[entrant.name].append(one_round(entrant, ask, share))
            tell(number, rounds, seen)
        return {
            "what": case.what,
            "rounds": rounds,
            "calls_per_round": calls,
            "rows": {each.name: {"client": each.gateway.era, **summary(seen[each.name])} for each in entrants},
            "ratios": ratios(seen),
            "proof": proof(entrants[-1].gateway, seen["hub"]),
            "left_out": left_out,
        }


def load_of(case: Case, gateway: Gateway, where: set[int]) -> AbstractContextManager[Ask]:
    tool = f"{gateway.prefix}{case.shape}"
    return gateway.loaded(where, tool=tool, concurrency=case.concurrency, shape=case.shape)


def enter(case: Case, folder: Path, stack: ExitStack) -> tuple[list[Entrant], list[str]]:
    """Everybody started and ready, the server itself first and the hub last; and who is missing, in words."""
    core, where = cores()
    modern = stack.enter_context(gateways.echo(where))
    legacy = stack.enter_context(gateways.echo(where, "--legacy")) if "legacy" in (case.client, case.behind) else modern
    # nginx translates nothing: it passes what the client speaks to a server that speaks the same
    direct = legacy if case.client == "legacy" else modern
    entrants, left_out = [Entrant(direct, lambda: gateways.answered(direct))], []
    for peer in case.peers:
        if (reason := lacking(peer)) is not None:
            if must_have(peer):
                raise RuntimeError(f"the bench needs {peer}: {reason}")
            left_out.append(reason)
            continue
        entrants.append(peer_of(peer, direct, folder, stack))
    servers: dict[str, dict[str, Any]] = {
        "modern": {"url": modern.url},
        "legacy": {"url": legacy.url},
        "stdio": STDIO_SERVER,
    }
    server = {**servers[case.behind], "trusted": case.reads}
    hub = stack.enter_context(gateways.hub(core, {"echo": server}, folder / "hub"))
    gateways.wait_for_tools(hub, "echo__echo", "echo__big")
    hub = Gateway(hub.name, hub.url, hub.pid, hub.prefix, hub.token, case.client, peers.STDIO, folder=hub.folder)
    if case.behind == "stdio":
        if not move_apart(hub.pid, peers.STDIO, where):
            raise RuntimeError("the hub started no stdio server")
        entrants.append(Entrant(hub, lambda: peers.counted(hub)))
    else:
        behind = legacy if case.behind == "legacy" else modern
        entrants.append(Entrant(hub, lambda: gateways.answered(behind)))
    return entrants, left_out


STDIO_SERVER = {"command": sys.executable, "args": list(peers.STDIO_SERVER), "env": {"PYTHONPATH": str(ROOT)}}


def peer_of(peer: str, direct: Gateway, folder: Path, stack: ExitStack) -> Entrant:
    core, where = cores()
    if peer == "mcp-proxy":
        proxy = stack.enter_context(peers.mcp_proxy(core, where))
        return Entrant(proxy, lambda: peers.counted(proxy))
    if peer == "fastmcp":
        legacy = stack.enter_context(gateways.echo(where, "--legacy"))
        return Entrant(stack.enter_context(peers.fastmcp(core, legacy)), lambda: gateways.answered(legacy))
    if peer == "envoy":
        others = [stack.enter_context(gateways.echo(where)) for _ in range(2)]
        made = stack.enter_context(peers.envoy(core, (direct, others[0], others[1]), folder))
    else:
        made = stack.enter_context(gateways.nginx(core, direct, folder / "nginx"))
    return Entrant(made, lambda: gateways.answered(direct))


def one_round(entrant: Entrant, ask: Ask, calls: int) -> dict[str, Any]:
    """Raises RuntimeError when an answer was wrong, the server did not see every call, or the hub did not log it."""
    gateway, before = entrant.gateway, entrant.count()
    logged = 0 if gateway.folder is None else gateways.logged(gateway)
    seen = ask(calls)
    logged = 0 if gateway.folder is None else gateways.logged(gateway) - logged
    reached = entrant.count() - before
    if seen["wrong"] or reached != calls:
        raise RuntimeError(
            f"{gateway.name}: {seen['wrong']} wrong, {reached} of {calls} arrived: {seen['first_wrong']}"
        )
    if gateway.folder is not None and logged != calls:
        raise RuntimeError(f"{calls} calls were made through the hub, and {logged} are in its log")
    figures = {"cpu_us": seen["cpu_ns"] / calls / 1000, "calls_per_s": calls / seen["seconds"]}
    return {**seen, **figures, "logged": logged}


def tell(number: int, rounds: int, seen: Mapping[str, list[dict[str, Any]]]) -> None:
    costs = " ".join(f"{name} {runs[-1]['cpu_us']:.0f}" for name, runs in seen.items())
    print(f"  round {number + 1}/{rounds}, us of CPU per call: {costs}", flush=True)


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in ("cpu_us", "calls_per_s", "p50_ms", "p99_ms")}


def ratios(runs: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """The hub against each other gateway, round by round, so that the drift of the machine falls out."""
    found = {}
    for figure, key in (("cpu", "cpu_us"), ("p99", "p99_ms")):
        for name in ("nginx", "envoy"):
            if name in runs:
                each = [ours[key] / theirs[key] for ours, theirs in zip(runs["hub"], runs[name], strict=True)]
                found[f"{figure}_to_{name}"] = {"median": median(each), "min": min(each), "max": max(each)}
    return found


def proof(hub: Gateway, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """That nothing was left out: the stages that ran, and how many of the calls are in the log on the disk."""
    calls, logged = (sum(run[key] for run in runs) for key in ("calls", "logged"))
    return {"stages": gateways.stages_of(hub), "calls": calls, "logged": logged}


def show(result: dict[str, Any]) -> None:
    print(f"  {'':11}{'client':8}{'CPU us/call':>12}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for name, row in result["rows"].items():
        figures = f"{row['cpu_us']:12.1f}{row['calls_per_s']:10.0f}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}"
        print(f"  {name:11}{row['client']:8}{figures}")
    for name, ratio in result["ratios"].items():
        print(f"  hub {name.replace('_', ' ')}: {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    shown = result["proof"]
    print(f"  on: {' '.join(shown['stages'])}; {shown['logged']} of {shown['calls']} calls in the log on disk")
    for reason in result["left_out"]:
        print(f"  left out: {reason}")

"""What a token that the hub's own authorization server gave out costs a call, beside the local token.

One hub, asked with both in turn. The token is had as people have it: through the pages.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from conformance.bench import gateways
from conformance.bench.processes import cores
from tests.e2e.login_place import PASSWORD, Person

NAME: Final = "bench"


def measure(folder: Path, rounds: int = 20, calls: int = 1000) -> dict[str, Any]:
    """Raises RuntimeError when an answer is wrong, or a call did not arrive."""
    core, where = cores()
    with ExitStack() as stack:
        server = stack.enter_context(gateways.echo(where))
        servers = {"echo": {"url": server.url, "trusted": True}}
        local = stack.enter_context(gateways.hub(core, servers, folder / "hub"))
        gateways.wait_for_tools(local, "echo__echo")
        issued = replace(local, token=_token(local))
        asks = {
            name: stack.enter_context(hub.loaded(where, tool="echo__echo", concurrency=16))
            for name, hub in (("local", local), ("issued", issued))
        }
        costs: dict[str, list[float]] = {name: [] for name in asks}
        for number in range(rounds + 1):
            for name, ask in asks.items():
                before, seen = gateways.answered(server), ask(calls)
                reached = gateways.answered(server) - before
                if seen["wrong"] or reached != calls:
                    raise RuntimeError(f"{name}: {seen['wrong']} wrong, {reached} of {calls}: {seen['first_wrong']}")
                if number:  # the first is a warm-up
                    costs[name].append(seen["cpu_ns"] / calls / 1000)
        more = sorted(ours - theirs for ours, theirs in zip(costs["issued"], costs["local"], strict=True))
        return {
            "what": "tools/call echo, concurrency 16: with a token of the hub's own server, and with the local one",
            "rounds": rounds,
            "calls_per_round": calls,
            "local_us": median(costs["local"]),
            "issued_us": median(costs["issued"]),
            "more_us": {"median": median(more), "from": more[len(more) // 4], "to": more[len(more) * 3 // 4]},
            "proof": {"stages": gateways.stages_of(local)},
        }


def _token(hub: gateways.Gateway) -> str:
    wish = json.dumps({"name": NAME, "password": PASSWORD, "roles": ["member"]}).encode()
    headers = {"Authorization": f"Bearer {gateways.ADMIN}", "Content-Type": "application/json"}
    status, body = gateways.ask(hub.port, "POST", "/api/v1/users", wish, headers)
    if status not in (200, 201):
        raise RuntimeError(f"no user was made: {status} {body[:300]!r}")
    with Person(hub.port, NAME) as person:
        person.register("bench")
        return person.log_in().access


def show(result: dict[str, Any]) -> None:
    more = result["more_us"]
    print(
        f"  {result['local_us']:.1f} us with the local token, {result['issued_us']:.1f} us with an issued one: "
        f"{more['median']:+.1f} us (half of the rounds: {more['from']:+.1f} to {more['to']:+.1f})"
    )

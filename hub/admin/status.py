"""What the hub says of itself as a whole."""

from __future__ import annotations

from collections import Counter

from hub.admin.operation import Answer, Asked, Operation
from hub.admin.ports import AdminPorts
from hub.admin.schemas import FLAG, TEXT, answered
from hub.admin.servers import ServerDesk


def operations(ports: AdminPorts) -> tuple[Operation, ...]:
    desk = ServerDesk(ports)

    async def read(asked: Asked) -> Answer:
        states = Counter(row["state"] for row in desk.rows())
        own = {"version": ports.version, "started_at": ports.started_at, "ready": ports.ready()}
        return Answer({**own, "servers": dict(states), **ports.status()})

    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    answer = answered({"version": TEXT, "started_at": TEXT, "ready": FLAG, "servers": counts})
    return (Operation("GET", "/status", "status.read", "the hub as a whole: servers by state", read, answer=answer),)

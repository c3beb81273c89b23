"""An administrator has the file read anew, and reads what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.admin import reload
from hub.config_yaml import Fault
from hub.core.call import Principal
from tests.admin.asking import ADMIN, CLIENT, READER, Answer, Api
from tests.admin.fakes import Parts


@dataclass
class Done:
    changed: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    restart: tuple[str, ...] = ()


@dataclass
class Reloads:
    done: Done = field(default_factory=Done)
    asked: list[str] = field(default_factory=list)

    async def reload(self, who: str) -> Done:
        self.asked.append(who)
        return self.done

    def trouble(self) -> tuple[str, ...]:
        return ("mcpServers.jira: no secret is called k",)


async def ask(reloads: Reloads, who: Principal | None = ADMIN) -> Answer:
    api = Api(Parts().ports(more=reload.operations(reloads)))
    return await api.ask("POST", "/api/v1/reload", who)


async def test_what_changed_and_what_waits_is_told() -> None:
    found = await ask(reloads := Reloads(Done(("server a: added",), (), ("listen changes with a restart",))))
    assert found.status == 200
    assert found.json == {
        "changed": ["server a: added"],
        "restart": ["listen changes with a restart"],
        "trouble": ["mcpServers.jira: no secret is called k"],
    }
    assert reloads.asked == [ADMIN.name]


async def test_a_file_with_faults_is_refused_with_all_of_them() -> None:
    faults = (Fault(3, "mcpServers.a", "needs a command"), Fault(None, "", "is odd"))
    found = await ask(Reloads(Done((), faults)))
    assert found.status == 422
    assert found.json["code"] == "invalid_configuration"
    assert found.json["detail"].endswith("still is: line 3: mcpServers.a: needs a command (and 1 more)")
    assert found.json["faults"][1] == {"line": None, "where": "", "text": "is odd"}
    found = await ask(Reloads(Done((), faults[1:])))
    assert found.json["detail"].endswith("still is: is odd")


async def test_nobody_but_the_admin_is_heard() -> None:
    reloads = Reloads()
    assert [(await ask(reloads, who)).status for who in (None, CLIENT, READER)] == [401, 403, 403]
    assert reloads.asked == []

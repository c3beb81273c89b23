"""Registering, changing and removing servers at run time, and the log's word of it.

For the API, and for the command line without a hub. Secrets of an entry go to the vault before the entry is stored,
and nothing that is told, logged or stored here holds one. What cannot be logged is undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hub.admin.operation import Refused
from hub.admin.paste.drafts import Draft, Rules, one, read, same
from hub.admin.paste.formats import Unreadable
from hub.admin.paste.places import Needed, references
from hub.core.call import Json
from hub.core.ports import Conflict, Journal, RegistryRow, SecretRow
from hub.identity.kek import VaultSealed

if TYPE_CHECKING:
    from hub.downstream.likeness import Likeness
    from hub.downstream.link import ServerSpec


class Configured(Protocol):
    @property
    def servers(self) -> Sequence[ServerSpec]: ...


class Registry(Protocol):
    """The running configuration. Raises ValueError in words for what no server may be, and Conflict."""

    @property
    def config(self) -> Configured: ...

    def rows(self) -> Sequence[RegistryRow]: ...

    async def put_server(self, id: str, entry: Json, who: str, expected: int | None) -> RegistryRow: ...

    async def remove_server(self, id: str, who: str, expected: int) -> None: ...

    async def set_enabled(self, id: str, enabled: bool, who: str) -> None: ...


class SecretVault(Protocol):
    """`hub.identity.vault.Vault`, as entries use it."""

    def rows(self) -> Sequence[SecretRow]: ...

    def get(self, name: str) -> str | None: ...

    async def put(self, name: str, value: str) -> SecretRow: ...

    async def undo(self, name: str, before: SecretRow | None) -> None: ...

    async def remove(self, name: str) -> SecretRow: ...


@dataclass(frozen=True, slots=True)
class Paste:
    """A paste and how it is to be taken."""

    text: str
    name: str | None = None  # of a server that has none
    rename: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    replace: bool = False  # what is registered under the same id and differs
    allow_command: bool = False
    check: bool = False  # say what would be done, and do nothing


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one server of a paste."""

    draft: Draft
    outcome: str  # added, replaced, unchanged, refused, incomplete
    problem: str | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "name": self.draft.name,
            "id": self.draft.id or None,
            "outcome": self.outcome,
            "problem": self.problem,
            "needs": [needed(each) for each in self.draft.needs],
            "warnings": list(self.draft.warnings),
        }


class RegisterDesk:
    def __init__(
        self,
        registry: Registry,
        vault: SecretVault,
        journal: Journal,
        alike: Callable[[str], Sequence[Likeness]] = lambda id: (),
    ) -> None:
        """`alike`: tools of a server that could be taken for another's; only a running hub knows."""
        self._registry, self._vault, self._journal, self._alike = registry, vault, journal, alike

    def show(self, id: str) -> dict[str, Any]:
        """How it is configured: names and references of secrets, never one. Raises Refused."""
        row = self.row(id)
        spec = next((spec for spec in self._registry.config.servers if spec.id == id), None)
        if row is None and spec is None:
            raise _unknown(id)
        stored = {each.name for each in self._vault.rows()}
        entry = dict(row.body) if row is not None else None
        used = sorted(set(references(row.body))) if row is not None else []
        overlay = next((r for r in self._registry.rows() if (r.kind, r.id) == ("overlay", id)), None)
        enabled = entry.get("enabled") is not False if entry is not None else spec is not None and spec.enabled
        return {
            "id": id,
            "provenance": "database" if row is not None else spec.provenance if spec is not None else "",
            "enabled": enabled,
            "overlaid": overlay is not None,
            "in_force": spec is not None,
            "transport": spec.transport if spec is not None else None,
            "entry": entry,
            "env": sorted(spec.env) if spec is not None else [],
            "headers": sorted(spec.headers) if spec is not None else [],
            "secrets": [{"name": name, "stored": name in stored} for name in used],
            "version": row.version if row is not None else None,
            "updated_at": row.updated_at if row is not None else None,
            "updated_by": row.updated_by if row is not None else None,
            "likenesses": [each.as_json() for each in self._alike(id)],
        }

    def row(self, id: str) -> RegistryRow | None:
        return next((row for row in self._registry.rows() if (row.kind, row.id) == ("server", id)), None)

    def own(self, id: str) -> RegistryRow:
        """What an admin registered. Raises Refused for what the file has, and for what nobody has."""
        row = self.row(id)
        if row is not None:
            return row
        if any(spec.id == id for spec in self._registry.config.servers):
            text = f"the server {id!r} was not registered at run time: change it in the configuration file"
            raise Refused(409, "from_file", text)
        raise _unknown(id)

    async def add(self, who: str, id: str, entry: Json, rules: Rules) -> dict[str, Any]:
        """In an admin's own words. Raises Refused."""
        if self.row(id) is not None or any(spec.id == id for spec in self._registry.config.servers):
            text = f"a server is called {id!r} already: mcp-hub servers show {id}; change it, or choose another id"
            raise Refused(409, "exists", text)
        return await self._write(who, "servers.add", _complete(one(id, entry, rules)), None)

    async def replace(self, who: str, id: str, entry: Json, rules: Rules, expected: int) -> dict[str, Any]:
        """Raises Refused and Conflict."""
        before = self.own(id)
        if before.version != expected:
            raise Conflict(id)
        return await self._write(who, "servers.replace", _complete(one(id, entry, rules, self._before)), before)

    async def remove(self, who: str, id: str, expected: int) -> list[str]:
        """The names of the secrets that went with it. Raises Refused and Conflict.

        Gone even where the log does not take it: that only narrows.
        """
        before = self.own(id)
        try:
            await self._registry.remove_server(id, who, expected)
        except (ValueError, LookupError) as exc:
            raise Refused(409, "in_use", str(exc)) from exc
        gone = await self._forget(id, before)
        detail = {"act": "servers.remove", "server": id, "before": dict(before.body), "after": None, "secrets": gone}
        await self._journal.event("admin", who, "done", None, detail)
        return gone

    async def set_enabled(self, who: str, id: str, enabled: bool) -> dict[str, Any]:
        """Of any server. Raises Refused. Logged before it is done when it widens what callers reach."""
        before = self.show(id)["enabled"]
        act = "servers.enable" if enabled else "servers.disable"
        detail = {"act": act, "server": id, "before": {"enabled": before}, "after": {"enabled": enabled}}
        if before is not enabled and enabled:
            await self._journal.event("admin", who, "done", None, detail)
        try:
            await self._registry.set_enabled(id, enabled, who)
        except (ValueError, LookupError) as exc:
            await self._journal.event("admin", who, "error", None, detail)
            raise Refused(409, "not_done", str(exc)) from exc
        if before is not enabled and not enabled:
            await self._journal.event("admin", who, "done", None, detail)
        return self.show(id)

    async def take(self, who: str, paste: Paste) -> list[Taken]:
        """Every server of a paste, each for itself: one that is wrong keeps no other out. Raises Refused."""
        drafts = await self.drafts(paste)
        taken: dict[int, Taken] = {}
        order = sorted(range(len(drafts)), key=lambda place: "variant_of" in drafts[place].entry)
        for place in order:  # a variant after the server it is one of
            taken[place] = await self._take(who, drafts[place], paste)
        return [taken[place] for place in range(len(drafts))]

    async def drafts(self, paste: Paste) -> tuple[Draft, ...]:
        """Raises Refused when the paste as a whole cannot be read."""
        rules = Rules(paste.values, paste.allow_command)
        try:
            return await asyncio.to_thread(
                read, paste.text, rules, name=paste.name, rename=paste.rename, before=self._before
            )
        except Unreadable as exc:
            raise Refused(422, "unreadable", str(exc)) from exc

    async def _take(self, who: str, draft: Draft, paste: Paste) -> Taken:
        if draft.fault is not None:
            return Taken(draft, "refused", draft.fault)
        before = self.row(draft.id)
        if before is not None and same(draft.entry, before.body) and not draft.needs and not self._news(draft):
            return Taken(draft, "unchanged")
        if draft.needs:
            names = ", ".join(each.name for each in draft.needs)
            return Taken(draft, "incomplete", f"it needs {names}")
        if before is None and any(spec.id == draft.id for spec in self._registry.config.servers):
            text = f"the configuration file has a server {draft.id!r}; change it there, or --rename '{draft.name}=NEW'"
            return Taken(draft, "refused", text)
        if before is not None and not paste.replace:
            text = f"a server {draft.id!r} is there already and differs; --replace it, or --rename '{draft.name}=NEW'"
            return Taken(draft, "refused", text)
        outcome = "added" if before is None else "replaced"
        if paste.check:
            return Taken(draft, outcome)
        try:
            await self._write(who, "servers.import", draft, before)
        except Refused as refused:
            return Taken(draft, "refused", str(refused))
        except Conflict:
            return Taken(draft, "refused", "somebody changed it at the same time; import it again")
        return Taken(draft, outcome)

    def values_of(self, draft: Draft) -> frozenset[str]:
        """Every secret that a server of this draft would be given: what must not be shown of its words."""
        stored = (self._vault.get(name) for name in references(draft.entry))
        return frozenset(value for value in (*draft.secrets.values(), *stored) if value)

    def _before(self, id: str) -> Json | None:
        row = self.row(id)
        if row is None or any(self._vault.get(name) is None for name in references(row.body)):
            return None
        return row.body

    def _news(self, draft: Draft) -> list[str]:
        """Secrets of the draft that the vault does not hold so."""
        return [name for name, value in draft.secrets.items() if self._vault.get(name) != value]

    async def _write(self, who: str, act: str, draft: Draft, before: RegistryRow | None) -> dict[str, Any]:
        """Secrets, then the entry, then the log; all of it or nothing. Raises Refused and Conflict.

        Killed in between, at most a secret stays that nothing uses.
        """
        changed = self._news(draft)
        stood = {row.name: row for row in self._vault.rows()}
        put: list[str] = []
        row: RegistryRow | None = None
        try:
            for name in changed:
                await self._vault.put(name, draft.secrets[name])
                put.append(name)
            expected = before.version if before is not None else None
            row = await self._registry.put_server(draft.id, draft.entry, who, expected)
            detail = {"act": act, "server": draft.id, "before": before and dict(before.body), "after": dict(row.body)}
            await self._journal.event("admin", who, "done", None, {**detail, "secrets": changed})
        except Exception as exc:  # whatever failed: what is not in the log must not stand
            for name in put:  # before the entry, which is resolved anew when it is put back
                await self._vault.undo(name, stood.get(name))
            if row is not None:
                await self._put_back(who, row, before)
            if isinstance(exc, ValueError):
                raise Refused(422, "invalid", str(exc)) from exc
            if isinstance(exc, VaultSealed):
                raise Refused(409, "sealed", str(exc)) from exc
            raise
        if before is not None:
            await self._forget(draft.id, before)
        return {**self.show(draft.id), "warnings": list(draft.warnings)}

    async def _put_back(self, who: str, row: RegistryRow, before: RegistryRow | None) -> None:
        if before is None:
            await self._registry.remove_server(row.id, who, row.version)
        else:
            await self._registry.put_server(row.id, before.body, who, row.version)

    async def _forget(self, id: str, gone: RegistryRow) -> list[str]:
        """Its own secrets that no server uses any more."""
        still = {name for row in self._registry.rows() for name in references(row.body)}
        stored = {row.name for row in self._vault.rows()}
        own = {name for name in references(gone.body) if name.startswith(f"{id}.")}
        names = sorted((own - still) & stored)
        for name in names:
            await self._vault.remove(name)
        return names


def needed(each: Needed) -> dict[str, Any]:
    return {
        "name": each.name,
        "where": each.where,
        "secret": each.secret,
        "prompt": each.prompt,
        "choices": list(each.choices),
    }


def _complete(draft: Draft) -> Draft:
    """Raises Refused for one that cannot be stored as it is."""
    if draft.fault is not None:
        raise Refused(422, "invalid", draft.fault)
    if draft.needs:
        needs = [needed(each) for each in draft.needs]
        names = ", ".join(each.name for each in draft.needs)
        raise Refused(422, "incomplete", f"it needs {names}: give each in values", needs=needs)
    if draft.id != draft.name:
        raise Refused(422, "invalid", f"{draft.name!r} is no server id; write {draft.id!r}")
    return draft


def _unknown(id: str) -> Refused:
    return Refused(404, "not_found", f"no server is called {id!r}; see mcp-hub servers list")

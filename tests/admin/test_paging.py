"""Pages of long lists: each row once, whatever changes in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.admin.paging import page
from tests.admin.asking import READER, Api
from tests.admin.fakes import FakeLog, Parts

LOG = FakeLog([{"seq": seq, "call": f"c{seq}"} for seq in range(1, 8)])


@given(rows=st.sets(st.text(min_size=1, max_size=4), max_size=30), limit=st.integers(1, 10))
def test_pages_tell_every_row_once_and_in_order(rows: set[str], limit: int) -> None:
    told, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        query = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        found, cursor = page(sorted(rows, reverse=True), query, str)
        assert len(found) <= limit
        told += found
        pages += 1
    assert told == sorted(rows)
    assert pages == max(1, -(-len(rows) // limit))


def test_rows_that_come_and_go_in_between_move_no_other_row() -> None:
    first, cursor = page(["b", "c", "d"], {"limit": 2}, str)
    assert (first, cursor) == (["b", "c"], "c")
    assert page(["a", "b", "d", "e"], {"limit": 2, "cursor": cursor}, str) == (["d", "e"], None)


async def test_servers_and_keys_come_in_pages() -> None:
    api = Api(Parts().ports())
    first = (await api.ask("GET", "/api/v1/servers?limit=3")).json
    assert [row["id"] for row in first["servers"]] == ["old", "sandbox", "time"]
    last = (await api.ask("GET", f"/api/v1/servers?limit=3&cursor={first['next']}")).json
    assert ([row["id"] for row in last["servers"]], last["next"]) == (["time-canary", "wiki"], None)
    for name in ("a", "b", "c"):
        assert (await api.ask("POST", "/api/v1/keys", body={"name": name})).status == 200
    names, path = [], "/api/v1/keys?limit=1"
    while path:
        found = (await api.ask("GET", path)).json
        names += [row["name"] for row in found["keys"]]
        path = f"/api/v1/keys?limit=1&cursor={found['next']}" if found["next"] else ""
    assert sorted(names) == ["a", "b", "c"]


async def seqs(api: Api, query: str) -> tuple[list[int], str | None]:
    found = (await api.ask("GET", f"/api/v1/audit?{query}", READER)).json
    return [entry["seq"] for entry in found["entries"]], found["next"]


async def test_the_log_is_paged_back_from_its_end() -> None:
    api = Api(Parts(log=LOG).ports())
    assert await seqs(api, "limit=3") == ([5, 6, 7], "older:5")
    assert await seqs(api, "limit=3&cursor=older:5") == ([2, 3, 4], "older:2")
    assert await seqs(api, "limit=3&cursor=older:2") == ([1], None)
    assert await seqs(Api(Parts().ports()), "limit=3") == ([], None)
    assert await seqs(api, "cursor=older:0") == ([], None)


async def test_the_log_is_paged_on_from_a_place() -> None:
    api = Api(Parts(log=LOG).ports())
    assert await seqs(api, "limit=4&after=1") == ([2, 3, 4, 5], "later:5")
    assert await seqs(api, "limit=4&cursor=later:5&after=1") == ([6, 7], None)
    assert await seqs(api, "limit=7&after=0") == ([1, 2, 3, 4, 5, 6, 7], "later:7")
    assert await seqs(api, "cursor=later:7") == ([], None)


async def test_a_cursor_of_another_list_is_refused() -> None:
    found = await Api(Parts(log=LOG).ports()).ask("GET", "/api/v1/audit?cursor=sandbox", READER)
    assert (found.status, found.json["errors"][0]["path"]) == (422, "/cursor")

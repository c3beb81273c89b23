"""What the hub may ask for the login of a server follows what an admin entered, and no name that others answer for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.assembly_connections import Places, _local
from hub.config import Config
from hub.config_auth import Auth
from hub.core.connections import ServerAuth
from hub.core.ports import FetchRefused
from hub.downstream.link import ServerSpec


def config(*urls: str, local: tuple[str, ...] = ()) -> Config:
    servers = tuple(ServerSpec(f"s{n}", "http", url=url, auth=ServerAuth()) for n, url in enumerate(urls))
    return replace(Config(Path("data")), servers=servers, auth=Auth(fetch_local=local))


@pytest.mark.parametrize("url", ["https://localhost:1/x", "https://127.0.0.1:1/x"])
async def test_the_name_of_a_server_opens_no_private_address(url: str) -> None:
    with pytest.raises(FetchRefused, match=r"may not|private|loopback|allowed|machine"):
        await Places(config("https://mcp.vendor.example/mcp")).get(url)


def test_only_addresses_of_servers_and_this_machine_are_private_places_that_may_be_asked() -> None:
    assert _local(config("https://mcp.vendor.example/mcp", "https://wiki.corp/mcp")) == ()
    assert _local(config("https://10.0.0.5/mcp", local=("wiki.corp",))) == ("wiki.corp", "10.0.0.5")
    assert set(_local(config("http://localhost:3000/mcp"))) == {"localhost", "127.0.0.1", "::1"}

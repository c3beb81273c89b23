"""The sandbox as a client meets it, in both eras."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, TextContent, TextResourceContents

from connectors.sandbox.company import CUSTOMERS, ORDERS, TICKETS
from connectors.sandbox.schemas import TOOLS
from connectors.sandbox.server import build


@pytest.fixture(params=["2026-07-28", "legacy"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with Client(build(), mode=request.param) as connected:
        yield connected


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    schema = next(t["outputSchema"] for t in TOOLS if t["name"] == tool)
    jsonschema.validate(result.structured_content, schema)
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


def test_every_order_and_ticket_belongs_to_a_customer() -> None:
    known = {customer.customer_id for customer in CUSTOMERS}
    assert {order.customer_id for order in ORDERS} <= known
    assert {ticket.customer_id for ticket in TICKETS} <= known


def test_no_tool_has_a_composition_at_its_root() -> None:
    for tool in TOOLS:
        assert not {"oneOf", "anyOf", "allOf"} & set(tool["inputSchema"])


async def test_a_customer_is_found_by_number_and_by_address_alike(client: Client) -> None:
    by_number = await called(client, "query_customer_data", customer_id="C-1001")
    by_address = await called(client, "query_customer_data", email=" Einkauf@Nordlicht.example ")
    assert by_number == by_address
    assert "orders" not in by_number


async def test_orders_come_newest_first_when_asked_for(client: Client) -> None:
    found = await called(client, "query_customer_data", customer_id="C-1001", include_orders=True)
    dates = [order["placed_on"] for order in found["orders"]]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) == 3


@pytest.mark.parametrize("arguments", [{}, {"customer_id": "C-1001", "email": "a@b.example"}])
async def test_exactly_one_way_to_name_a_customer(client: Client, arguments: dict[str, str]) -> None:
    assert "exactly one" in await refused(client, "query_customer_data", **arguments)


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("query_customer_data", {"customer_id": "C-9999"}, "list_customers"),
        ("query_customer_data", {"email": "nobody@nowhere.example"}, "list_customers"),
        ("query_customer_data", {"customer_id": "1"}, "customer_id"),
        ("get_order", {"order_id": "O-00000"}, "no order O-00000"),
        ("list_support_tickets", {"customer_id": "C-9999"}, "no customer"),
        ("create_support_ticket", {"customer_id": "C-1001"}, "required"),
    ],
)
async def test_a_mistake_says_what_to_do(client: Client, tool: str, arguments: dict[str, str], words: str) -> None:
    assert words in await refused(client, tool, **arguments)


async def test_lists_are_filtered_and_say_how_many_there_are(client: Client) -> None:
    found = await called(client, "list_customers", plan="enterprise", limit=2)
    assert (len(found["customers"]), found["total"]) == (2, 4)
    assert (await called(client, "list_customers", country="IS"))["total"] == 1
    assert (await called(client, "get_order", order_id="O-50121"))["customer_name"] == "Nordlicht Logistik GmbH"


async def test_a_new_ticket_is_listed_first(client: Client) -> None:
    made = await called(
        client,
        "create_support_ticket",
        customer_id="C-1002",
        subject="Grinder arrived without a plug",
        description="The replacement grinder has no mains plug; please send one.",
        category="product",
        priority="high",
    )
    listed = await called(client, "list_support_tickets", customer_id="C-1002", status="open")
    assert listed["tickets"][0] == made["ticket"]


async def test_a_report_tells_its_progress(client: Client) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    result = await client.call_tool("build_account_report", {"customer_id": "C-1001"}, progress_callback=on_progress)
    assert result.structured_content is not None
    assert result.structured_content["open_tickets"] == 2
    assert seen == [1, 2, 3]


async def test_resources_and_the_template_are_readable(client: Client) -> None:
    listed = await client.list_resources()
    assert [resource.uri for resource in listed.resources] == ["doc://api-reference", "schema://database"]
    templates = await client.list_resource_templates()
    assert templates.resource_templates[0].uri_template == "customer://{customer_id}"
    for uri, words in (
        ("doc://api-reference", "query_customer_data"),
        ("schema://database", "CREATE TABLE"),
        ("customer://C-1003", "Brightwater"),
    ):
        contents = (await client.read_resource(uri)).contents[0]
        assert isinstance(contents, TextResourceContents)
        assert words in contents.text


@pytest.mark.parametrize("uri", ["doc://nothing", "customer://C-9999"])
async def test_an_unknown_resource_is_refused(client: Client, uri: str) -> None:
    with pytest.raises(MCPError):
        await client.read_resource(uri)


async def test_the_prompt_has_defaults_and_refuses_other_choices(client: Client) -> None:
    prompt = (await client.list_prompts()).prompts[0]
    assert prompt.name == "customer-analysis"
    result = await client.get_prompt("customer-analysis", {"customer_id": "C-1005"})
    text = result.messages[0].content
    assert isinstance(text, TextContent)
    assert "Kestrel Robotics" in text.text
    assert "five sentences" in text.text
    for wrong in ({"focus": "gossip"}, {"tone": "angry"}, {"customer_id": "C-0000"}):
        with pytest.raises(MCPError):
            await client.get_prompt("customer-analysis", {"customer_id": "C-1005", **wrong})
    with pytest.raises(MCPError):
        await client.get_prompt("nothing")


@pytest.mark.parametrize(
    ("argument", "typed", "values"),
    [
        ("customer_id", "nord", ["C-1001"]),
        ("focus", "r", ["revenue"]),
        ("tone", "", ["brief", "detailed"]),
        ("other", "", []),
    ],
)
async def test_arguments_complete(client: Client, argument: str, typed: str, values: list[str]) -> None:
    ref = PromptReference(type="ref/prompt", name="customer-analysis")
    done = await client.complete(ref, {"name": argument, "value": typed})
    assert done.completion.values == values


async def test_an_unknown_tool_is_a_protocol_error(client: Client) -> None:
    with pytest.raises(MCPError):
        await client.call_tool("nothing", {})

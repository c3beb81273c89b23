"""What the sandbox's tools take and give, as JSON Schema 2020-12, and how each behaves.

No top-level `oneOf`/`anyOf`: model APIs refuse tools that have one, so "exactly one of" is said in words and checked
by the tool.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from connectors.sandbox.company import Category, OrderStatus, Plan, Priority, TicketStatus

Schema = dict[str, Any]


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return made if not required else {**made, "required": required}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _choice(options: object, description: str, **more: Any) -> Schema:
    return {"type": "string", "enum": list(get_args(options)), "description": description, **more}


_CUSTOMER_ID: Final = _text("Customer number, such as C-1001", pattern="^C-[0-9]{4}$")
_ORDER_ID: Final = _text("Order number, such as O-50121", pattern="^O-[0-9]{5}$")
_LIMIT: Final = {"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "description": "How many at the most"}

_CUSTOMER: Final = _object(
    {
        "customer_id": {"type": "string"},
        "name": {"type": "string"},
        "email": {"type": "string"},
        "country": _text("ISO 3166 code"),
        "plan": _choice(Plan, "Contract"),
        "since": _text("ISO date"),
        "account_manager": {"type": "string"},
    },
    ["customer_id", "name", "email", "country", "plan", "since", "account_manager"],
)
_ORDER: Final = _object(
    {
        "order_id": {"type": "string"},
        "customer_id": {"type": "string"},
        "placed_on": _text("ISO date"),
        "status": _choice(OrderStatus, "Where the order is"),
        "items": {"type": "integer"},
        "total_cents": {"type": "integer", "description": "Total in hundredths of the currency"},
        "currency": {"type": "string"},
    },
    ["order_id", "customer_id", "placed_on", "status", "items", "total_cents", "currency"],
)
_TICKET: Final = _object(
    {
        "ticket_id": {"type": "string"},
        "customer_id": {"type": "string"},
        "subject": {"type": "string"},
        "description": {"type": "string"},
        "priority": _choice(Priority, "How soon"),
        "category": _choice(Category, "What about"),
        "status": _choice(TicketStatus, "Where it stands"),
        "opened_on": _text("ISO date"),
    },
    ["ticket_id", "customer_id", "subject", "description", "priority", "category", "status", "opened_on"],
)


def _list_of(key: str, item: Schema) -> Schema:
    return _object(
        {
            key: {"type": "array", "items": item},
            "total": {"type": "integer", "description": "Matches before the limit"},
        },
        [key, "total"],
    )


def _tool(name: str, title: str, description: str, takes: Schema, gives: Schema, **hints: bool) -> Schema:
    annotations = {"title": title, "openWorldHint": False, "readOnlyHint": True, "idempotentHint": True, **hints}
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": takes,
        "outputSchema": gives,
        "annotations": annotations,
    }


TOOLS: Final = (
    _tool(
        "query_customer_data",
        "Look up a customer",
        "One customer of the company, by customer_id or by email: give exactly one of the two. "
        "Set include_orders to get the orders as well, newest first.",
        _object(
            {
                "customer_id": _CUSTOMER_ID,
                "email": _text("The address the customer orders with", minLength=3, maxLength=254),
                "include_orders": {"type": "boolean", "default": False, "description": "Add the customer's orders"},
            }
        ),
        _object({"customer": _CUSTOMER, "orders": {"type": "array", "items": _ORDER}}, ["customer"]),
    ),
    _tool(
        "list_customers",
        "List customers",
        "Customers in the order of their numbers, optionally of one plan or one country.",
        _object(
            {
                "plan": _choice(Plan, "Only customers with this contract"),
                "country": _text("Only this ISO 3166 country", pattern="^[A-Z]{2}$"),
                "limit": _LIMIT,
            }
        ),
        _list_of("customers", _CUSTOMER),
    ),
    _tool(
        "get_order",
        "Look up an order",
        "One order by its number.",
        _object({"order_id": _ORDER_ID}, ["order_id"]),
        _object({"order": _ORDER, "customer_name": {"type": "string"}}, ["order", "customer_name"]),
    ),
    _tool(
        "list_support_tickets",
        "List support tickets",
        "Support tickets, newest first, optionally of one customer or in one state.",
        _object(
            {
                "customer_id": _CUSTOMER_ID,
                "status": _choice(TicketStatus, "Only tickets in this state"),
                "limit": _LIMIT,
            }
        ),
        _list_of("tickets", _TICKET),
    ),
    _tool(
        "create_support_ticket",
        "Open a support ticket",
        "Open a ticket for a customer. It lives until the hub stops.",
        _object(
            {
                "customer_id": _CUSTOMER_ID,
                "subject": _text("One line", minLength=5, maxLength=120),
                "description": _text("What happened and what is wanted", minLength=10, maxLength=2000),
                "priority": _choice(Priority, "How soon", default="normal"),
                "category": _choice(Category, "What about"),
            },
            ["customer_id", "subject", "description", "category"],
        ),
        _object({"ticket": _TICKET}, ["ticket"]),
        readOnlyHint=False,
        idempotentHint=False,
        destructiveHint=False,
    ),
    _tool(
        "build_account_report",
        "Build an account report",
        "Turnover, open orders and open tickets of one customer in one text. Reports its progress.",
        _object({"customer_id": _CUSTOMER_ID}, ["customer_id"]),
        _object(
            {
                "customer_id": {"type": "string"},
                "turnover_cents": {"type": "integer"},
                "open_orders": {"type": "integer"},
                "open_tickets": {"type": "integer"},
                "report": _text("The report in Markdown"),
            },
            ["customer_id", "turnover_cents", "open_orders", "open_tickets", "report"],
        ),
    ),
)

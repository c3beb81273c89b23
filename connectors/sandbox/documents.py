"""The sandbox's resources and its prompt: what the company wrote down about itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final, Literal, get_args

from connectors.sandbox.company import CUSTOMERS, NAME
from connectors.sandbox.desk import Mistake, find_customer, orders_of
from connectors.sandbox.schemas import TOOLS

Focus = Literal["overview", "revenue", "support"]
Tone = Literal["brief", "detailed"]
FOCUS: Final = get_args(Focus)
TONE: Final = get_args(Tone)

PROMPT: Final = "customer-analysis"
PROMPT_ARGUMENTS: Final = (
    {"name": "customer_id", "description": "Customer number, such as C-1001", "required": True},
    {"name": "focus", "description": f"One of {', '.join(FOCUS)}; default overview", "required": False},
    {"name": "tone", "description": f"One of {', '.join(TONE)}; default brief", "required": False},
)
TEMPLATE: Final = "customer://{customer_id}"
_ASKS: Final = {
    "overview": "Say who they are, what they buy and what is open.",
    "revenue": "Say how their turnover develops and which orders carry it.",
    "support": "Say what they complain about, how urgent it is and what should happen next.",
}

SCHEMA: Final = """\
-- Harbour & Pine Supply, order desk
CREATE TABLE customers (
  customer_id     TEXT PRIMARY KEY,          -- C-1001
  name            TEXT NOT NULL,
  email           TEXT NOT NULL UNIQUE,
  country         CHAR(2) NOT NULL,          -- ISO 3166
  plan            TEXT NOT NULL CHECK (plan IN ('starter', 'business', 'enterprise')),
  since           DATE NOT NULL,
  account_manager TEXT NOT NULL
);
CREATE TABLE orders (
  order_id    TEXT PRIMARY KEY,              -- O-50121
  customer_id TEXT NOT NULL REFERENCES customers,
  placed_on   DATE NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('pending', 'shipped', 'delivered', 'returned')),
  items       INTEGER NOT NULL,
  total_cents BIGINT NOT NULL,
  currency    CHAR(3) NOT NULL DEFAULT 'EUR'
);
CREATE TABLE support_tickets (
  ticket_id   TEXT PRIMARY KEY,              -- T-3001
  customer_id TEXT NOT NULL REFERENCES customers,
  subject     VARCHAR(120) NOT NULL,
  description VARCHAR(2000) NOT NULL,
  priority    TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
  category    TEXT NOT NULL CHECK (category IN ('billing', 'delivery', 'product', 'account')),
  status      TEXT NOT NULL CHECK (status IN ('open', 'waiting', 'resolved')),
  opened_on   DATE NOT NULL
);
"""


def api_reference() -> str:
    """Markdown, made from the tool definitions so that it cannot disagree with them."""
    parts = [f"# {NAME}: order desk API", "", "Amounts are in hundredths of the currency. Dates are ISO 8601.", ""]
    for tool in TOOLS:
        parts += [f"## {tool['name']}", "", tool["description"], ""]
        required = tool["inputSchema"].get("required", [])
        for name, schema in tool["inputSchema"]["properties"].items():
            mark = "required" if name in required else "optional"
            parts.append(f"- `{name}` ({schema['type']}, {mark}): {schema['description']}")
        parts.append("")
    return "\n".join(parts)


RESOURCES: Final = (
    ("doc://api-reference", "API reference", "Every tool of the order desk and what it takes", "text/markdown"),
    ("schema://database", "Database schema", "The order desk's tables as SQL", "application/sql"),
)


def read(uri: str) -> tuple[str, str]:
    """(text, media type). Raises `Mistake` for a uri that is none of the sandbox's."""
    if uri == "doc://api-reference":
        return api_reference(), "text/markdown"
    if uri == "schema://database":
        return SCHEMA, "application/sql"
    if uri.startswith("customer://"):
        customer = find_customer(uri.removeprefix("customer://"))
        orders = [asdict(order) for order in orders_of(customer.customer_id)]
        return json.dumps({"customer": asdict(customer), "orders": orders}, indent=2), "application/json"
    raise Mistake("there is no such resource; resources/list shows what there is")


def analysis(given: dict[str, str]) -> str:
    """The text of the prompt. Raises `Mistake` for a value outside its choices."""
    focus, tone = given.get("focus", "overview"), given.get("tone", "brief")
    if focus not in FOCUS:
        raise Mistake(f"focus is one of {', '.join(FOCUS)}")
    if tone not in TONE:
        raise Mistake(f"tone is one of {', '.join(TONE)}")
    customer = find_customer(given.get("customer_id", ""))
    length = "Answer in five sentences at the most." if tone == "brief" else "Give the figures behind each statement."
    return (
        f"Analyse {customer.name} ({customer.customer_id}), a {customer.plan} customer of {NAME}. "
        f"Use query_customer_data with include_orders and list_support_tickets. {_ASKS[focus]} {length}"
    )


def complete(argument: str, typed: str) -> list[str]:
    """Values that start with what was typed; by customer name as well, because people remember names."""
    if argument == "customer_id":
        wanted = typed.lower()
        return [
            c.customer_id for c in CUSTOMERS if c.customer_id.lower().startswith(wanted) or wanted in c.name.lower()
        ]
    choices: dict[str, tuple[Any, ...]] = {"focus": FOCUS, "tone": TONE}
    return [value for value in choices.get(argument, ()) if value.startswith(typed)]

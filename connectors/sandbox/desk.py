"""What the sandbox's tools do: questions to the company's data, and tickets that live as long as the server.

Raises `Mistake` with words for the model when arguments make no sense together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from connectors.sandbox.company import CUSTOMERS, ORDERS, TICKETS, Customer, Order, Ticket

MAX_TICKETS: Final = 1000  # the sandbox keeps them in memory
Progress = Callable[[float, float, str], Awaitable[None]]
Arguments = dict[str, Any]


class Mistake(Exception):
    """The call makes no sense as asked; the text says what to do instead."""


class Desk:
    def __init__(self) -> None:
        self._tickets: list[Ticket] = list(TICKETS)

    async def answer(self, tool: str, given: Arguments, progress: Progress) -> dict[str, Any]:
        """The tool's structured answer. Raises `Mistake`, and KeyError for a tool that does not exist."""
        if tool == "build_account_report":
            return await self._report(given, progress)
        plain: dict[str, Callable[[Arguments], dict[str, Any]]] = {
            "query_customer_data": self._customer,
            "list_customers": self._customers,
            "get_order": self._order,
            "list_support_tickets": self._list_tickets,
            "create_support_ticket": self._open_ticket,
        }
        return plain[tool](given)

    def _customer(self, given: Arguments) -> dict[str, Any]:
        if ("customer_id" in given) == ("email" in given):
            raise Mistake("give exactly one of customer_id and email")
        customer = find_customer(given["customer_id"]) if "customer_id" in given else find_by_email(given["email"])
        found: dict[str, Any] = {"customer": asdict(customer)}
        if given.get("include_orders"):
            found["orders"] = [asdict(order) for order in orders_of(customer.customer_id)]
        return found

    def _customers(self, given: Arguments) -> dict[str, Any]:
        matches = [
            asdict(customer)
            for customer in CUSTOMERS
            if given.get("plan", customer.plan) == customer.plan
            and given.get("country", customer.country) == customer.country
        ]
        return {"customers": matches[: given.get("limit", 20)], "total": len(matches)}

    def _order(self, given: Arguments) -> dict[str, Any]:
        for order in ORDERS:
            if order.order_id == given["order_id"]:
                return {"order": asdict(order), "customer_name": find_customer(order.customer_id).name}
        raise Mistake(f"there is no order {given['order_id']}; query_customer_data with include_orders lists them")

    def _list_tickets(self, given: Arguments) -> dict[str, Any]:
        if "customer_id" in given:
            find_customer(given["customer_id"])
        matches = [
            asdict(ticket)
            for ticket in sorted(self._tickets, key=lambda ticket: (ticket.opened_on, ticket.ticket_id), reverse=True)
            if given.get("customer_id", ticket.customer_id) == ticket.customer_id
            and given.get("status", ticket.status) == ticket.status
        ]
        return {"tickets": matches[: given.get("limit", 20)], "total": len(matches)}

    def _open_ticket(self, given: Arguments) -> dict[str, Any]:
        customer = find_customer(given["customer_id"])
        if len(self._tickets) >= MAX_TICKETS:
            raise Mistake(f"the sandbox holds {MAX_TICKETS} tickets at the most; restart the hub to empty it")
        ticket = Ticket(
            ticket_id=f"T-{3001 + len(self._tickets)}",
            customer_id=customer.customer_id,
            subject=given["subject"],
            description=given["description"],
            priority=given.get("priority", "normal"),
            category=given["category"],
            status="open",
            opened_on=datetime.now(UTC).date().isoformat(),
        )
        self._tickets.append(ticket)
        return {"ticket": asdict(ticket)}

    async def _report(self, given: Arguments, progress: Progress) -> dict[str, Any]:
        customer = find_customer(given["customer_id"])
        await progress(1, 3, "orders")
        orders = orders_of(customer.customer_id)
        turnover = sum(order.total_cents for order in orders if order.status != "returned")
        waiting = [order for order in orders if order.status in ("pending", "shipped")]
        await progress(2, 3, "tickets")
        tickets = [t for t in self._tickets if t.customer_id == customer.customer_id and t.status != "resolved"]
        await progress(3, 3, "text")
        lines = [
            f"# {customer.name} ({customer.customer_id}, {customer.plan})",
            f"Turnover on record: {turnover / 100:,.2f} EUR in {len(orders)} orders.",
            *(
                f"- open order {order.order_id}: {order.status}, {order.total_cents / 100:,.2f} EUR"
                for order in waiting
            ),
            *(f"- open ticket {ticket.ticket_id} ({ticket.priority}): {ticket.subject}" for ticket in tickets),
        ]
        return {
            "customer_id": customer.customer_id,
            "turnover_cents": turnover,
            "open_orders": len(waiting),
            "open_tickets": len(tickets),
            "report": "\n".join(lines),
        }


def find_customer(customer_id: str) -> Customer:
    for customer in CUSTOMERS:
        if customer.customer_id == customer_id:
            return customer
    raise Mistake(f"there is no customer {customer_id}; list_customers shows who there is")


def find_by_email(email: str) -> Customer:
    for customer in CUSTOMERS:
        if customer.email == email.strip().lower():
            return customer
    raise Mistake("no customer orders with that address; list_customers shows who there is")


def orders_of(customer_id: str) -> list[Order]:
    """Newest first."""
    return sorted(
        (order for order in ORDERS if order.customer_id == customer_id),
        key=lambda order: order.placed_on,
        reverse=True,
    )

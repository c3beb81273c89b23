"""Harbour & Pine Supply: a small fictional company, complete enough to ask sensible questions of.

Data only. Everything speaks of the same customers, so that orders, tickets and documents agree with one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Plan = Literal["starter", "business", "enterprise"]
OrderStatus = Literal["pending", "shipped", "delivered", "returned"]
TicketStatus = Literal["open", "waiting", "resolved"]
Priority = Literal["low", "normal", "high", "urgent"]
Category = Literal["billing", "delivery", "product", "account"]

NAME: Final = "Harbour & Pine Supply"


@dataclass(frozen=True, slots=True)
class Customer:
    customer_id: str
    name: str
    email: str
    country: str
    plan: Plan
    since: str
    account_manager: str


@dataclass(frozen=True, slots=True)
class Order:
    order_id: str
    customer_id: str
    placed_on: str
    status: OrderStatus
    items: int
    total_cents: int
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Ticket:
    ticket_id: str
    customer_id: str
    subject: str
    description: str
    priority: Priority
    category: Category
    status: TicketStatus
    opened_on: str


CUSTOMERS: Final = tuple(
    Customer(*row)
    for row in (
        (
            "C-1001",
            "Nordlicht Logistik GmbH",
            "einkauf@nordlicht.example",
            "DE",
            "enterprise",
            "2021-03-15",
            "Ines Aldana",
        ),
        ("C-1002", "Café Solstice", "bonjour@cafe-solstice.example", "FR", "starter", "2024-06-02", "Tom Okafor"),
        (
            "C-1003",
            "Brightwater Clinics",
            "procurement@brightwater.example",
            "GB",
            "enterprise",
            "2020-11-30",
            "Ines Aldana",
        ),
        ("C-1004", "Taller Mendoza", "hola@taller-mendoza.example", "ES", "starter", "2025-01-20", "Tom Okafor"),
        ("C-1005", "Kestrel Robotics", "ap@kestrel-robotics.example", "NL", "business", "2022-08-09", "Mei Tanaka"),
        ("C-1006", "Hallberg Orchards", "kontor@hallberg.example", "SE", "business", "2023-04-18", "Mei Tanaka"),
        ("C-1007", "Pico & Daughters", "orders@pico-daughters.example", "IT", "starter", "2025-09-01", "Tom Okafor"),
        (
            "C-1008",
            "Meridian School Trust",
            "finance@meridian-trust.example",
            "GB",
            "business",
            "2022-01-12",
            "Mei Tanaka",
        ),
        ("C-1009", "Ateliers Fontaine", "compta@fontaine.example", "FR", "business", "2023-10-27", "Tom Okafor"),
        (
            "C-1010",
            "Volcano Data Centers",
            "supply@volcano-dc.example",
            "IS",
            "enterprise",
            "2021-07-05",
            "Ines Aldana",
        ),
        ("C-1011", "Little Fern Nursery", "jo@littlefern.example", "IE", "starter", "2026-02-14", "Tom Okafor"),
        ("C-1012", "Castellan Hotels", "purchasing@castellan.example", "PT", "enterprise", "2022-05-23", "Ines Aldana"),
    )
)

ORDERS: Final = tuple(
    Order(*row)
    for row in (
        ("O-50121", "C-1001", "2026-10-02", "delivered", 42, 1_284_500),
        ("O-50133", "C-1003", "2026-10-06", "delivered", 18, 932_040),
        ("O-50140", "C-1002", "2026-10-08", "delivered", 3, 18_990),
        ("O-50152", "C-1005", "2026-10-13", "delivered", 9, 214_700),
        ("O-50158", "C-1010", "2026-10-15", "delivered", 64, 3_410_000),
        ("O-50163", "C-1004", "2026-10-19", "returned", 1, 7_450),
        ("O-50170", "C-1006", "2026-10-22", "delivered", 12, 156_200),
        ("O-50177", "C-1012", "2026-10-26", "delivered", 120, 2_206_800),
        ("O-50181", "C-1001", "2026-10-29", "delivered", 36, 1_120_750),
        ("O-50189", "C-1008", "2026-11-02", "delivered", 25, 388_125),
        ("O-50194", "C-1009", "2026-11-04", "shipped", 7, 91_300),
        ("O-50201", "C-1003", "2026-11-09", "shipped", 20, 1_004_400),
        ("O-50206", "C-1007", "2026-11-11", "pending", 2, 12_600),
        ("O-50212", "C-1001", "2026-11-16", "shipped", 40, 1_330_000),
        ("O-50215", "C-1010", "2026-11-17", "pending", 16, 870_000),
        ("O-50218", "C-1011", "2026-11-18", "pending", 4, 22_360),
        ("O-50223", "C-1012", "2026-11-20", "pending", 55, 1_045_500),
        ("O-50226", "C-1005", "2026-11-21", "pending", 11, 263_890),
    )
)

TICKETS: Final = tuple(
    Ticket(*row)
    for row in (
        (
            "T-3001", "C-1001", "Two pallets missing from O-50181",
            "The delivery note lists 36 units, 34 arrived. Warehouse photos are attached to the delivery record.",
            "high", "delivery", "open", "2026-11-03",
        ),
        (
            "T-3002", "C-1003", "Invoice shows the old VAT number",
            "Brightwater changed its VAT registration in September; O-50133 was billed with the former one.",
            "normal", "billing", "waiting", "2026-10-12",
        ),
        (
            "T-3003", "C-1004", "Refund for returned shelf bracket",
            "O-50163 came back on 2026-10-27. The refund is not on the account yet.",
            "normal", "billing", "open", "2026-11-05",
        ),
        (
            "T-3004", "C-1010", "Rack rails do not fit cabinet revision B",
            "16 of the 64 rails from O-50158 are 4 mm too long for the new cabinets.",
            "urgent", "product", "open", "2026-11-12",
        ),
        (
            "T-3005", "C-1008", "Second buyer account for the north campus",
            "The trust wants its own approver for orders under 500 EUR.",
            "low", "account", "resolved", "2026-10-20",
        ),
        (
            "T-3006", "C-1001", "Delivery window for O-50212",
            "Nordlicht can only receive before 10:00 on weekdays while dock 3 is rebuilt.",
            "normal", "delivery", "waiting", "2026-11-17",
        ),
        (
            "T-3007", "C-1012", "Split invoice by property",
            "Castellan needs one invoice per hotel for O-50223.",
            "normal", "billing", "open", "2026-11-20",
        ),
    )
)  # fmt: skip

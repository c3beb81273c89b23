"""What each `code` of a refusal of the admin API means: the words of the reference page, one row a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    statuses: tuple[int, ...]
    means: str


PROBLEMS: Final = (
    Code("malformed", (400,), "the body is not JSON, or `If-Match` is not one strong ETag"),
    Code("gone", (400,), "the body ended early"),
    Code("unauthenticated", (401,), "there is no bearer token, or not a valid one"),
    Code("forbidden", (403,), "the credential has not the scope that this takes"),
    Code("not_found", (404,), "there is nothing of this name, or nothing at this path"),
    Code("wrong_method", (405,), "the path does not take this method; `Allow` names those it takes"),
    Code("late", (408,), "the body did not arrive in time"),
    Code("built_in", (409,), "it comes with the hub and cannot be removed"),
    Code("conflict", (409,), "a key of this name is live, or is not one that can be rotated"),
    Code("exists", (409,), "there is one of this name already"),
    Code("from_file", (409,), "it stands in the configuration file: change it there"),
    Code("in_use", (409,), "something else needs it"),
    Code("not_done", (409,), "it cannot be switched; the text says why"),
    Code("nothing_waits", (409,), "no such changed definition waits for approval"),
    Code("sealed", (409,), "the vault cannot be opened; the text says what is wrong with its key"),
    Code("changed", (412,), "somebody was quicker: read it again, and decide anew"),
    Code("too_large", (413,), "the body is larger than this operation takes"),
    Code("unsupported_media", (415,), "the body must be `application/json`"),
    Code("incomplete", (422,), "the entry needs values; `needs` names each"),
    Code(
        "invalid", (422,), "a body, a query or an entry is not as it must be; `errors` names each place that is known"
    ),
    Code("invalid_configuration", (422,), "the configuration file has mistakes; `faults` names each, with its line"),
    Code("too_many", (422,), "more servers than one dry run takes"),
    Code("unreadable", (422,), "the paste as a whole cannot be read; the text has the line and column"),
    Code("if_match_missing", (428,), "send `If-Match` with the ETag that you were shown"),
    Code("internal", (500,), "the hub failed; its own log says why, under the id in `call`"),
)

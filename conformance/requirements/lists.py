"""Paging and caching, in both roles."""

from __future__ import annotations

from typing import Final

from conformance.requirements.row import Requirement, divergence, tested

_PAGES: Final = "2026-07-28 server/utilities/pagination"
_CACHE: Final = "2026-07-28 server/utilities/caching"

ROWS: Final[tuple[Requirement, ...]] = (
    tested(
        "paging.all-lists",
        f"{_PAGES}#operations-supporting-pagination",
        "Lists come in pages in both eras; no item is lost or doubled.",
        "tests/e2e/test_contract_build.py::test_lists_are_paged_in_both_eras_and_no_item_is_lost_or_doubled",
        "tests/wire/test_pages.py::test_all_pages_together_are_the_list_once",
    ),
    tested(
        "paging.last-page",
        f"{_PAGES}#response-format",
        "The last page has no cursor.",
        "tests/wire/test_pages.py::test_a_list_that_fits_is_given_whole_without_a_cursor",
        "tests/wire/test_pages.py::test_a_cursor_behind_everything_that_is_left_ends_the_list",
    ),
    tested(
        "paging.stable-cursors",
        f"{_PAGES}#implementation-guidelines",
        "A cursor survives changes of the list and a restart.",
        "tests/wire/test_pages.py::test_a_cursor_resumes_where_its_item_stood_after_that_item_went",
        "tests/wire/test_pages.py::test_a_cursor_gives_nothing_twice_when_items_were_added_before_it",
        "tests/wire/test_pages.py::test_a_cursor_survives_a_restart_with_the_same_key",
    ),
    tested(
        "paging.invalid-cursor",
        f"{_PAGES}#error-handling",
        "A forged, changed or foreign cursor is -32602.",
        "tests/e2e/test_contract_bad_input.py::test_forged_cursors_are_refused",
        "tests/wire/test_pages.py::test_a_changed_cursor_is_refused",
        "tests/wire/test_pages.py::test_a_cursor_of_another_caller_endpoint_or_list_is_refused",
    ),
    tested(
        "paging.client-empty-cursor",
        f"{_PAGES}#implementation-guidelines",
        "A server's cursors are opaque; an empty string is one.",
        "tests/downstream/test_listing.py::test_all_pages_are_fetched_in_their_order_and_an_empty_cursor_is_one",
    ),
    tested(
        "paging.client-bounded",
        f"{_PAGES}#implementation-guidelines",
        "A list whose cursors repeat or never end is cut, and said to be.",
        "tests/downstream/test_listing.py::test_a_repeating_cursor_ends_the_list",
        "tests/downstream/test_listing.py::test_a_list_without_end_is_cut_after_its_pages",
    ),
    tested(
        "paging.client-whole-or-nothing",
        f"{_PAGES}#implementation-guidelines",
        "A list that fails in its middle is no list: the last whole one stands.",
        "tests/downstream/test_listing.py::test_a_list_that_fails_in_its_middle_is_no_list",
        "tests/downstream/test_catalog.py::test_a_failed_fetch_keeps_the_last_list_stale_and_is_tried_again",
    ),
    tested(
        "caching.hints-present",
        _CACHE,
        "Lists, reads and discovery carry `ttlMs` and `cacheScope`; tool results carry neither.",
        "tests/e2e/test_contract_build.py::test_caching_hints_are_honest",
        "tests/wire/test_encode.py::test_a_tool_result_has_no_caching_hints",
        "tests/wire/test_encode.py::test_every_page_of_a_list_says_how_long_it_may_be_kept_and_by_nobody_else",
    ),
    tested(
        "caching.ttl-not-negative",
        f"{_CACHE}#ttlms",
        "What is no whole number of milliseconds from 0 on is no time.",
        "tests/wire/test_caching.py::test_only_a_whole_number_of_milliseconds_is_a_time",
    ),
    tested(
        "caching.private",
        f"{_CACHE}#cachescope",
        "Everything is private: what one caller sees is cached for no other.",
        "tests/wire/test_encode.py::test_what_was_read_keeps_its_time_and_is_private",
        "tests/e2e/test_contract_build.py::test_caching_hints_are_honest",
    ),
    tested(
        "caching.same-scope-on-pages",
        f"{_CACHE}#interaction-with-pagination",
        "All pages of a list have the same scope and a time of their own list.",
        "tests/wire/test_encode.py::test_every_page_of_a_list_says_how_long_it_may_be_kept_and_by_nobody_else",
        "tests/edge/test_hints.py::test_every_page_over_http_says_it",
    ),
    tested(
        "caching.least-of-servers",
        f"{_CACHE}#ttlms",
        "A merged list may be kept as long as the least that its servers promise, and never after news of a change.",
        "tests/downstream/test_catalog.py::test_a_list_may_be_kept_as_long_as_the_least_that_its_servers_promise",
        "tests/downstream/test_catalog.py::test_news_of_a_list_leaves_nothing_of_it_until_it_is_fetched_again",
    ),
    tested(
        "caching.legacy-clients-told-nothing",
        _CACHE,
        "Clients of the session era get no hints.",
        "tests/edge/test_hints.py::test_legacy_clients_are_told_no_times",
    ),
    tested(
        "caching.client-absent-ttl",
        f"{_CACHE}#ttlms",
        "A server that gives no time promises none.",
        "tests/wire/test_caching.py::test_a_result_that_says_nothing_may_not_be_kept",
        "tests/downstream/test_listing.py::test_a_legacy_server_promises_no_time_whatever_it_sends",
    ),
    tested(
        "caching.client-least-of-pages",
        f"{_CACHE}#interaction-with-pagination",
        "A server's list is promised for the least time of its pages.",
        "tests/downstream/test_listing.py::test_a_list_is_promised_for_the_least_time_of_its_pages",
    ),
    tested(
        "caching.client-polls-gently",
        f"{_CACHE}#ttlms",
        "Lists are asked for again not before their time, not too often and not all at once.",
        "tests/downstream/test_refresher.py::test_no_list_is_asked_for_before_its_time_nor_too_often",
        "tests/downstream/test_refresher.py::test_servers_are_not_asked_all_at_once",
    ),
    tested(
        "caching.results-of-calls",
        _CACHE,
        "Only good answers of reads are kept: no question, and nothing of a later round.",
        "tests/policies/test_cache.py::test_a_later_round_is_neither_answered_from_the_cache_nor_kept",
        "tests/policies/test_cache.py::test_only_a_good_answer_is_kept",
        "tests/policies/test_cache.py::test_writes_and_lists_always_go_down",
    ),
    divergence(
        "caching.public-scope",
        f"{_CACHE}#cachescope",
        "A server may mark what is the same for everybody as public.",
        "The hub's answers follow the caller's rights, so it passes no `public` on.",
        "tests/wire/test_encode.py::test_what_was_read_keeps_its_time_and_is_private",
        "tests/downstream/test_dispatch.py::test_only_what_a_modern_server_promises_is_promised_of_what_was_read",
    ),
)

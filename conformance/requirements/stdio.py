"""stdio in both roles, and how the era of a server is found out on every transport."""

from __future__ import annotations

from typing import Final

from conformance.requirements.row import Requirement, tested

ROWS: Final[tuple[Requirement, ...]] = (
    tested(
        "stdio.lines",
        "2026-07-28 basic/transports/stdio",
        "Messages are lines without embedded line ends, in both directions, however the bytes arrive.",
        "tests/wire/test_lines.py::test_any_chunking_gives_the_lines_of_the_whole",
        "tests/downstream/test_framing.py::test_json_of_one_line_survives",
        "tests/downstream/test_framing.py::test_cutting_the_bytes_elsewhere_changes_nothing",
    ),
    tested(
        "stdio.stdout-is-mcp-alone",
        "2026-07-28 basic/transports/stdio",
        "The bridge writes MCP and nothing else on standard output, also when the configuration is bad.",
        "tests/e2e/test_contract_verbs.py::test_stdio_speaks_mcp_and_nothing_else_on_standard_output",
        "tests/cli/test_stdio.py::test_a_bad_configuration_says_nothing_on_standard_output",
    ),
    tested(
        "stdio.both-eras",
        "2026-07-28 basic/transports/stdio#backward-compatibility",
        "A process speaks the era of its client; a probe does not decide it.",
        "tests/e2e/test_contract_verbs.py::test_stdio_speaks_the_modern_era_too",
        "tests/edge/test_conversation.py::test_a_probe_does_not_decide_the_era",
        "tests/edge/test_conversation.py::test_a_modern_request_in_a_legacy_conversation_is_refused",
        "tests/edge/test_conversation.py::test_initialize_after_a_modern_call_is_refused_with_the_revisions",
    ),
    tested(
        "stdio.garbage-from-client",
        "2026-07-28 basic/transports/stdio",
        "Garbage is answered with an error, and the conversation goes on.",
        "tests/edge/test_stdio.py::test_garbage_is_answered_and_the_conversation_goes_on",
        "tests/edge/test_stdio.py::test_a_line_over_the_cap_is_answered_and_the_conversation_goes_on",
    ),
    tested(
        "stdio.cancel-notification",
        "2026-07-28 basic/transports/stdio#cancellation",
        "`notifications/cancelled` cancels a request, which is then never answered.",
        "tests/edge/test_conversation.py::test_a_cancelled_request_is_cancelled_and_never_answered",
    ),
    tested(
        "stdio.exit-on-close",
        "2026-07-28 basic/transports/stdio#shutdown",
        "When its input ends, answers in flight are given and the bridge exits.",
        "tests/edge/test_stdio.py::test_a_client_that_closes_its_end_still_gets_the_answers_in_flight",
        "tests/cli/test_bridge.py::test_a_client_that_ends_waits_for_the_answers_in_flight",
    ),
    tested(
        "stdio.client-stderr-is-no-error",
        "2026-07-28 basic/transports/stdio",
        "A server's standard error is read away and is no error.",
        "tests/downstream/test_stdio.py::test_flood_on_stderr_is_read_away_and_only_its_end_is_kept",
    ),
    tested(
        "stdio.client-garbage-skipped",
        "2026-07-28 basic/transports/stdio",
        "Lines of a server that are no message are skipped and counted; too many in a row end it.",
        "tests/downstream/test_stdio.py::test_banner_on_stdout_is_skipped_and_counted",
        "tests/downstream/test_stdio.py::test_hundred_lines_of_garbage_in_a_row_end_the_connection",
    ),
    tested(
        "stdio.client-cancels-by-notification",
        "2026-07-28 basic/transports/stdio#cancellation",
        "To cancel on stdio the hub sends `notifications/cancelled`.",
        "tests/downstream/test_stdio.py::test_cancelled_call_is_cancelled_downstream",
        "tests/downstream/test_correlate.py::test_cancelled_caller_leaves_nothing_and_server_is_told",
    ),
    tested(
        "stdio.client-shutdown",
        "2026-07-28 basic/transports/stdio#shutdown",
        "A server's process is ended by closing its input, then TERM, then KILL, its offspring too.",
        "tests/downstream/test_stdio.py::test_closing_ends_the_process_politely",
        "tests/downstream/test_stdio.py::test_process_that_ignores_everything_is_gone_within_five_seconds",
        "tests/downstream/test_stdio.py::test_what_a_dead_server_leaves_behind_is_ended_even_if_it_detached_itself",
    ),
    tested(
        "stdio.client-restarts",
        "2026-07-28 basic/transports/stdio#unexpected-termination",
        "A server that exits unexpectedly is started again, ever more slowly while it keeps failing.",
        "tests/e2e/test_contract_bad_input.py::test_a_server_that_dies_in_mid_call_is_started_again",
        "tests/downstream/test_pool.py::test_lost_link_comes_back_at_once_and_a_crash_loop_does_not",
    ),
    tested(
        "stdio.client-environment",
        "2026-07-28 basic/authorization",
        "A child's credentials come from its own entry's environment; it inherits no secret of the hub's.",
        "tests/e2e/test_contract_servers.py::test_stdio_children_inherit_no_secret_of_the_hubs_environment",
        "tests/e2e/test_contract_servers.py::test_a_stdio_child_gets_the_environment_that_its_entry_gives_it",
    ),
    tested(
        "probe.stdio",
        "2026-07-28 basic/transports/stdio#backward-compatibility",
        "A stdio server is asked `server/discover` first; any other answer, or none, lets `initialize` decide.",
        "tests/downstream/test_stdio.py::test_modern_server_is_found_out_and_gets_the_envelope",
        "tests/downstream/test_stdio.py::test_server_that_cannot_take_the_modern_question_is_legacy",
        "tests/downstream/test_stdio.py::test_modern_server_that_starts_slower_than_the_first_question_is_modern_in_the_end",
    ),
    tested(
        "probe.http",
        "2026-07-28 basic/transports/streamable-http#backward-compatibility",
        "A url is tried as modern; only positive evidence makes it so, no single error code makes it legacy.",
        "tests/downstream/test_negotiate.py::test_modern_server_is_known_by_its_discovery",
        "tests/downstream/test_negotiate.py::test_any_other_answer_leaves_the_word_to_initialize",
    ),
    tested(
        "probe.select-supported",
        "2026-07-28 basic/versioning#protocol-version-negotiation",
        "A version that is refused and offered in one answer is asked for again; without a common one the server is "
        "not pressed.",
        "tests/downstream/test_negotiate.py::"
        "test_server_that_refuses_and_offers_the_same_version_is_asked_again_and_not_taken_for_a_legacy_one",
        "tests/downstream/test_negotiate.py::test_server_that_keeps_refusing_the_version_it_offers_is_asked_only_twice",
        "tests/downstream/test_negotiate.py::test_modern_server_without_a_common_version_is_not_pressed",
        "tests/conformance/test_client_scenarios.py::test_every_client_scenario_ends_as_expected",
    ),
    tested(
        "probe.cached",
        "2026-07-28 basic/versioning#backward-compatibility-with-initialization-based-versions",
        "The verdict is kept for the life of the server, and found anew when it no longer holds.",
        "tests/e2e/test_contract_servers.py::test_the_verdict_is_cached_and_a_pinned_era_is_not_probed",
        "tests/downstream/test_negotiate.py::test_verdict_is_forgotten_when_it_no_longer_holds",
        "tests/downstream/test_http_modern.py::test_contradiction_ends_the_link_so_that_it_is_negotiated_anew",
    ),
    tested(
        "probe.actionable-error",
        "2026-07-28 basic/versioning#compatibility-matrix",
        "When no era fits, the operator reads why and what to do next.",
        "tests/downstream/test_negotiate.py::test_refusal_is_told_in_words",
        "tests/downstream/test_stdio.py::test_server_that_does_not_come_up_says_why",
    ),
    tested(
        "probe.era-by-header-and-body",
        "2026-07-28 basic/versioning",
        "At the hub's door header and body decide the era together.",
        "tests/edge/test_era.py::test_the_era_is_decided_by_header_and_body_together",
        "tests/edge/test_era.py::test_an_unknown_version_header_is_for_the_modern_era_to_negotiate",
    ),
)

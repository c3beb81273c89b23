"""Questions in rounds (`input_required`) between a modern client and a modern server."""

from __future__ import annotations

from typing import Final

from conformance.requirements.row import Requirement, deferred, divergence, tested

_MRTR: Final = "2026-07-28 basic/patterns/mrtr"
_SUITE: Final = "tests/conformance/test_client_scenarios.py::test_every_client_scenario_ends_as_expected"

ROWS: Final[tuple[Requirement, ...]] = (
    tested(
        "rounds.requests-shape",
        f"{_MRTR}#inputrequests",
        "Questions are elicitation, sampling or roots requests under string keys; anything else is refused.",
        "tests/wire/test_asking.py::test_what_is_no_question_is_told_in_words",
        "tests/wire/test_asking.py::test_whatever_a_server_sends_is_a_question_or_is_refused",
    ),
    tested(
        "rounds.at-least-one",
        f"{_MRTR}#server-requirements-basic-workflow",
        "A result that asks has questions or a state.",
        "tests/wire/test_asking.py::test_what_is_no_question_is_told_in_words",
    ),
    tested(
        "rounds.only-declared",
        f"{_MRTR}#server-requirements-basic-workflow",
        "A question whose capability the client did not declare on this request never reaches it.",
        "tests/wire/test_asking.py::test_a_question_needs_what_the_client_declared_for_it",
        "tests/wire/test_asking.py::test_everything_that_lacks_is_named_at_once",
    ),
    tested(
        "rounds.capabilities-mirrored",
        "2026-07-28 basic#_meta",
        "To a server are declared the relayable capabilities of the client's own request, and no more.",
        "tests/wire/test_asking.py::test_only_what_can_be_relayed_is_declared_and_never_more_than_the_client_did",
    ),
    tested(
        "rounds.missing-capability-error",
        "2026-07-28 basic#error-codes",
        "A server's -32021 passes only where it names what the hub relays and the client lacks.",
        "tests/wire/test_asking.py::test_a_capability_that_a_server_wants_is_passed_on_only_where_the_hub_relays_it",
    ),
    tested(
        "rounds.state-integrity",
        f"{_MRTR}#server-requirements-basic-workflow",
        "A state is attacker's input: one that was altered or made up does not open.",
        "tests/wire/test_seal.py::test_no_altered_seal_opens",
        "tests/wire/test_seal.py::test_nothing_made_up_opens",
        "tests/wire/test_seal.py::test_a_seal_with_something_behind_it_does_not_open",
    ),
    tested(
        "rounds.state-bound",
        f"{_MRTR}#server-requirements-basic-workflow",
        "A state is bound to the caller, the method, the item and the arguments.",
        "tests/wire/test_seal.py::test_a_question_of_one_call_is_answered_by_no_other",
        "tests/wire/test_seal.py::test_arguments_of_any_size_bind_exactly",
        "tests/downstream/test_rounds.py::"
        "test_stale_and_foreign_states_are_refused_and_only_their_owner_learns_that_one_expired",
    ),
    tested(
        "rounds.state-expires",
        f"{_MRTR}#server-requirements-basic-workflow",
        "A state expires.",
        "tests/wire/test_seal.py::test_it_expires_to_the_second",
    ),
    tested(
        "rounds.state-single-use",
        f"{_MRTR}#server-requirements-basic-workflow",
        "The state of a call that may change something is used once; that of a read may be shown again.",
        "tests/downstream/test_rounds.py::test_a_seal_of_a_write_is_used_once",
        "tests/downstream/test_rounds.py::test_a_seal_of_a_read_may_be_shown_again",
    ),
    tested(
        "rounds.state-echoed-exactly",
        f"{_MRTR}#client-requirements-basic-workflow",
        "A server gets its own state back to the byte, and none when it gave none.",
        "tests/wire/test_seal.py::test_a_state_comes_back_to_the_byte_and_none_stays_none",
        "tests/downstream/test_rounds.py::test_the_server_gets_its_own_state_back_or_none",
        _SUITE,
    ),
    tested(
        "rounds.new-id",
        f"{_MRTR}#client-requirements-basic-workflow",
        "The second round goes to the server under an id of its own.",
        _SUITE,
    ),
    tested(
        "rounds.no-other-request",
        f"{_MRTR}#client-requirements-basic-workflow",
        "State and answers go down with the retry alone, not with a call beside it.",
        "tests/downstream/test_rounds.py::test_a_retry_without_answers_has_none_below",
        _SUITE,
    ),
    tested(
        "rounds.responses-shape",
        f"{_MRTR}#error-handling",
        "A retry carries a string and an object of objects; anything else is refused.",
        "tests/wire/test_asking.py::test_a_retry_has_a_string_and_an_object_of_objects",
    ),
    tested(
        "rounds.unasked-answers",
        f"{_MRTR}#error-handling",
        "Answers that nobody asked for are left to the server, except where it waits for its own state.",
        "tests/downstream/test_rounds.py::test_answers_that_no_state_came_with_go_to_the_server",
        "tests/downstream/test_rounds.py::test_answers_without_the_state_that_a_server_gave_go_nowhere",
    ),
    tested(
        "rounds.screened",
        "2026-07-28 client/elicitation#security-considerations",
        "A question's words are screened and masked like an answer's.",
        "tests/policies/test_screen.py::test_a_question_is_screened_and_what_was_found_is_for_the_log",
        "tests/policies/test_shape.py::test_a_question_is_masked_too_and_progress_is_not_passed_on",
    ),
    tested(
        "rounds.legacy-client",
        "2026-07-28 basic/versioning#compatibility-matrix",
        "A client of the session era that cannot be asked gets an error that says so.",
        "tests/wire/test_encode.py::test_a_question_no_legacy_client_can_be_asked_is_an_error_result",
    ),
    tested(
        "rounds.encoded",
        f"{_MRTR}#inputrequiredresult",
        "A question reaches a modern client as an `input_required` result valid in its revision.",
        "tests/wire/test_encode.py::test_a_question_is_asked_of_a_modern_client",
        "tests/wire/test_encode.py::test_every_answer_is_valid_in_its_revision",
    ),
    divergence(
        "rounds.state-when-server-gave-none",
        f"{_MRTR}#inputrequiredresult",
        "A question without `requestState` needs none in its retry.",
        "The hub puts its own seal on every question, so that a retry is bound to its call; toward the server there "
        "is still none.",
        "tests/wire/test_seal.py::test_an_empty_state_is_not_the_same_as_none",
        "tests/downstream/test_rounds.py::test_the_server_gets_its_own_state_back_or_none",
    ),
    deferred(
        "rounds.bridged-to-sessions",
        "2025-11-25 client/elicitation",
        "A modern server's question is put to a client with a session as a request on its call's stream.",
        "Questions cross only between modern peers until the eras are bridged.",
    ),
    tested(
        "rounds.url-elicitation-for-login",
        "2026-07-28 client/elicitation#url-mode-elicitation-for-oauth-flows",
        "The hub asks a user by url to log in at a server.",
        "tests/downstream/test_dispatch_login.py::test_a_client_that_opens_pages_is_asked_and_its_call_goes_on_as_a_new_one",
        "tests/downstream/test_dispatch_login.py::test_a_client_of_2025_11_25_gets_the_error_that_its_revision_has_for_it",
        "tests/downstream/test_dispatch_login_real.py::test_a_call_is_refused_logged_in_for_and_served_as_its_own_account_alone",
    ),
)

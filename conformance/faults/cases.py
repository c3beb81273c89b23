"""The 44 fault cases: what goes wrong, what the hub does about it, and the tests that show it through a running hub.

A case whose feature is not built waits for it by name; some wait for a part alone.

    python -m conformance.faults            print the table
    python -m conformance.faults --write    write it into the docs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SERVERS: Final = "tests/faults/test_servers.py"
CLIENTS: Final = "tests/faults/test_clients.py"
LIFE: Final = "tests/faults/test_life.py"
DISK: Final = "tests/faults/test_disk.py"
CLOCK: Final = "tests/faults/test_clock.py"
ISOLATION: Final = "tests/e2e/test_isolation.py"
BUILD: Final = "tests/e2e/test_contract_build.py"
BAD_INPUT: Final = "tests/e2e/test_contract_bad_input.py"
OPERATIONS: Final = "tests/e2e/test_contract_operations.py"
KILL: Final = "tests/journeys/test_kill.py"


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    fault: str
    expected: str
    tests: tuple[str, ...] = ()  # path::name; a name that ends with * is every test that begins so
    waits_for: str = ""  # the feature that is not there yet, and what of the case waits for it


def _own(number: int, *files: str) -> tuple[str, ...]:
    return tuple(f"{file}::test_case_{number:02d}_*" for file in files)


CASES: Final = (
    Case(
        1,
        "a server accepts and never answers, or drips",
        "late at its deadline; nobody else waits",
        _own(1, SERVERS),
        "circuit breakers (counting it)",
    ),
    Case(
        2, "a server dies in mid answer", "one error that names it; the outcome of a write is unknown", _own(2, SERVERS)
    ),
    Case(
        3,
        "a server hangs in its list at the start",
        "the hub is ready; its last known list is shown, marked stale",
        (*_own(3, LIFE), f"{ISOLATION}::test_servers_that_never_start_cost_only_their_own_items"),
    ),
    Case(
        4,
        "a server answers nothing but 500",
        "each call is refused; of use as soon as it is well",
        _own(4, SERVERS),
        "circuit breakers (sparing it further calls)",
    ),
    Case(
        5,
        "a server flaps",
        "started more and more rarely; no storm of list changes",
        (
            *_own(5, LIFE),
            "tests/e2e/test_live.py::test_a_flapping_server_comes_back_by_itself_and_adding_others_moves_no_name",
        ),
    ),
    Case(
        6,
        "lines that are no message",
        "skipped and counted; a process that says nothing else is started anew",
        _own(6, SERVERS),
    ),
    Case(
        7,
        "doubled members and members in another case",
        "one value is judged, and that one alone is passed on",
        _own(7, SERVERS, CLIENTS),
    ),
    Case(
        8,
        "second, late and unknown answers",
        "dropped and counted",
        (*_own(8, SERVERS), f"{BAD_INPUT}::test_a_second_answer_and_foreign_ids_are_dropped_and_counted"),
    ),
    Case(9, "an answer under the id of another's call", "answers neither", _own(9, SERVERS)),
    Case(
        10,
        "100 MB, and a gzip bomb",
        "cut off at the cap while it comes; memory stays",
        (*_own(10, SERVERS), f"{BAD_INPUT}::test_the_hub_does_not_grow_by_what_a_server_floods_it_with"),
    ),
    Case(
        11,
        "JSON 10,000 deep, schema bombs, remote `$ref`",
        "refused in bounded time; no connection is made",
        _own(11, SERVERS, CLIENTS, LIFE),
    ),
    Case(12, "a flood of notifications", "slowed down; costs only the call that it belongs to", _own(12, SERVERS)),
    Case(
        13,
        "a result that breaks its own schema",
        "noted, refused or passed, as configured",
        (f"{OPERATIONS}::test_results_are_checked_against_the_servers_own_schema",),
    ),
    Case(
        14,
        "a definition changes silently",
        "hidden until it is approved",
        (*_own(14, LIFE), f"{BUILD}::test_a_changed_definition_is_hidden_shown_by_diff_and_listed_again_once_approved"),
    ),
    Case(15, "two servers claim one name", "each has its own name; nobody is shadowed", _own(15, LIFE)),
    Case(16, "a client drips its headers or its body", "closed, or answered 408, at its deadline", _own(16, CLIENTS)),
    Case(17, "a client never reads", "cut off; what waits for it is bounded", _own(17, CLIENTS)),
    Case(
        18,
        "a client leaves in mid call",
        "the server is told; logged as cancelled",
        (
            *_own(18, CLIENTS),
            "tests/e2e/test_contract_servers.py::test_a_modern_http_client_that_leaves_cancels_downstream",
        ),
        "budgets (settling it)",
    ),
    Case(19, "a client repeats a request", "the first outcome again", (), "idempotency keys"),
    Case(20, "10,000 connections at once", "turned away with a time to come back; calls go on", _own(20, CLIENTS)),
    Case(
        21,
        "kill -9 while the log writes",
        "every answered call is in the log, and its chain holds",
        (f"{KILL}::test_ten_kills_under_load_lose_no_acknowledged_call_and_leave_no_process",),
    ),
    Case(
        22,
        "kill -9 between a call and its outcome",
        "the next start logs the outcome as unknown",
        (
            f"{OPERATIONS}::test_a_write_that_a_killed_hub_left_open_is_closed_as_unknown",
            f"{KILL}::test_ten_kills_under_load_lose_no_acknowledged_call_and_leave_no_process",
        ),
    ),
    Case(
        23,
        "the disk is full",
        "no call is answered without its entry; the admin API reads; one alarm; goes on with room",
        _own(23, DISK),
    ),
    Case(
        24,
        "syncs take two seconds",
        "calls wait together in a bounded queue; no memory grows",
        _own(24, DISK),
        "alarms on latency (telling of it)",
    ),
    Case(25, "a spoilt database", "found at the start, told with the way back", _own(25, DISK)),
    Case(
        26,
        "the clock jumps",
        "no deadline, limit or order of the log changes",
        _own(26, CLOCK),
        "an alarm for clock jumps (telling of it)",
    ),
    Case(
        27,
        "Redis is down or loses writes",
        "a local limit; no overspending beyond one lease",
        (),
        "replicas on PostgreSQL and Redis",
    ),
    Case(
        28,
        "PostgreSQL fails over",
        "retried once, read-only meanwhile, no entry twice",
        (),
        "replicas on PostgreSQL and Redis",
    ),
    Case(
        29,
        "the identity provider is down",
        "valid tokens go on; new logins are told",
        (
            "tests/identity/test_jwks.py::test_tokens_of_an_issuer_that_is_down_are_good_for_a_day_and_new_keys_are_not",
            "tests/identity/test_jwks.py::test_discovered_addresses_hold_while_the_issuer_is_away",
        ),
    ),
    Case(
        30,
        "keys of the identity provider change, or unknown ones flood in",
        "one refetch",
        (
            "tests/identity/test_jwks.py::test_a_flood_of_unknown_keys_is_one_fetch_in_half_a_minute",
            "tests/identity/test_jwks.py::test_a_new_key_is_found_when_it_signs_and_the_old_one_goes_when_it_is_withdrawn",
        ),
    ),
    Case(
        31,
        "a certificate that is expired, of another host or signed by itself",
        "not connected; told why",
        _own(31, LIFE),
        "serving TLS (the hub's own certificate)",
    ),
    Case(
        32,
        "50 refreshes of one token at once",
        "one refresh; all go on",
        (
            "tests/identity/outbound/test_speaking.py::test_50_callers_with_one_refused_token_cause_one_refresh",
            "tests/e2e/outbound/test_one_refresh.py::test_50_callers_at_one_expiry_are_one_refresh",
        ),
    ),
    Case(
        33,
        "a refresh that was revoked",
        "that user is asked to connect again",
        (
            "tests/e2e/outbound/test_one_refresh.py::"
            "test_50_callers_of_a_dead_login_are_one_try_at_the_issuer_at_most_and_are_all_told",
            "tests/e2e/outbound/test_two_accounts.py::test_a_dead_login_of_one_touches_nobody_else",
        ),
    ),
    Case(
        34,
        "a child exits or crashes again and again",
        "started more and more rarely; its tools stay listed",
        (*_own(34, LIFE), f"{ISOLATION}::test_a_server_that_died_is_started_again_and_answers"),
    ),
    Case(
        35,
        "a child with children, all deaf to TERM",
        "none is left after the hub, even one that was killed",
        (*_own(35, LIFE), f"{KILL}::test_ten_kills_under_load_lose_no_acknowledged_call_and_leave_no_process"),
    ),
    Case(36, "a fork bomb, a memory hog", "the kernel ends it alone", (), "isolating a server's process"),
    Case(
        37,
        "a child writes 1 GB to stderr",
        "read, and not kept",
        (*_own(37, LIFE), f"{ISOLATION}::test_a_server_that_floods_its_stderr_is_read_on"),
    ),
    Case(
        38,
        "secrets in environments, errors and traces",
        "in no log, database, answer or error",
        (f"{OPERATIONS}::test_no_secret_is_in_any_log_database_answer_or_error",),
    ),
    Case(
        39,
        "SIGTERM under load",
        "all that was taken is answered; then exit 0",
        (
            *_own(39, LIFE),
            "tests/e2e/test_contract.py::test_sigterm_drains_a_running_call_and_exits_0",
            "tests/e2e/test_contract.py::test_the_drain_is_bounded",
        ),
    ),
    Case(
        40,
        "an upgrade with old data, and old and new nodes at once",
        "old data are taken over",
        ("tests/e2e/test_rescue.py::test_the_data_of_an_older_hub_are_taken_over",),
        "replicas on PostgreSQL and Redis (nodes at once)",
    ),
    Case(41, "a federated hub of the wrong region, or a loop", "refused", (), "federated hubs"),
    Case(
        42,
        "an edit breaks the configuration",
        "what was in force stays; told with its line",
        (
            *_own(42, LIFE),
            "tests/e2e/test_live.py::test_an_edit_of_the_file_is_in_force_by_itself_and_a_broken_one_is_told",
        ),
    ),
    Case(43, "a canary is worse than what it replaces", "taken back by itself", (), "canary releases"),
    Case(
        44,
        "a name resolves to another address",
        "one address per connection, judged each time",
        (),
        "rules for outbound addresses",
    ),
)


def table() -> str:
    """As Markdown."""
    lines = [("no.", "what goes wrong", "what the hub does", "shown by"), ("---",) * 4]
    lines += [(str(case.number), case.fault, case.expected, _shown(case)) for case in CASES]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(case: Case) -> str:
    files = dict.fromkeys(f"`{name.partition('::')[0].removeprefix('tests/')}`" for name in case.tests)
    waits = [f"waits for {case.waits_for}"] if case.waits_for else []
    return "; ".join([", ".join(files), *waits] if files else waits)

"""Each bug that is put into the hub is found by the simulator, and found again by its seed."""

from __future__ import annotations

import re

import pytest

from conformance.faults.simulator.bugs import BUGS
from tests.simulation.simulate import digest, simulate

FOUND = {
    "widens": "which is not granted",
    "lists_more_than_it_calls": "which is not granted",
    "drops_entries": "the log has no entry",
    "answers_before_the_log": "the log has no entry",
    "sends_before_the_intent": "left the hub before its intent was in the log",
    "retries_writes": "was executed 2 times",
    "calls_the_unknown_nothing": "as if nothing had been done",
    "mixes_up_answers": "was told tok-",
    "loses_answers": "has no answer",
    "answers_twice": "was answered twice",
    "waits_for_ever": "has no answer",
    "one_server_holds_up_all": "steady server",
    "revoked_keys_live_on": "key",
    "leaks_tasks": "tasks for",
    "leaks_timers": "timers for",
    "keeps_everything_for_who_does_not_read": "notifications waited for",
    "breaks_the_chain": "the log does not go on as it stood",
    "hides_the_outcome_of_cancelled_calls": "is over, and not in the log",
    "makes_up_success": "and executed 0 times",
}


def test_every_known_bug_has_its_words() -> None:
    assert set(FOUND) == set(BUGS)


@pytest.mark.parametrize("bug", FOUND)
def test_a_known_bug_is_found(bug: str) -> None:
    done = simulate("--seed", "2", "--steps", "4000", "--bug", bug)
    assert done.returncode == 1, f"the simulator did not find it: {done.stdout}{done.stderr}"
    assert FOUND[bug] in done.stdout, done.stdout


def test_a_seed_that_failed_fails_again_in_the_same_way() -> None:
    done = simulate("--seed", "2", "--steps", "4000", "--bug", "retries_writes")
    again = re.search(r"again: python -m conformance.faults.simulator (.*)", done.stdout)
    assert again is not None, done.stdout
    once_more = simulate(*again[1].split())
    assert once_more.returncode == 1
    assert digest(once_more.stdout) == digest(done.stdout)

"""The simulator finds nothing in the hub, and one seed is one run."""

from __future__ import annotations

import pytest

from conformance.faults.simulator.__main__ import FIXED_SEEDS
from tests.simulation.simulate import digest, simulate

STEPS = 10_000


@pytest.mark.parametrize("seed", FIXED_SEEDS)
def test_all_that_always_holds_holds_at_every_step(seed: int) -> None:
    done = simulate("--seed", str(seed), "--steps", str(STEPS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {seed}: digest" in done.stdout


def test_it_holds_for_a_seed_that_nobody_has_tried(capsys: pytest.CaptureFixture[str]) -> None:
    done = simulate("--fresh", "--steps", "3000")
    with capsys.disabled():
        print(done.stdout.partition(":")[0], end=" ")
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_seed_is_one_run() -> None:
    first, second = (simulate("--seed", "5", "--steps", "600") for _ in range(2))
    assert digest(first.stdout) == digest(second.stdout)
    assert digest(simulate("--seed", "6", "--steps", "600").stdout) != digest(first.stdout)

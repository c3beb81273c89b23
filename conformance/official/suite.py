"""Runs legs of the suite: each target is started once and serves its requirement sets one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from conformance.official import started
from conformance.official.judgement import Leg, Results
from conformance.official.mapped import mapped_package, public_names
from conformance.official.runner import PACKAGE, Outcome, run

AT_ONCE: Final = 2


def run_all(legs: Sequence[Leg], folder: Path) -> Results:
    """What came of each leg, in their order. `folder` takes logs and checks."""
    targets: dict[str, list[Leg]] = {}
    for leg in legs:
        targets.setdefault(leg.place, []).append(leg)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        made = threads.map(lambda own: _run_target(own, folder), targets.values())
        found = dict(pair for pairs in made for pair in pairs)
    return {leg: found[leg] for leg in legs}


def _run_target(legs: Sequence[Leg], folder: Path) -> list[tuple[Leg, Sequence[Outcome]]]:
    own = folder / legs[0].place.replace(" ", "-")
    own.mkdir()
    with _target(legs[0], own) as (url, package):
        return [(leg, run(url, leg.revision, own / leg.revision, package)) for leg in legs]


@contextmanager
def _target(leg: Leg, folder: Path) -> Iterator[tuple[str, Path]]:
    """The address, and the runner that knows the names there."""
    if leg.where == "direct":
        with started.reference(leg.reference, folder) as url:
            yield url, PACKAGE
    elif leg.where == "hub":
        with started.hub_before(leg.reference, folder) as url:
            yield url, PACKAGE
    else:
        with started.hub_before_both(folder) as url:
            yield url, mapped_package(folder, public_names(leg.reference))

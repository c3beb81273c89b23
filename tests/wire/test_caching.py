from __future__ import annotations

from typing import Any

import pytest

from hub.wire.caching import ttl_ms


@pytest.mark.parametrize(
    ("given", "ttl"),
    [(0, 0), (1, 1), (2**70, 2**70), (-1, 0), (True, 0), (1.0, 0), ("1", 0), (None, 0), ([1], 0), ({}, 0)],
)
def test_only_a_whole_number_of_milliseconds_is_a_time(given: Any, ttl: int) -> None:
    assert ttl_ms({"ttlMs": given}) == ttl


def test_a_result_that_says_nothing_may_not_be_kept() -> None:
    assert ttl_ms({"tools": []}) == 0

"""The exception tree."""

from __future__ import annotations

from hub.core.call import Mute
from hub.core.errors import DownstreamError, HubError, Refused


def test_a_refusal_keeps_the_whole_error_and_shows_its_code_alone() -> None:
    error = {"code": -32000, "message": "password is hunter2", "data": {"a": 1}}
    refused = Refused("hr", error)
    assert refused.error is error
    assert str(refused) == "hr: answered with error -32000"
    assert isinstance(refused, DownstreamError)
    assert isinstance(refused, HubError)
    assert (refused.server, refused.text) == ("hr", "answered with error -32000")


def test_a_mute_client_is_told_nothing() -> None:
    Mute().notify("notifications/progress", {"progress": 1})

"""What a `subscriptions/listen` asks to be told. Pure; how much of it is honoured is not decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hub.core.call import Json
from hub.wire.decode import Refusal
from hub.wire.jsonrpc import INVALID_PARAMS

METHOD: Final = "subscriptions/listen"
RESOURCES: Final = 256  # resources that one listen may name

_FLAGS: Final = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")


@dataclass(frozen=True, slots=True)
class Filter:
    """A well-formed filter."""

    flags: tuple[str, ...]
    uris: tuple[str, ...]


def read_filter(params: Json) -> Filter | Refusal:
    """The filter in a listen's params. Unknown kinds are left out, as the acknowledgement then says."""
    asked = params.get("notifications")
    if not isinstance(asked, Mapping):
        return Refusal(INVALID_PARAMS, "params.notifications must be an object")
    if not all(isinstance(asked.get(flag, False), bool) for flag in _FLAGS):
        return Refusal(INVALID_PARAMS, f"params.notifications: {', '.join(_FLAGS)} must be true or false")
    uris = asked.get("resourceSubscriptions", ())
    if not isinstance(uris, Sequence) or isinstance(uris, str) or not all(isinstance(uri, str) for uri in uris):
        return Refusal(INVALID_PARAMS, "params.notifications.resourceSubscriptions must be an array of strings")
    if len(uris) > RESOURCES:
        return Refusal(INVALID_PARAMS, f"a listen may name {RESOURCES} resources at most")
    return Filter(tuple(flag for flag in _FLAGS if asked.get(flag) is True), tuple(dict.fromkeys(uris)))

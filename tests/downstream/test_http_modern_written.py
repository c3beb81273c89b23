"""A call's body that is put together from written parts, against the same message written as one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.call import Json
from hub.downstream.envelope import stamped
from hub.downstream.http_hop import Hop
from hub.downstream.http_modern import ModernLink
from hub.downstream.link import Exchange, LinkEvents, Notice, Peer, ServerSpec
from hub.wire import jsonrpc
from hub.wire.revisions import LATEST_MODERN

SPEC = ServerSpec("peer", "http", url="http://127.0.0.1:1/mcp")
LINK = ModernLink(
    SPEC, LinkEvents(lambda method, params: None, lambda why: None), Hop(SPEC), Peer("modern", LATEST_MODERN, {}, {})
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
PARAMS = st.fixed_dictionaries(
    {"name": st.text(max_size=5)},
    optional={
        "arguments": st.dictionaries(st.text(max_size=4), JSON, max_size=3),
        "_meta": st.dictionaries(st.text(max_size=4), JSON, max_size=2),
        "more": JSON,
    },
)
NOTICES: st.SearchStrategy[Notice | None] = st.sampled_from([None, lambda method, params: None])


@given(
    id=st.integers(1, 10**9),
    method=st.sampled_from(["tools/call", "prompts/get"]),
    params=PARAMS,
    notice=NOTICES,
    trace=st.sampled_from([{}, {"traceparent": "00-a"}]),
    level=st.sampled_from([None, "info"]),
    capabilities=st.sampled_from([{}, {"elicitation": {}}]),
)
def test_what_is_put_together_is_what_is_written_as_one(
    id: int, method: str, params: Json, notice: Notice | None, trace: Json, level: str | None, capabilities: Json
) -> None:
    exchange = Exchange(1.0, 1.0, 1, notice, trace, level, capabilities=capabilities)
    whole: Any = jsonrpc.request(id, method, stamped(params, exchange, id, LATEST_MODERN))
    try:
        expected = jsonrpc.dumps(whole)
    except jsonrpc.Malformed:
        with pytest.raises(jsonrpc.Malformed):
            LINK._written(id, method, params, exchange)
    else:
        assert LINK._written(id, method, params, exchange) == expected

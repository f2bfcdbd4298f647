"""Shortcuts in mitmproxy give what its own functions give."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mitmproxy import http, optmanager
from mitmproxy.coretypes.multidict import MultiDict
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.proxy.server_hooks import ServerConnectHook, ServerConnectionHookData
from mitmproxy.test import tflow, tutils
from mitmproxy.utils import asyncio_utils

from aibridge_addon.relay import shortcuts

shortcuts.use_in_mitmproxy()

BYTES = st.sampled_from([b"Host", b"x-a", b"", b"\xff"])
SIZES = st.lists(
    st.tuples(
        st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"X-Other"]),
        st.sampled_from([b"0", b"7", b"-1", b"chunked", b"gzip", b"gzip, chunked", b"x"]),
    ),
    max_size=3,
)


@pytest.mark.parametrize("value", [True, 7, "text", None, ["a"]])
def test_option_has_its_default_then_its_value(value: object) -> None:
    option = optmanager._Option("name", type(value) if value else object, value, "help", None)
    assert option.current() == option.default == value
    option.set(value)
    assert option.current() == value


def test_option_that_can_be_changed_is_a_copy() -> None:
    option = optmanager._Option("name", list, default := ["a"], "help", None)
    option.current().append("b")
    option.set(value := ["c"])
    option.current().append("d")
    assert (default, value) == (["a"], ["c"])


def test_hook_has_the_arguments_of_its_fields() -> None:
    flow, server = tflow.tflow(), ServerConnectionHookData(None, None)  # type: ignore[arg-type]
    for hook in (HttpRequestHook(flow), ServerConnectHook(server), HttpRequestHook(flow)):
        assert hook.args() == [getattr(hook, field.name) for field in fields(hook)]
        assert isinstance(hook, commands.StartHook)


async def test_task_is_described_by_its_name_and_client() -> None:
    task = asyncio_utils.create_task(
        asyncio.Event().wait(), name="waits", keep_ref=False, client=("127.0.0.1", 80)
    )
    assert asyncio_utils.task_repr(task) == "127.0.0.1:80: waits (age: 0s)"
    task.cancel()


def original_headers(given: Any, more: Mapping[str, Any]) -> http.Headers:
    """Return headers as mitmproxy's own constructor makes them."""
    headers = http.Headers.__new__(http.Headers)
    MultiDict.__init__(headers, given)
    headers.update({http._always_bytes(k).replace(b"_", b"-"): v for k, v in more.items()})
    return headers


@given(
    given=st.lists(st.tuples(BYTES, BYTES), max_size=4),
    more=st.dictionaries(st.sampled_from(["content_type", "host", "x-a"]), st.text("ab")),
)
def test_headers_have_the_fields_that_mitmproxy_gives_them(given: Any, more: Any) -> None:
    assert http.Headers(given, **more).fields == original_headers(given, more).fields


@pytest.mark.parametrize("field", [("a", b"b"), (b"a", "b"), (b"a", None), (1, b"b")])
def test_fields_that_are_not_bytes_are_refused(field: Any) -> None:
    with pytest.raises(TypeError, match="must be bytes"):
        http.Headers([field])


def test_headers_can_have_every_name() -> None:
    assert http.Headers(headers="a", more="b").fields == ((b"headers", b"a"), (b"more", b"b"))


class Text(bytes):
    """Bytes of a type of its own."""


def test_fields_of_a_type_derived_from_bytes_are_taken() -> None:
    assert http.Headers([(Text(b"a"), Text(b"b"))])["a"] == "b"


def size_or_error(function: Any, *messages: Any) -> object:
    try:
        return function(*messages)
    except ValueError as error:
        return str(error)


@given(
    sizes=SIZES,
    then=SIZES,
    method=st.sampled_from([b"GET", b"head", b"CONNECT"]),
    status=st.sampled_from([None, 100, 200, 204, 304, 400]),
)
@example(sizes=[(b"Content-Length", b"7")], then=[], method=b"GET", status=200)
def test_body_size_is_read_again_from_a_head_that_has_changed(
    sizes: Any, then: Any, method: bytes, status: int | None
) -> None:
    request = tutils.treq(headers=http.Headers(sizes))
    response = tutils.tresp(headers=http.Headers(sizes)) if status else None
    messages = (request, response)

    def is_same() -> bool:
        found = size_or_error(shortcuts.body_size, *messages)
        return found == size_or_error(shortcuts._original_size, *messages)

    assert is_same()
    assert is_same(), "from memory"
    request.data.method = method
    assert is_same()
    if response and status:
        response.status_code = status
        assert is_same()
    for message in filter(None, messages):
        message.headers.fields = tuple(then)
    assert is_same()


class OwnHeaders(http.Headers):
    """Headers of another addon, which state a length of their own."""

    length = "7"

    def get(self, key: str, default: Any = None) -> Any:
        return self.length if key == "content-length" else super().get(key, default)


def test_body_size_is_read_again_from_headers_that_change_in_place() -> None:
    request = tutils.treq()
    request.headers.fields = fields = [(b"Content-Length", b"7")]  # type: ignore[assignment]
    assert shortcuts.body_size(request) == 7
    fields[0] = (b"Content-Length", b"8")
    assert shortcuts.body_size(request) == 8
    request.headers = OwnHeaders()
    assert shortcuts.body_size(request) == 7
    OwnHeaders.length = "8"
    assert shortcuts.body_size(request) == 8


def test_body_size_is_read_from_a_mapping() -> None:
    request = tutils.treq()
    request.headers = {"content-length": "7"}  # type: ignore[assignment]
    assert shortcuts.body_size(request) == 7

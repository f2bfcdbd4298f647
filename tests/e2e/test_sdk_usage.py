"""The record of a call holds what the provider's SDK states to its caller, for every kind of call.

Each SDK calls the stand-in through one proxy, and its own usage objects are compared with the rows.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin import Authority, Server

from e2e.clients import Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Records, Row
from e2e.sdk_calls import CALLS, Call
from e2e.sdk_clients import ENVIRONMENT, Sdks, config
from e2e.stated import Stated

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::google.genai._common.ExperimentalWarning"),
]


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    more = config(standin.origin)
    with run_proxy(standin.origin, more_config=more, env=ENVIRONMENT) as made:
        yield made


@pytest.fixture(scope="module")
def ca_bundle(proxy: Proxy, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bundle") / "ca.pem"
    path.write_bytes(proxy.ca_path.read_bytes() + Path(authority.path).read_bytes())
    return str(path)


@pytest.mark.parametrize("way", [Way("forward"), Way("reverse")], ids=str)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_record_holds_what_the_sdk_states_to_its_caller(
    proxy: Proxy, clients: Clients, ca_bundle: str, call: Call, way: Way
) -> None:
    with proxy.recording() as records:
        stated = call(Sdks(clients, way, ca_bundle))

    assert Counter(map(shown, stated)) == Counter(recorded(records, stated))
    assert not any(row["partial"] for row in records.interceptions)


def shown(call: Stated) -> tuple[Any, ...]:
    """Return a call as its SDK states it."""
    tokens: tuple[int | None, ...] = None, None, None, None
    if call.input is not None:
        tokens = call.input, call.output, call.read, call.write
    counts = tokens if call.has_usage else "no usage"
    details = frozenset((name, value) for name, value in call.details.items() if value)
    reason = call.unpriced if call.has_usage else ""
    return call.api, call.status, call.model, counts, details, call.nano, reason


def recorded(records: Records, stated: list[Stated]) -> Iterator[tuple[Any, ...]]:
    """Yield the calls of the record, each with the details that an SDK has stated."""
    interceptions = {row["id"]: row for row in records.interceptions}
    names = {name for call in stated for name in call.details}
    reasons = {call.unpriced for call in stated}
    for usage in records.token_usages:
        row = interceptions[usage["interception_id"]]
        details = frozenset((n, v) for n, v in usage["extra"].items() if n in names and v)
        given = usage["unpriced_reason"] or ""
        reason = next((one for one in reasons if one and given.startswith(one)), given)
        yield (*_head(row, usage["model"]), _counts(usage), details, usage["cost_nano_usd"], reason)
    with_usage = {usage["interception_id"] for usage in records.token_usages}
    for id_, row in interceptions.items():
        if id_ not in with_usage:
            yield (*_head(row, None), "no usage", frozenset(), None, "")


def _head(row: Row, model: str | None) -> tuple[Any, ...]:
    return row["api"], row["status"], model or row["model"]


def _counts(usage: Row) -> tuple[Any, ...]:
    names = ("input", "output", "cache_read_input", "cache_write_input")
    return tuple(usage[f"{name}_tokens"] for name in names)

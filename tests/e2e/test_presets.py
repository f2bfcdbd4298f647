"""A known host that speaks two formats: both are recorded by one instance, in both modes."""

from collections.abc import Iterator

import pytest
from standin import Server

from e2e.clients import Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy

FORWARD, REVERSE = Way("forward"), Way("reverse")
KEY = "sk-central-0123456789abcdef"
SAID = "How are you? TOKENS:100,20,30,0"

CONFIG = """\
[[providers]]
preset = "deepseek"
base_url = "{origin}/v1"
hosts = ["api.deepseek.com"]
"""


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    config = CONFIG.format(origin=standin.origin)
    with run_proxy(standin.origin, config=config, env={"DEEPSEEK_API_KEY": KEY}) as made:
        yield made


def base_url(proxy: Proxy, way: Way) -> str:
    if way == FORWARD:
        return "https://api.deepseek.com"
    return f"http://127.0.0.1:{proxy.reverse_port}/deepseek"


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
@pytest.mark.parametrize(
    ("path", "kind", "api", "header", "value"),
    [
        ("/v1/chat/completions", "openai", "openai_chat", "authorization", f"Bearer {KEY}"),
        ("/anthropic/v1/messages", "anthropic", "anthropic_messages", "x-api-key", KEY),
    ],
)
def test_both_formats_of_a_host_are_recorded(
    proxy: Proxy,
    clients: Clients,
    standin: Server,
    way: Way,
    path: str,
    kind: str,
    api: str,
    header: str,
    value: str,
) -> None:
    body = {"model": "deepseek-chat", "messages": [{"role": "user", "content": SAID}]}
    with proxy.recording() as records, clients.http(way) as client:
        response = client.post(base_url(proxy, way) + path, json=body)

    assert response.status_code == 200
    row = records.interception
    assert (row["provider"], row["provider_name"], row["api"]) == (kind, "deepseek", api)
    assert records.usage["output_tokens"] == 20
    assert records.usage["unpriced_reason"] is None
    if way == REVERSE:
        assert standin.requests[-1].header(header) == value
        assert row["credential_kind"] == "centralized"

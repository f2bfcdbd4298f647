"""A store is added in one file outside the package, `toy_store`, and works with every command."""

import json
from pathlib import Path

import httpx2
import pytest
from cli.command import Home
from cli.conftest import confdir, home  # noqa: F401 fixtures
from e2e.conftest import authority, provider, standin  # noqa: F401 fixtures

HELLO = {
    "model": "claude-opus-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}
HEADERS = {"x-api-key": "sk-ant-toy", "anthropic-version": "2023-06-01"}
PLUGIN = {"PYTHONPATH": str(Path(__file__).parent), "AIBRIDGE_PLUGINS": "toy_store"}


@pytest.fixture
def location(tmp_path: Path) -> str:
    return f"toy://{tmp_path}/toy.jsonl"


@pytest.mark.e2e
def test_toy_store_records_requests_admits_by_access_token_and_answers_usage(
    home: Home,  # noqa: F811
    location: str,
) -> None:
    created = home.run("token", "create", "alice", "--db", location, env=PLUGIN)
    token = created.stdout.strip()
    assert token.startswith("aib_"), created.stderr
    proxy = home.start_proxy(
        *("--set", "aibridge_plugins=toy_store", "--db", location),
        env={"PYTHONPATH": PLUGIN["PYTHONPATH"]},
    )
    url = f"{home.proxy().reverse_url}/anthropic/v1/messages"

    with httpx2.Client(trust_env=False) as client:
        refused = client.post(url, json=HELLO, headers=HEADERS)
        admitted = client.post(url, json=HELLO, headers=HEADERS | {"x-aibridge-token": token})

    assert (refused.status_code, admitted.status_code) == (400, 200)
    environ = {"PYTHONPATH": PLUGIN["PYTHONPATH"]}  # the running proxy names its plugin
    usage = home.run("usage", "--by", "actor", "--json", env=environ)
    totals = {total["name"]: total for total in json.loads(usage.stdout)}
    used = admitted.json()["usage"]
    assert totals["alice"]["requests"] == 1
    assert totals["alice"]["output"] == used["output_tokens"]
    assert proxy.stop() == 0, proxy.text
    assert not home.database.exists()

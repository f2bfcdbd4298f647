"""A wire format and a provider type are added by one file, from outside the package."""

import http.client
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.conftest import authority, confdir, proxies, run_proxy  # noqa: F401 fixtures
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from standin import Server, ServerThread
from standin.messages import Request, Response

PLUGIN = Path(__file__).with_name("toy_provider.py")
STREAM = b'{"text": "Hel"}\n{"text": "lo."}\n{"done": true, "usage": {"read": 3, "written": 5}}\n'
KEY = "central-toy-key"

pytestmark = pytest.mark.e2e


async def toy_api(request: Request) -> Response:
    """Serve the toy API."""
    headers = [("content-type", "application/jsonl")]
    return Response(headers=headers, body=STREAM)


@pytest.fixture(scope="module")
def provider() -> Iterator[Server]:
    with ServerThread(Server(toy_api)) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(
    run_proxy: RunProxy,  # noqa: F811
    provider: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """A proxy that reads the plugin from a folder of its own."""
    plugins = tmp_path_factory.mktemp("plugins")
    shutil.copy(PLUGIN, plugins)
    config = f"""
[[providers]]
name = "toy"
type = "toy"
base_url = "{provider.origin}"
api_key_env = "TOY_KEY"
"""
    with run_proxy(
        provider.origin,
        config=config,
        options={"aibridge_plugins": "toy_provider"},
        env={"PYTHONPATH": str(plugins), "TOY_KEY": KEY},
    ) as started:
        yield started
    assert not started.faults(), started.log_text()


def ask(proxy: Proxy, path: str, **headers: str) -> tuple[int, bytes]:
    """Send a request to the reverse proxy; return the status and the body of its response."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.reverse_port, timeout=20)
    connection.request("POST", path, b'{"prompt": "Say hello."}', headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_request_in_a_registered_format_is_relayed_and_recorded_with_its_usage(
    proxy: Proxy, provider: Server
) -> None:
    with proxy.recording() as records:
        status, body = ask(proxy, "/toy/models/toy-1%2Flarge:stream")

    assert (status, body) == (200, STREAM)
    [request] = provider.requests
    assert request.target == "/models/toy-1%2Flarge:stream"
    assert dict(request.headers)["x-toy-key"] == KEY
    row = records.interception
    assert (row["provider"], row["api"], row["model"]) == ("toy", "toy_text", "toy-1/large")
    assert row["credential_kind"] == "centralized"
    assert row["status"] == "completed"
    assert (records.usage["input_tokens"], records.usage["output_tokens"]) == (3, 5)
    assert records.prompts == ["Say hello."]


def test_own_key_in_the_header_of_a_registered_provider_type_is_masked_in_the_record(
    proxy: Proxy, provider: Server
) -> None:
    with proxy.recording() as records:
        ask(proxy, "/toy/models/toy-1:stream", **{"X-Toy-Key": "own-key-of-the-client"})

    assert dict(provider.requests[-1].headers)["X-Toy-Key"] == "own-key-of-the-client"
    assert records.interception["credential_kind"] == "byok"
    assert records.interception["credential_hint"] == "own-...ient"


def test_unknown_route_of_a_registered_provider_type_is_refused_with_its_error_shape(
    proxy: Proxy,
) -> None:
    status, body = ask(proxy, "/toy/models/toy-1:delete")

    assert status == 404
    assert body.startswith(b'{"toy_error":"aibridge: POST /toy/models/toy-1:delete is not a route')


@pytest.mark.parametrize(
    ("code", "mistake"),
    [
        ("formats.register(toy_provider.ToyText())", "a wire format named 'toy_text'"),
        ("types.register(types.PROVIDER_TYPES['toy'])", "a provider type named 'toy'"),
        (
            "types.register(types.ProviderType(name='x', routes=(), error_format='nowhere'))",
            "provider type 'x' uses the unknown wire format 'nowhere'",
        ),
    ],
)
def test_name_in_use_or_unknown_format_is_an_error_of_register(code: str, mistake: str) -> None:
    imports = "from aibridge_addon import formats\nfrom aibridge_addon.providers import types\n"
    script = f"import toy_provider\n{imports}{code}"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(PLUGIN.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"ValueError: {mistake}" in ended.stderr

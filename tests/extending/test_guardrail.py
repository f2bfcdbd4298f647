"""The guardrail of the documentation, in front of every kind of request."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.bodies import APIS, CHAT, MESSAGES, Api
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import (  # noqa: F401 fixtures
    StartProxy,
    authority,
    clients_of,
    confdir,
    provider,
    proxies,
    standin,
    start_proxy,
)
from e2e.proxy import Proxy, config_toml
from e2e.sockets import Socket
from standin import Server

pytestmark = pytest.mark.e2e

FORWARD, _, REVERSE, _ = WAYS
PAGE = Path(__file__).parents[2] / "docs" / "guardrails.md"
NUMBER = "C-12345678"


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


@pytest.fixture
def clients(
    start_proxy: StartProxy,  # noqa: F811
    clients_of: Callable[[Proxy], Clients],  # noqa: F811
    standin: Server,  # noqa: F811
    tmp_path: Path,
) -> Clients:
    """Send requests through a proxy with the guardrail of the documentation."""
    folder = tmp_path / "company"
    folder.mkdir()
    toml, python = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "my_company_dlp.py").write_text(python)
    config = config_toml(standin.origin) + toml
    return clients_of(start_proxy(config=config, env={"PYTHONPATH": str(folder)}))


def test_guardrail_refuses_every_kind_of_request_and_lets_others_pass(
    clients: Clients,
    standin: Server,  # noqa: F811
) -> None:
    standin.requests.clear()
    for way in (FORWARD, REVERSE):
        for api in APIS:
            assert post(clients, way, api, api.path, "hello") == 200
            assert post(clients, way, api, api.path, NUMBER) == 400
        assert post(clients, way, MESSAGES, "/v1/messages/count_tokens", NUMBER) == 400
        unread = "/embeddings" if way is FORWARD else "/conversations"
        assert post(clients, way, CHAT, unread, NUMBER) == 400
        with Socket(clients, way) as socket:
            socket.request(NUMBER)
            refused = list(socket.events())[-1]
            assert (refused["type"], refused["error"]["code"]) == ("error", "customer_number")
            socket.request("hello")
            assert list(socket.events())[-1]["type"] == "response.completed"
    assert all(NUMBER.encode() not in request.body for request in standin.requests)


FORM = {"content-type": "multipart/form-data; boundary=b"}
UPLOADED = (
    '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%s\r\n--b--\r\n'
)
BODIES = [
    ("/audio/transcriptions", FORM, str.encode),
    ("/audio/transcriptions", FORM | {"content-encoding": "gzip"}, gzipped),
    ("/files", FORM, str.encode),
    ("/files", FORM | {"content-encoding": "gzip"}, gzipped),
    ("/chat/completions", {"content-encoding": "unknown"}, str.encode),
]


@pytest.mark.parametrize(("path", "headers", "encode"), BODIES)
def test_guardrail_reads_files_and_bodies_that_nobody_else_reads(
    clients: Clients,
    standin: Server,  # noqa: F811
    path: str,
    headers: dict[str, str],
    encode: Callable[[str], bytes],
) -> None:
    standin.requests.clear()
    for way in (FORWARD, REVERSE):
        url = clients.url(way, CHAT.provider, path)
        with clients.http(way) as http:
            for said, passes in (("hello", True), (NUMBER, False)):
                sent = CHAT.headers | headers
                answer = http.post(url, content=encode(UPLOADED % said), headers=sent)
                assert ("customer numbers" not in answer.text) is passes, (way, said)
    assert len(standin.requests) == 2


def post(clients: Clients, way: Way, api: Api, path: str, text: str) -> int:
    with clients.http(way) as http:
        url = clients.url(way, api.provider, path)
        content = api.request(text, stream=False)
        return int(http.post(url, content=content, headers=api.headers).status_code)

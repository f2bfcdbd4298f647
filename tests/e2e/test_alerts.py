"""Webhooks: a proxy reports that a provider is down and up again, with a signature."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from standin import Server

from e2e.asking import APIS
from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy, config_toml

_, CHAT, _ = APIS
FORWARD = Way("forward")
SECRET = "s3cret-of-the-webhook"


class Hook:
    """A receiver of webhooks that fails at first."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, number: int) -> list[dict[str, Any]]:
        """Wait for requests; return their bodies, whose signatures are right."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= number, 30)
            received = list(self.received)
        for headers, body in received:
            timestamp = headers["X-AIBridge-Signature"].partition(",")[0].removeprefix("t=")
            signed = f"{timestamp}.".encode() + body
            digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            assert headers["X-AIBridge-Signature"] == f"t={timestamp},v1={digest}"
        return [json.loads(body) for _, body in received]

    def _receive(self, headers: dict[str, str], body: bytes) -> int:
        with self._changed:
            self.received.append((headers, body))
            self._changed.notify_all()
            return 503 if len(self.received) == 1 else 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receive = self._receive

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receive(dict(self.headers.items()), body))
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def test_provider_that_is_down_and_up_again_is_reported(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    hook: Hook,
) -> None:
    proxy = start_proxy(
        config=config_toml(standin.origin)
        + f'\n[[alerts]]\nurl = "{hook.url}"\nsecret_env = "HOOK_SECRET"\n',
        env={"HOOK_SECRET": SECRET, "HTTP_PROXY": "http://127.0.0.1:1"},
    )
    clients = clients_of(proxy)

    for _ in range(5):
        with pytest.raises(openai.InternalServerError):
            CHAT.ask(clients, FORWARD, "my secret STATUS:503", client_options={"max_retries": 0})
    first, repeated = hook.wait(2)
    CHAT.ask(clients, FORWARD, "Hello")
    last = hook.wait(3)[-1]

    assert first == repeated
    assert (first["type"], last["type"]) == ("provider_down", "provider_up")
    assert first["figures"]["provider"] == "openai"
    assert first["figures"]["http_status"] == 503
    assert first["text"].startswith("aibridge: openai is down")
    assert "my secret" not in json.dumps([first, last])
    assert proxy.stop() == 0
    assert SECRET not in proxy.log_text()
    assert hook.url not in proxy.log_text(), "a webhook's URL is often a secret"

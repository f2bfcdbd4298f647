"""What is served over HTTP beside the proxy: `/metrics` for Prometheus, `/healthz` for probes.

From threads, not from the event loop. The loop is only asked how things are, since it alone may
look, and an answer proves that it still turns.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from aibridge_addon import __version__
from aibridge_addon.observe.health import Health

ANSWER_SECONDS = 5.0
"""For the event loop to say how things are; a probe waits less."""
_TEXT = "text/plain; charset=utf-8"


class Listener:
    """Serves until it is closed; `look` is called on the loop that runs now.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        look: Callable[[], Health],
        *,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self._look = look
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._pages: dict[str, WSGIApplication] = {
            "/": _index,
            "/metrics": make_wsgi_app(registry),
            "/healthz": self._health,
        }
        host, port = address
        self._server, self._thread = start_http_server(port, host, registry)
        self._server.set_app(self._app)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environ["PATH_INFO"], _not_found)
        return page(environ, start_response)

    def _health(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        health = self._ask()
        return _respond(
            environ, start_response, health.http_status, health.as_json(), "application/json"
        )

    def _ask(self) -> Health:
        answer: Future[Health] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: answer.set_result(self._look()))
            return answer.result(self._patience)
        except (TimeoutError, RuntimeError):  # the loop is stuck, or has ended
            return Health(database="unknown")


def _index(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    text = f"aibridge {__version__}: /metrics is for Prometheus, /healthz for probes\n"
    return _respond(environ, start_response, HTTPStatus.OK, text)


def _not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    text = "not here; there are /metrics and /healthz\n"
    return _respond(environ, start_response, HTTPStatus.NOT_FOUND, text)


def _respond(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: HTTPStatus,
    text: str,
    kind: str = _TEXT,
) -> Iterable[bytes]:
    body = text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", [*headers, ("Cache-Control", "no-store")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

"""Serves `/metrics` for Prometheus, `/healthz` and `/readyz` for probes, beside the proxy.

It serves on threads. Only the health check runs on the event loop: the components may be used only
there, and a result proves that the loop still runs.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from aibridge_addon import __version__
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.wsgi_server import WsgiThread

CHECK_SECONDS = 5.0
"""Time limit for a health check on the event loop; probes wait less."""
_TEXT = "text/plain; charset=utf-8"


class Listener:
    """Serves until it is closed.

    `check` returns the health; it is called on the event loop that runs now. `is_ready` returns
    whether new clients should come.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        check: Callable[[], Health],
        is_ready: Callable[[], bool] = lambda: True,
        *,
        timeout: float = CHECK_SECONDS,
    ) -> None:
        self._check = check
        self._is_ready = is_ready
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pages: dict[str, WSGIApplication] = {
            "/": _index,
            "/metrics": make_wsgi_app(registry),
            "/healthz": self._health,
            "/readyz": self._ready,
        }
        self._server = WsgiThread(address, self._app)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environ["PATH_INFO"], _not_found)
        return page(environ, start_response)

    def _health(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        health = self._run_check()
        return _respond(
            environ, start_response, health.http_status, health.as_json(), "application/json"
        )

    def _ready(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._is_ready():
            return _respond(environ, start_response, HTTPStatus.OK, "ready\n")
        return _respond(environ, start_response, HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")

    def _run_check(self) -> Health:
        result: Future[Health] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: result.set_result(self._check()))
            return result.result(self._timeout)
        except (TimeoutError, RuntimeError):  # the loop is blocked or closed
            return Health(database="unknown")


def _index(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    text = f"aibridge {__version__}: /metrics is for Prometheus, /healthz and /readyz for probes\n"
    return _respond(environ, start_response, HTTPStatus.OK, text)


def _not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    text = "not found; there are /metrics, /healthz and /readyz\n"
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

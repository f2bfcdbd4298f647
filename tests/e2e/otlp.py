"""An OTLP/HTTP receiver: collects the spans that an exporter sends."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

type Attributes = dict[str, Any]


class Receiver:
    """Serves `/v1/traces` on a free port while its context is open."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Attributes] = []
        self.headers: list[dict[str, str]] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """Value of `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, condition: Callable[[list[Any]], bool], timeout_s: float = 30) -> list[Any]:
        """Wait until the received spans fulfil a condition; return them.

        Raises:
            TimeoutError: they never did.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.spans), timeout_s):
                raise TimeoutError([span.name for span in self.spans])
            return list(self.spans)

    def _receive(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.headers.append(headers)
            for part in request.resource_spans:
                self.resources.append(attributes_of(part.resource))
                self.spans += [span for scope in part.scope_spans for span in scope.spans]
            self._changed.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receive = self._receive

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receive(body, dict(self.headers.items()))
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def attributes_of(holder: Any) -> Attributes:
    """Return the attributes of a span or a resource."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in holder.attributes
    }

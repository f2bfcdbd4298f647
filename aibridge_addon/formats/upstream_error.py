"""The error of a failed upstream request, as the proxy's own code raises and passes it on. Pure.

It is not a provider's error in the record (`facts.ProviderError`).
"""

from collections.abc import Mapping

from aibridge_addon.formats.tool_protocol import StreamError
from aibridge_addon.raw_json import JSON


class UpstreamError(Exception):
    """An upstream request of the proxy failed.

    Args:
        message: the provider's message, or a description of the failure.
        error_type: the provider's error type, or one of ours if there is no `http_status`.
        http_status: the provider's status; None if it sent none.
        headers: of the provider's response.
        body: the provider's error, decoded.
        response: the error as an HTTP response, for a client that has received nothing yet.
        connection_failed: True if the connection failed before any byte of a response.
    """

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None = None,
        http_status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: JSON = None,
        response: object = None,
        connection_failed: bool = False,
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.http_status = http_status
        self.headers = headers or {}
        self.body = body
        self.response = response
        self.connection_failed = connection_failed
        self.has_other_key = False
        """True if the request can be sent at once with another key."""

    def for_stream(self) -> StreamError:
        """Return the error in the form in which a splicer ends a client's stream with it."""
        return StreamError(
            message=str(self),
            error_type=self.error_type if self.http_status else None,  # else it is ours
            http_status=self.http_status,
            body=self.body,
        )

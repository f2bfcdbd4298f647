"""Sends the request of a webhook: directly, without redirects, and without reading the response.

The address comes from the config file, like those of MCP servers, so that it may be a private one.
"""

import asyncio

import httpx2

from aibridge_addon.library_logs import silence_libraries
from aibridge_addon.telemetry.alerts.webhook import Webhook

TIMEOUT_SECONDS = 10.0
"""Time until the head of the response must have come, however slowly it is sent."""


class HttpPost:
    """Posts with a client of its own; the proxies of the environment may be this proxy."""

    def __init__(self) -> None:
        silence_libraries()
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS
        )

    async def __call__(self, webhook: Webhook, body: bytes, timestamp: int) -> int:
        """Send a body; return the status of the response.

        Raises:
            OSError: no response came.
        """
        headers = dict(webhook.headers(body, timestamp))
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._client.stream("POST", webhook.url, content=body, headers=headers) as response,
            ):
                return int(response.status_code)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise OSError(type(error).__name__) from error

"""Downloads the public keys of an issuer (JWKS), bounded in time and size.

Only HTTPS and this machine's own servers are asked, directly; no redirect leads to another host.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from aibridge_addon.access.jwt.key_set import JWKSError, PublishedKeys
from aibridge_addon.access.jwt.keys import usable_keys
from aibridge_addon.library_logs import silence_libraries
from aibridge_addon.raw_json import mapping, read, sequence

TIMEOUT_SECONDS = 5.0
MOST_BYTES = 1_000_000
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Download:
    """Downloads with the CAs of a file, or with those of the system."""

    trusted: str | None = None

    async def __call__(self, url: str) -> PublishedKeys:
        """Return the keys at an address.

        Raises:
            JWKSError: they could not be read.
        """
        silence_libraries()
        context = ssl.create_default_context(cafile=self.trusted)
        client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS, verify=context
        )
        async with client:
            try:
                # The timeout of the client is for each read: a server may send a byte now and then.
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await _read(client, url)
            except TimeoutError:
                raise JWKSError(f"it took longer than {TIMEOUT_SECONDS:g} seconds") from None
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise JWKSError(str(error) or type(error).__name__) from error


async def _read(client: httpx2.AsyncClient, url: str) -> PublishedKeys:
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    for _ in range(_MOST_REDIRECTS + 1):
        async with client.stream("GET", url, headers=headers) as response:
            if response.status_code in _REDIRECTS:
                url = _redirected(url, response.headers.get("location", ""))
                continue
            if response.status_code != 200:
                raise JWKSError(f"HTTP {response.status_code}")
            body = await _body(response)
            return _published(body, response.headers.get("cache-control", ""))
    raise JWKSError("too many redirects")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if not location or urlsplit(target)[:2] != urlsplit(url)[:2]:
        raise JWKSError("it redirects to another host")
    return target


async def _body(response: httpx2.Response) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise JWKSError("the response is compressed")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MOST_BYTES:
            raise JWKSError(f"the response is larger than {MOST_BYTES} bytes")
    return bytes(body)


def _published(body: bytes, cache_control: str) -> PublishedKeys:
    listed: list[Any] = sequence(mapping(read(body)).get("keys"))
    keys = usable_keys(key for key in listed if isinstance(key, dict))
    if not keys:
        raise JWKSError("the response has no public keys")
    stated = _MAX_AGE.search(cache_control)
    return PublishedKeys(keys, float(stated[1]) if stated else None)

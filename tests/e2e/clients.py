"""Clients by every way to the provider: the official SDKs and bare HTTP.

Each client is a context manager. None retries, none reads the environment, and all trust both
throw-away CAs and nothing else.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2
import zstandard
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from e2e.places import HOSTS, PREFIXES
from e2e.proxy import Proxy

TIMEOUT_S = 30.0

ANTHROPIC_KEY = "sk-ant-api03-0123456789abcdefghij"
OPENAI_KEY = "sk-proj-0123456789abcdefghij"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the provider, and the HTTP version that the client speaks on it."""

    mode: Literal["direct", "forward", "reverse"]
    http2: bool = False

    def __str__(self) -> str:
        return f"{self.mode}-{'h2' if self.http2 else 'h1'}"


WAYS = (
    Way("forward"),
    Way("forward", http2=True),
    Way("reverse"),
    Way("reverse", http2=True),
)
"""The ways through a proxy."""

DIRECT = (Way("direct"), Way("direct", http2=True))


@dataclass(frozen=True, slots=True)
class Clients:
    """Makes clients for one proxy and one stand-in."""

    origin: str
    """The stand-in's."""
    authorities: tuple[Path, ...]
    proxy: Proxy | None = None

    # --- the SDKs

    def anthropic(self, way: Way, **options: Any) -> Anthropic:
        """Return Anthropic's client."""
        http_client = options.pop("http_client", None) or self.http(way)
        return Anthropic(**self._anthropic(way, options), http_client=http_client)

    def async_anthropic(self, way: Way, **options: Any) -> AsyncAnthropic:
        """Return Anthropic's asynchronous client."""
        return AsyncAnthropic(**self._anthropic(way, options), http_client=self.async_http(way))

    def openai(self, way: Way, **options: Any) -> OpenAI:
        """Return OpenAI's client."""
        http_client = options.pop("http_client", None) or self.http(way)
        return OpenAI(**self._openai(way, options), http_client=http_client)

    def async_openai(self, way: Way, **options: Any) -> AsyncOpenAI:
        """Return OpenAI's asynchronous client."""
        return AsyncOpenAI(**self._openai(way, options), http_client=self.async_http(way))

    def _anthropic(self, way: Way, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "base_url": self.url(way, "anthropic"),
            "api_key": ANTHROPIC_KEY,
            "max_retries": 0,
            **options,
        }

    def _openai(self, way: Way, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "base_url": self.url(way, "openai"),
            "api_key": OPENAI_KEY,
            "max_retries": 0,
            **options,
        }

    # --- bare HTTP

    def http(self, way: Way, **options: Any) -> httpx2.Client:
        """Return a bare client."""
        return httpx2.Client(**self._http(way), **options)

    def async_http(self, way: Way, **options: Any) -> httpx2.AsyncClient:
        """Return a bare asynchronous client."""
        return httpx2.AsyncClient(**self._http(way), **options)

    def http_with_zstd(self, way: Way) -> httpx2.Client:
        """Return a bare client that decodes zstd, which httpx2 alone does not."""
        wrapped = httpx2.HTTPTransport(
            verify=self.trust(), http2=way.http2, proxy=self._proxy_url(way)
        )
        return httpx2.Client(transport=_ZstdTransport(wrapped), timeout=TIMEOUT_S, trust_env=False)

    def url(self, way: Way, provider: str, path: str = "") -> str:
        """Return the base URL of a provider by a way, and a path below it."""
        suffix = PREFIXES.get(provider, "")
        match way.mode:
            case "direct":
                base = self.origin + suffix
            case "forward":
                base = f"https://{HOSTS[provider]}{suffix}"
            case "reverse":
                scheme = "https" if way.http2 else "http"
                base = (
                    f"{scheme}://127.0.0.1:{self._required_proxy.reverse_port}/{provider}{suffix}"
                )
        return base + path

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts the throw-away CAs alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in self.authorities:
            context.load_verify_locations(path)
        return context

    def _http(self, way: Way) -> dict[str, Any]:
        return {
            "verify": self.trust(),
            "http2": way.http2,
            "http1": not way.http2,
            "proxy": self._proxy_url(way),
            "timeout": TIMEOUT_S,
            "trust_env": False,
        }

    def _proxy_url(self, way: Way) -> str | None:
        return self._required_proxy.forward_url if way.mode == "forward" else None

    @property
    def _required_proxy(self) -> Proxy:
        assert self.proxy is not None, "this way needs a proxy"
        return self.proxy


class _ZstdTransport(httpx2.BaseTransport):
    def __init__(self, wrapped: httpx2.HTTPTransport) -> None:
        self._wrapped = wrapped

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "zstd"
        response = self._wrapped.handle_request(request)
        if response.headers.get("content-encoding") != "zstd":
            return response
        headers = [
            pair
            for pair in response.headers.multi_items()
            if pair[0] not in ("content-encoding", "content-length")
        ]
        return httpx2.Response(
            response.status_code,
            headers=headers,
            stream=_ZstdStream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._wrapped.close()


class _ZstdStream(httpx2.SyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        decoder = zstandard.ZstdDecompressor().decompressobj()
        assert isinstance(self._response.stream, httpx2.SyncByteStream)
        for chunk in self._response.stream:
            if chunk:  # HTTP/2 may end with an empty frame
                yield decoder.decompress(chunk)

    def close(self) -> None:
        self._response.close()


def sse_events(lines: Iterator[str]) -> Iterator[str]:
    """Cut the lines of a stream into events, each as soon as it is whole."""
    block: list[str] = []
    for line in lines:
        if line:
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []


async def async_sse_events(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Cut the lines of a stream into events, each as soon as it is whole."""
    block: list[str] = []
    async for line in lines:
        if line:
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []

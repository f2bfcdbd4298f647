"""Clients of every SDK, each by the forward and by the reverse proxy."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any
from unittest.mock import patch

import boto3
from anthropic import AnthropicBedrock, AnthropicVertex
from botocore.config import Config
from google import genai
from google.genai import types
from ollama import Client as Ollama
from openai import AzureOpenAI

from e2e.aws import KEY_ID, REGION, SECRET
from e2e.clients import Clients, Way
from e2e.tables import provider_toml

GOOGLE_KEY = "AIzaSyA-0123456789-abcdefghijklmnopq"
HOSTS = {
    "azure": "acme.openai.azure.com",
    "bedrock": f"bedrock-runtime.{REGION}.amazonaws.com",
    "code-assist": "cloudcode-pa.googleapis.com",
    "gemini": "generativelanguage.googleapis.com",
    "ollama": "ollama.example",
    "vertex": "aiplatform.googleapis.com",
}
_MORE: dict[str, dict[str, Any]] = {
    "azure": {"price_as": "azure", "models": {"our-chat": "gpt-5"}},
    "bedrock": {"price_as": "aws", "region": REGION},
    "gemini": {"price_as": "google"},
    "vertex": {"price_as": "google"},
}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
"""Credentials with which the proxy signs."""


def config(origin: str) -> str:
    """Return the configuration of every provider but Anthropic and OpenAI."""
    return "".join(
        provider_toml(origin, name, host, **_MORE.get(name, {})) for name, host in HOSTS.items()
    )


class Sdks:
    """Makes clients for one way through a proxy; callers read whatever a response states."""

    def __init__(self, clients: Clients, way: Way, ca_bundle: str) -> None:
        self.clients, self.way = clients, way
        self._ca_bundle = ca_bundle
        proxy = clients.proxy
        assert proxy is not None
        self._proxy = proxy

    @property
    def is_forward(self) -> bool:
        """True for the forward proxy."""
        return self.way.mode == "forward"

    def url(self, provider: str, path: str = "", scheme: str = "http") -> str:
        """Return the address of a provider, and a path below it."""
        if self.is_forward:
            return f"https://{HOSTS[provider]}{path}"
        return f"{scheme}://127.0.0.1:{self._proxy.reverse_port}/{provider}{path}"

    def anthropic(self) -> Any:
        """Return Anthropic's client."""
        return self.clients.anthropic(self.way)

    def anthropic_bedrock(self) -> Any:
        """Return Anthropic's client for Amazon Bedrock."""
        return AnthropicBedrock(
            aws_region=REGION,
            base_url=self.url("bedrock"),
            aws_access_key=KEY_ID,
            aws_secret_key=SECRET,
            max_retries=0,
            http_client=self.clients.http(self.way),
        )

    def anthropic_vertex(self, region: str) -> Any:
        """Return Anthropic's client for Vertex AI."""
        return AnthropicVertex(
            region=region,
            project_id="p",
            access_token="ya29.token-of-google",
            base_url=self.url("vertex", "/v1"),
            max_retries=0,
            http_client=self.clients.http(self.way),
        )

    def openai(self) -> Any:
        """Return OpenAI's client."""
        return self.clients.openai(self.way)

    def azure(self) -> Any:
        """Return OpenAI's client for Azure."""
        return AzureOpenAI(
            azure_endpoint=self.url("azure"),
            api_key="0123456789abcdef0123456789abcdef",
            api_version="2025-04-01-preview",
            http_client=self.clients.http(self.way),
            max_retries=0,
        )

    def socket(self, *, is_tls: bool = False) -> dict[str, Any]:
        """Return the options of OpenAI's WebSocket, which speaks TLS to Azure at any address."""
        if not self.is_forward:
            return {"proxy": None, **({"ssl": self.clients.trust()} if is_tls else {})}
        return {"proxy": self._proxy.forward_url, "ssl": self.clients.trust()}

    @contextmanager
    def google(self, provider: str = "gemini") -> Iterator[Any]:
        """Return Google's client for the Gemini API or Vertex AI."""
        with self.clients.http(self.way) as http_client:
            options = types.HttpOptions(base_url=self.url(provider), httpx_client=http_client)
            yield genai.Client(**_login(provider), http_options=options)

    @asynccontextmanager
    async def live(self, model: str, provider: str) -> AsyncIterator[Any]:
        """Open a session of Google's Live API, which speaks TLS at any address."""
        options = types.HttpOptions(
            base_url=self.url(provider, scheme="https"),
            async_client_args={"ssl": self.clients.trust()},
        )
        client = genai.Client(**_login(provider), http_options=options)
        proxy = {"https_proxy": self._proxy.forward_url} if self.is_forward else {}
        with patch.dict(os.environ, proxy):
            async with client.aio.live.connect(model=model) as session:
                yield session

    @contextmanager
    def boto3(self) -> Iterator[Any]:
        """Return the client of Amazon Bedrock of AWS's own SDK."""
        proxies = {"https": self._proxy.forward_url} if self.is_forward else {}
        made = boto3.client(
            "bedrock-runtime",
            region_name=REGION,
            endpoint_url=self.url("bedrock"),
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            verify=self._ca_bundle,
            config=Config(proxies=proxies, retries={"total_max_attempts": 1}),
        )
        with closing(made):
            yield made

    @contextmanager
    def ollama(self) -> Iterator[Any]:
        """Return Ollama's client."""
        proxy = self._proxy.forward_url if self.is_forward else None
        made = Ollama(
            self.url("ollama"),
            proxy=proxy,
            verify=self.clients.trust(),
            trust_env=False,
            timeout=30.0,
        )
        with closing(made._client):
            yield made


def _login(provider: str) -> dict[str, Any]:
    """Return how Google's client logs in at the Gemini API or Vertex AI."""
    if provider == "gemini":
        return {"api_key": GOOGLE_KEY}
    return {
        "vertexai": True,
        "project": "p",
        "location": "global",
        "credentials": _Credentials(),
    }


class _Credentials:
    """A login at Google that needs no network."""

    token = "ya29.token-of-google"
    expired = False
    quota_project_id = None

    def refresh(self, request: object) -> None:
        """Do nothing: it never expires."""

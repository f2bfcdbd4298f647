"""Signs upstream requests with the operator's AWS credentials (Signature Version 4).

Credentials come from botocore's chain: variables, profiles, roles, the metadata of an instance. It
may block, so that it runs on a thread; signing itself only computes.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mitmproxy import http

from aibridge_addon.providers.credentials import CREDENTIAL_FIELDS
from aibridge_addon.providers.instance import Provider

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

_FRESH_SECONDS = 60.0
"""Time for which credentials are used before the chain is asked again, which may renew them."""
_LOOK_UP_SECONDS = 15.0
_OF_SIGNATURE = (b"x-amz-date", b"x-amz-content-sha256")
_COVERED = ("content-type", "accept")
_COVERED_PREFIX = "x-amzn-bedrock-"
"""Headers that the signature covers besides `host` and those of AWS, since they have a meaning."""

type Sign = Callable[[http.Request], None]


class SigningError(Exception):
    """There are no credentials to sign with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The service, region and credentials that a signature is for."""

    service: str
    region: str
    profile: str | None

    @classmethod
    def of_provider(cls, provider: Provider) -> "Scope":
        """Return the scope of requests to a provider instance."""
        service = provider.provider_type.signing_service
        is_mantle = provider.host.startswith("bedrock-mantle.")
        return cls(
            service="bedrock-mantle" if is_mantle else service,
            region=provider.region or "",
            profile=provider.profile,
        )


class Signer:
    """Signs requests for one scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._chain: Credentials | None = None
        self._credentials: ReadOnlyCredentials | None = None
        self._fresh_until = 0.0
        self._lock = asyncio.Lock()

    async def ready(self) -> Sign:
        """Return the function that signs a request in place, once there are credentials.

        Raises:
            SigningError: the credentials or the library are missing.
        """
        async with self._lock:
            if time.monotonic() > self._fresh_until:
                async with asyncio.timeout(_LOOK_UP_SECONDS):
                    self._credentials = await asyncio.to_thread(self._look_up)
                self._fresh_until = time.monotonic() + _FRESH_SECONDS
        return self._sign

    def _look_up(self) -> "ReadOnlyCredentials":
        try:
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ImportError as error:
            raise SigningError(
                "signing requests needs botocore: install aibridge-addon[bedrock]"
            ) from error
        try:
            if self._chain is None:
                self._chain = Session(profile=self._scope.profile).get_credentials()
            if self._chain is not None:
                return self._chain.get_frozen_credentials()
        except BotoCoreError as error:
            raise SigningError(f"the AWS credentials cannot be used: {error}") from error
        raise SigningError(
            "no AWS credentials were found: set `profile` of the provider instance, or the"
            " variables of AWS, or a key in AWS_BEARER_TOKEN_BEDROCK"
        )

    def _sign(self, request: http.Request) -> None:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        fields = tuple(field for field in request.headers.fields if not _is_replaced(field[0]))
        request.headers.fields = fields
        covered = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in _COVERED or name.lower().startswith(_COVERED_PREFIX)
        }
        authority = request.host_header or request.host
        made = AWSRequest(
            request.method,
            f"{request.scheme}://{authority}{request.path}",
            covered,
            request.raw_content or b"",
        )
        SigV4Auth(self._credentials, self._scope.service, self._scope.region).add_auth(made)
        added = {name: value for name, value in made.headers.items() if name not in covered}
        request.headers.fields = (
            *fields,
            *((name.encode(), value.encode()) for name, value in added.items()),
        )


def _is_replaced(name: bytes) -> bool:
    return (lower := name.lower()) in CREDENTIAL_FIELDS or lower in _OF_SIGNATURE

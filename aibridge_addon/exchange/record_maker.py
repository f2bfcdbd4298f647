"""Makes the records of requests, and begins them with the prompts that are new."""

from collections.abc import Callable
from dataclasses import replace

from mitmproxy import http

from aibridge_addon.access.policies import Refusal
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.interception_start import InterceptionStart
from aibridge_addon.exchange.policy_check import NOT_DECIDED
from aibridge_addon.exchange.typed_prompts import TypedPrompts
from aibridge_addon.facts import Interception, ProviderError, Status
from aibridge_addon.interception import InterceptionRecord, Publish
from aibridge_addon.redaction.credentials import Credentials

type Attach = Callable[[http.HTTPFlow, Interception], None]
"""Shows the facts of an interception with its flow."""


class RecordMaker:
    """Makes records that publish their facts."""

    def __init__(
        self,
        *,
        publish: Publish,
        capture: frozenset[str],
        typed_prompts: TypedPrompts,
        attach: Attach,
        credentials: Credentials,
    ) -> None:
        self._publish = publish
        self._capture = capture
        self._typed_prompts = typed_prompts
        self._attach = attach
        self._credentials = credentials

    def make(
        self, request: ClientRequest, interception: Interception, refusal: Refusal | None
    ) -> InterceptionRecord:
        """Make the record of a request; a refused request uses no credential."""
        self._credentials.add(interception.id, request.secrets.values())
        if refusal:
            interception = replace(interception, credential_kind=None, credential_hint=None)
        self._attach(request.flow, interception)
        return InterceptionRecord(interception, publish=self._publish, capture=self._capture)

    def begin(
        self,
        record: InterceptionRecord,
        start: InterceptionStart,
        refusal: Refusal | None,
        body: bytes,
    ) -> None:
        """Begin a record with its content; a prompt only unless an earlier request had it."""
        prompt = None
        is_stranger = refusal is not None and refusal.denies_access
        if not is_stranger:  # prompts of strangers could fill the disk
            prompt = self._typed_prompts.new(
                start.interception,
                start.purpose,
                position=start.position,
                is_retry=start.is_retry,
            )
        record.begin(prompt and prompt.text, digest=prompt and prompt.digest)
        if not is_stranger:
            record.bodies.note_request(0, body)


def end_unread(record: InterceptionRecord, *, may_pass: bool) -> None:
    """End the record of a request that a bug of ours leaves without an exchange, if it has begun.

    It is refused unless it may pass, and then nobody reads its response.
    """
    if not record.begun:
        return
    if not may_pass:
        end_refused(record, NOT_DECIDED)
        return
    error = ProviderError(type=NOT_DECIDED.reason, message="The response was not read.")
    record.end(Status.INTERRUPTED, error=error, partial=True)


def end_refused(record: InterceptionRecord, refusal: Refusal) -> None:
    """End the record of a refused request."""
    error = ProviderError(type=refusal.reason, message=refusal.message)
    record.end(Status.REFUSED, http_status=refusal.status, error=error)

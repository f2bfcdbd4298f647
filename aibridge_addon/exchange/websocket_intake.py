"""Opens WebSockets: judges the handshake, and later each message of the client."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aibridge_addon.access.keys.affinity import affinity_of
from aibridge_addon.access.policies import Asked, Refusal
from aibridge_addon.access.sender import Sender
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.exchange.commit import Commit
from aibridge_addon.exchange.conversation import Conversation, read_message
from aibridge_addon.exchange.error_responses import (
    error_format_of_provider,
    refused_message,
    shaped_error,
)
from aibridge_addon.exchange.gemini_live import LiveConversation
from aibridge_addon.exchange.interception_start import InterceptionStart, start_interception
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.model_edits import ModelEdits
from aibridge_addon.exchange.policy_check import NOT_DECIDED, PolicyCheck, is_reverse
from aibridge_addon.exchange.realtime import RealtimeConversation
from aibridge_addon.exchange.record_maker import RecordMaker, end_refused, end_unread
from aibridge_addon.exchange.responses_websocket import ResponsesConversation
from aibridge_addon.exchange.websocket import HandshakeExchange, Refresh
from aibridge_addon.facts import RequestFacts
from aibridge_addon.formats import FORMATS, Format, gemini_live, openai_realtime
from aibridge_addon.formats.base import SESSION
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.providers import identity
from aibridge_addon.raw_json import body

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""Time between two looks at the budgets while a person speaks."""

_UNREAD_WEBSOCKET = (
    "aibridge: WebSockets of this path are refused, because this proxy cannot check their messages."
)


class WebSocketIntake:
    """Makes the exchanges of WebSocket handshakes."""

    def __init__(
        self,
        *,
        policies: PolicyCheck,
        records: RecordMaker,
        models: ModelEdits,
        refresh: Refresh,
        keys: KeyPools,
        commit: Commit,
    ) -> None:
        self._keys = keys
        self._policies = policies
        self._records = records
        self._models = models
        self._refresh = refresh
        self._commit = commit

    async def open(self, request: ClientRequest, api: str, sender: Sender) -> HandshakeExchange:
        """Return the exchange of a handshake; it is refused if the flow has a response then."""
        wire_format = FORMATS[api]
        session = identity.session_of(identity.recognise(sender.headers), sender.headers, None)
        self._keys.assign(request, affinity_of(sender.actor.id, session, b""))
        start = start_interception(request, api, RequestFacts(), sender)
        asked = self._policies.asked(request, sender, interception=start.interception)
        asked = replace(asked, must_name_model=False)
        # Each request in it is counted, the handshake is not.
        refusal = await self._policies.decide(replace(asked, interception=None))
        record = self._records.make(request, start.interception, refusal)
        if refusal:
            self._policies.refuse(request, wire_format, refusal)
            end_refused(record, refusal)
        requests = _SocketRequests(
            request, api, sender, asked, self._policies, self._records, self._models
        )
        return HandshakeExchange(
            request,
            wire_format,
            record=record,
            commit=self._commit,
            conversation=requests.conversation(wire_format),
            messages=requests,
            refresh=self._refresh,
        )

    async def check_unread(self, request: ClientRequest, sender: Sender) -> None:
        """Refuse a WebSocket that nobody reads if it could use our key or pass by a rule."""
        if not await self._policies.check_passing(request, sender):
            return
        token, client = sender.admission.token, identity.recognise(sender.headers).name
        is_judged = (token and token.models) or self._policies.must_read_messages(
            sender.actor, request.route.provider.name, client
        )
        if is_reverse(request.flow) or is_judged:
            wire_format = error_format_of_provider(request.route.provider)
            request.flow.response = shaped_error(wire_format, 400, _UNREAD_WEBSOCKET)
            self._policies.count(request, "unread_websocket")
            return
        self._policies.count_passthrough(request)


@dataclass(slots=True)
class _SocketRequests:
    """Judges the messages of one WebSocket, and begins the records of its requests."""

    request: ClientRequest
    api: str
    sender: Sender
    opening: Asked
    """The input of the policies for the handshake."""
    policies: PolicyCheck
    records: RecordMaker
    models: ModelEdits
    _spoken: Conversation = field(init=False)
    _decided: tuple[InterceptionStart, Asked, Refusal | None] | None = None
    """The start of a request's interception, and the decision about it."""
    _refusal: Refusal | None = None
    """The refusal of a message that is not a request."""

    _spent: Refusal | None = None
    """The refusal of a budget, as looked up last."""
    _look_at: float = 0.0
    """The time at which it is looked up again."""

    def conversation(self, wire_format: Format) -> Conversation:
        """Return the reader of the messages."""
        most = self.request.max_bytes
        begins = self.begin, self.begin_unasked, self.check
        if wire_format.name == openai_realtime.FORMAT.name:
            self._spoken = RealtimeConversation(*begins, max_bytes=most)
        elif wire_format.name == gemini_live.FORMAT.name:
            self._spoken = LiveConversation(*begins, max_bytes=most)
        else:
            self._spoken = ResponsesConversation(wire_format, *begins, max_bytes=most)
        return self._spoken

    async def decide(self, message: bytes) -> None:
        """Ask the policies and budgets about a message; `begin` or `check` apply the decision.

        Raises:
            RefusedError: a bug of ours prevents a decision, and a rule might refuse the message.
        """
        try:
            await self._decide(message)
        except Exception:
            self.undecided("is not decided about")
            raise

    def undecided(self, problem: str) -> None:
        """Log the bug that is handled, if it prevents a message from passing.

        Raises:
            RefusedError: a rule might refuse the message.
        """
        if not self.policies.must_decide:
            return
        logger.exception("aibridge: internal error: a message %s", problem)
        self.policies.count(self.request, NOT_DECIDED.reason)
        raise refused_message(FORMATS[self.api], NOT_DECIDED) from None

    def withdraw(self) -> None:
        """Give back what a message took that has not become a request."""
        if self._decided:
            (_, asked, refusal), self._decided = self._decided, None
            if refusal is None:
                self.policies.withdraw(asked)

    async def _decide(self, message: bytes) -> None:
        spoken = self._spoken
        request = read_message(message, spoken.is_request)
        if request is not None and spoken.is_request(request):
            start, asked = self._start(spoken.complete(request), message)
            self._decided = start, asked, None  # also if it is cancelled meanwhile
            self._decided = start, asked, await self.policies.decide(asked)
            return
        self._refusal = await self.policies.decide(self._asked(message, is_recorded=False))
        if self._refusal is None and request and (following := spoken.may_follow(request)):
            self._refusal = await self._find_spent_budget(following)

    async def _find_spent_budget(self, following: Sequence[Members]) -> Refusal | None:
        """Return the refusal of what the provider would begin by itself, if a budget is spent.

        Limits do not stop speech: it goes on beside the responses that occupy them.
        """
        if time.monotonic() >= self._look_at:
            begun = [self._start(request, b"{}")[1] for request in following]
            # Where only some have a model, the provider begins these: a session that only
            # transcribes has none for its responses.
            self._spent = None
            for asked in [asked for asked in begun if asked.model is not None] or begun:
                self._spent = self._spent or await self.policies.find_spent_budget(asked)
            self._look_at = time.monotonic() + _LOOK_SECONDS
        return self._spent

    def begin(self, members: Members, message: bytes) -> InterceptionRecord:
        """Begin the record of a request.

        Raises:
            RefusedError: a policy refuses it.
        """
        wire_format = FORMATS[self.api]
        self._look_at = 0.0
        assert self._decided, "`decide` precedes it"
        (start, _, refusal) = self._decided
        record = self._begun(start, refusal, members)
        self._decided = None
        if refusal:
            self.policies.count(self.request, refusal.reason)
            end_refused(record, refusal)
            raise refused_message(wire_format, refusal)
        return record

    def begin_unasked(self, members: Members, message: bytes) -> InterceptionRecord:
        """Begin the record of a response that the provider began: nobody can refuse it any more."""
        self._look_at = 0.0
        start, asked = self._start(members, message)
        self.policies.count_begun_upstream(asked)
        try:
            return self._begun(start, None, members)
        except Exception:
            self.policies.withdraw(asked)
            raise

    def _begun(
        self, start: InterceptionStart, refusal: Refusal | None, members: Members
    ) -> InterceptionRecord:
        """Begin a record."""
        record = self.records.make(self.request, start.interception, refusal)
        try:
            self.records.begin(record, start, refusal, _recorded(members))
        except Exception:
            end_unread(record, may_pass=not self.policies.must_decide)
            raise
        return record

    def _start(self, members: Members, message: bytes) -> tuple[InterceptionStart, Asked]:
        view = self.request.view(members, self.sender.headers)
        facts = replace(FORMATS[self.api].read_request(view), streaming=True)
        start = start_interception(self.request, self.api, facts, self.sender)
        asked = self._asked(
            message,
            model=facts.model,
            interception=start.interception,
            must_name_model=True,
            completed=members,
        )
        return start, asked

    def edited(self, message: bytes) -> bytes:
        """Return a message as it is sent upstream."""
        return self.models.message(self._asked(message), message, FORMATS[self.api])

    def check(self, message: bytes) -> None:
        """Check a message that is not a request.

        Raises:
            RefusedError: a policy refuses it.
        """
        if refusal := self._refusal:
            self.policies.count(self.request, refusal.reason)
            raise refused_message(FORMATS[self.api], refusal)

    def _asked(self, message: bytes, **changes: Any) -> Asked:
        changes |= {"content": lambda: message, "members": None, "is_message": True}
        # No further event of these responses is relayed before the decision.
        changes["can_wait"] = lambda: not self._spoken.is_responding
        return replace(self.opening, **changes)


def _recorded(request: Members) -> bytes:
    return body({name: value for name, value in request.items() if name != SESSION})

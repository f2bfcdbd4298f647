"""Records of interceptions: create the facts of one bridged request, and publish them.

Pure: knows neither proxy nor store. Each record ends exactly once; further ends are ignored.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from aibridge_addon import rate_limits
from aibridge_addon.captured_bodies import CapturedBodies
from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    Interception,
    InterceptionEnded,
    ModelThought,
    MovedAway,
    ProviderError,
    RateLimitsSeen,
    ResponseBegan,
    ResponseFacts,
    ServedElsewhere,
    Status,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    Usage,
    UserPrompt,
    milliseconds,
    new_id,
    now,
)
from aibridge_addon.failed_sends import FailedSends
from aibridge_addon.formats.billing_labels import with_assumed_labels
from aibridge_addon.formats.central_tool import CentralTool, ToolResult
from aibridge_addon.formats.tool_protocol import InjectedCall
from aibridge_addon.headers import Field
from aibridge_addon.upstream_times import Times, UpstreamTimes

type Publish = Callable[[Fact], None]

NOTHING = ResponseFacts()


class InterceptionRecord:
    """Publishes the facts of one interception.

    `capture` lists the contents that are published, as `aibridge_capture` does; tokens always are.
    """

    _was_in_background = False
    _may_be_read_again = False

    def __init__(
        self, interception: Interception, *, publish: Publish, capture: frozenset[str]
    ) -> None:
        self.interception = interception
        self.begun = False
        self.ended = False
        self.started = time.monotonic()
        self.sent_model: str | None = None
        """The model that is sent in place of the requested one; None if that is sent."""
        self.in_background = False
        """True if the client asked for a response in the background."""
        self._publish = publish
        self._capture = capture
        self.bodies = CapturedBodies(interception, publish=publish, capture=capture)
        self._prompted = False
        self._usage_reported = False
        self._usage_so_far: dict[str | None, TokenUsageSoFar] = {}
        """Usage of streams that have not ended, by the response's id."""
        self._server_tools: list[dict[str, Any]] = []
        self.failed_sends = FailedSends(publish)
        self.upstream = UpstreamTimes()
        """Times of the current upstream request."""
        self.injected: frozenset[str] = frozenset()
        """Names of the central tools that were offered; `invoked` publishes their calls."""

    def begin(self, prompt: str | None, *, digest: str | None = None) -> None:
        """Publish the start and what the person typed; `digest` names the typed prompt."""
        self.begun = True
        self._publish(self.interception)
        if prompt is not None and "prompts" in self._capture:
            self._prompted = True
            self._publish(
                UserPrompt(
                    id=new_id(),
                    interception=self.interception,
                    prompt=prompt,
                    digest=digest,
                    created_at=self.interception.started_at,
                )
            )

    def response_began(self, http_status: int, fields: Iterable[Field]) -> None:
        """Publish the head of a provider's response, and the rate limits in it."""
        if self.ended:  # it is refused: the response is the proxy's own
            return
        limits, seen_at = rate_limits.select(fields), now()
        self._publish(
            ResponseBegan(
                interception=self.interception,
                http_status=http_status,
                retry_after=rate_limits.read_retry_after(limits, seen_at) if limits else None,
            )
        )
        if limits:
            self._publish(
                RateLimitsSeen(interception=self.interception, headers=limits, seen_at=seen_at)
            )

    def sent_by(self, interception: Interception, reason: str = "") -> None:
        """Continue with another key, or at another provider instance.

        `reason` is the failure that leads to the instance; empty on the way back to an earlier one.
        """
        if interception.provider_name != self.interception.provider_name:
            self._publish(MovedAway(interception=self.interception))
            self._publish(ServedElsewhere(interception=interception, reason=reason))
        self.interception = self.bodies.interception = interception

    def begin_upstream(self) -> UpstreamTimes:
        """Return the times of a further upstream request, which starts now."""
        self.upstream = UpstreamTimes(self.upstream.number + 1)
        return self.upstream

    def begin_again(self) -> UpstreamTimes:
        """Return the times of the current upstream request, which is sent again now."""
        self.upstream = UpstreamTimes(self.upstream.number)
        return self.upstream

    def usage_so_far(self, response: ResponseFacts) -> None:
        """Publish the tokens that a stream has reported, so that they survive a crash."""
        if response.usage is None or self.ended:
            return
        fact = TokenUsageSoFar(**self._usage_values(response, response.usage))
        self._usage_so_far[response.response_id] = fact
        self._publish(fact)

    def response_ended(self, response: ResponseFacts) -> None:
        """Publish the facts of an upstream response that is not the last."""
        self._publish_response(response)

    def invoked(
        self,
        tool: CentralTool,
        call: InjectedCall,
        result: ToolResult,
        response_id: str | None,
        seconds: float | None = None,
    ) -> None:
        """Publish a call of a central tool; without `seconds`, it was not run."""
        if "tools" not in self._capture:
            return
        self._publish(
            ToolUsage(
                id=new_id(),
                interception=self.interception,
                provider_response_id=response_id,
                tool=tool.original_name,
                tool_call_id=call.call_id,
                server_url=tool.server_url,
                input=call.arguments,
                injected=True,
                invocation_error=result.as_text if result.is_error else None,
                metadata={"server": tool.server, "injected_name": tool.name},
                created_at=now(),
                duration_ms=milliseconds(seconds),
                result_bytes=result.size,
            )
        )

    def end(
        self,
        status: Status,
        *,
        response: ResponseFacts = NOTHING,
        http_status: int | None = None,
        error: ProviderError | None = None,
        partial: bool = False,
        first_byte_at: float | None = None,
    ) -> bool:
        """Publish the facts of the response, then the end; return True if this was the end.

        A record that has not begun begins now. `first_byte_at` is on the monotonic clock. A
        response that continues in the background does not end the interception: a
        `BackgroundRecord` does so later.
        """
        if self.ended:
            return False
        self.ended = True
        if response.pending and (self.in_background or response.complete) and response.response_id:
            self._publish_background(response.response_id)
            return False
        if response.cancelled and status is Status.COMPLETED:
            status = Status.CANCELLED
        if not self.begun:
            self.begin(None)
        if self.interception.model is None and response.model:  # of a batch, in a file before
            self.interception = replace(self.interception, model=response.model)
        self.upstream.note_end()
        self.bodies.publish_responses()
        self._publish_response(response)
        self._publish_usage_of_unread_streams()
        self._publish_end(
            status, response, http_status, error or response.error, partial, first_byte_at
        )
        return True

    def _publish_usage_of_unread_streams(self) -> None:
        for usage in self._usage_so_far.values():
            values = {field.name: getattr(usage, field.name) for field in fields(usage)}
            self._publish_usage(TokenUsage(**values))

    def _publish_end(
        self,
        status: Status,
        response: ResponseFacts,
        http_status: int | None,
        error: ProviderError | None,
        partial: bool,
        first_byte_at: float | None,
    ) -> None:
        self._publish(
            InterceptionEnded(
                interception=self.interception,
                provider_response_id=response.response_id,
                metadata=self._final_metadata(),
                ended_at=now(),
                status=status,
                http_status=http_status,
                error_type=error.type if error else None,
                error_message=error.message if error else None,
                partial=partial,
                prompted=self._prompted,
                usage_reported=self._usage_reported,
                in_background=self._was_in_background,
                may_be_read_again=self._may_be_read_again,
                unreadable=response.unreadable,
                unknown=response.unknown,
                usage_unreadable=response.usage_unreadable,
                seconds=time.monotonic() - self.started,
                seconds_to_first_byte=first_byte_at and first_byte_at - self.started,
            )
        )

    def _publish_background(self, response_id: str) -> None:
        self._publish(
            BackgroundResponse(
                interception=self.interception,
                provider_response_id=response_id,
                prompted=self._prompted,
                token_usage_id=new_id(),
                created_at=now(),
            )
        )

    def _publish_response(self, response: ResponseFacts) -> None:
        for usage in (response.usage, *response.hidden_usages):
            if usage is not None:
                self._publish_usage(TokenUsage(**self._usage_values(response, usage)))
        if "tools" in self._capture:
            self._publish_tool_calls(response)
        if "thoughts" in self._capture:
            self._publish_thoughts(response)

    def _publish_usage(self, fact: TokenUsage) -> None:
        self._usage_reported = True
        self._publish(fact)

    def _usage_values(self, response: ResponseFacts, usage: Usage) -> dict[str, Any]:
        return {
            "id": new_id() if usage.call else self._usage_id(response.response_id),
            "interception": self.interception,
            "provider_response_id": response.response_id,
            "model": usage.model if usage.call else response.model or self.sent_model,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
            "cache_write_input_tokens": usage.cache_write_input_tokens,
            "extra": with_assumed_labels(usage, response, self.interception.billing_labels),
            "raw": usage.raw,
            "call": usage.call,
            "created_at": now(),
            **self._times(),
        }

    def _times(self) -> Times:
        return self.upstream.values()

    def _usage_id(self, response_id: str | None) -> str:
        so_far = self._usage_so_far.pop(response_id, None)
        return so_far.id if so_far else new_id()

    def _publish_tool_calls(self, response: ResponseFacts) -> None:
        for call in response.tool_calls:
            if call.tool in self.injected:
                continue
            if call.server_side:
                details = {"tool": call.tool, "tool_call_id": call.call_id, "input": call.input}
                approval = {"approval": "requested"} if call.asks_approval else {}
                self._server_tools.append(details | approval)
                continue
            self._publish(
                ToolUsage(
                    id=new_id(),
                    interception=self.interception,
                    provider_response_id=response.response_id,
                    tool=call.tool,
                    tool_call_id=call.call_id,
                    server_url=None,
                    input=call.input,
                    injected=False,
                    invocation_error=None,
                    metadata={},
                    created_at=now(),
                )
            )

    def _publish_thoughts(self, response: ResponseFacts) -> None:
        for thought in response.thoughts:
            self._publish(
                ModelThought(
                    id=new_id(),
                    interception=self.interception,
                    provider_response_id=response.response_id,
                    content=thought.content,
                    source=thought.source,
                    created_at=now(),
                )
            )

    def _final_metadata(self) -> Mapping[str, Any]:
        added = {"server_tools": self._server_tools, "attempts": self.failed_sends.attempts}
        found = {name: value for name, value in added.items() if value}
        return {**self.interception.metadata, **found} if found else self.interception.metadata

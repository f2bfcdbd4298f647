"""Collects the facts of one interception, and turns them into spans. Pure."""

from datetime import timedelta

from aibridge_addon.facts import (
    Fact,
    Interception,
    InterceptionEnded,
    Price,
    RequestContent,
    ResponseContent,
    Status,
    TokenUsage,
    ToolUsage,
    UsagePriced,
    UserPrompt,
)
from aibridge_addon.telemetry import conventions
from aibridge_addon.telemetry.content import Content
from aibridge_addon.telemetry.span import Span, after, moment


class Trace:
    """The facts of one interception.

    Args:
        interception: Its start.
        content: Adds texts to spans; None: no text is exported.
        latest: See `conventions.usage_attributes`.
    """

    def __init__(
        self, interception: Interception, *, content: Content | None, latest: bool
    ) -> None:
        self.interception = interception
        self.end: InterceptionEnded | None = None
        self._content = content
        self._latest = latest
        self._usages: dict[str, TokenUsage] = {}
        self._prices: dict[str, Price] = {}
        self._tools: list[ToolUsage] = []

    def add(self, fact: Fact) -> None:
        """Add a fact."""
        match fact:
            case InterceptionEnded():
                self.end = fact
            case UsagePriced():
                self._prices[fact.usage.id] = fact.price
            case TokenUsage():
                self._usages[fact.id] = fact
            case ToolUsage():
                self._tools.append(fact)
            case UserPrompt() | RequestContent() | ResponseContent() if self._content:
                self._content.add(fact)

    @property
    def is_complete(self) -> bool:
        """True if it has ended and the price of each call has been looked up."""
        return self.end is not None and self._usages.keys() <= self._prices.keys()

    def span(self) -> Span:
        """Return the span of the interception, with those of its requests and tool calls."""
        end = self.end
        assert end is not None
        begin = moment(self.interception.started_at)
        requests = self._requests(end)
        children = (*requests, *map(self._tool, self._tools))
        last = max([moment(end.ended_at), *(child.end for child in children)])
        return Span(
            name=f"interception {self.interception.model or 'unknown model'}",
            kind="server",
            begin=min([begin, *(child.begin for child in children)]),
            end=last,
            attributes=conventions.interception_attributes(self.interception, end),
            error=_error(end),
            children=tuple(sorted(children, key=lambda child: child.begin)),
        )

    def _requests(self, end: InterceptionEnded) -> list[Span]:
        found = [self._request(usage, end) for usage in self._usages.values()]
        own = [usage.upstream for usage in self._usages.values() if not usage.call]
        if not own and end.status is not Status.REFUSED:
            found.append(self._request_without_usage(end))
        return found

    def _request(self, usage: TokenUsage, end: InterceptionEnded) -> Span:
        begin = moment(usage.started_at or self.interception.started_at)
        attributes = conventions.request_attributes(self.interception)
        attributes |= conventions.usage_attributes(usage, latest=self._latest)
        if price := self._prices.get(usage.id):
            attributes |= conventions.price_attributes(price, self.interception)
        is_last = usage.upstream == max(known.upstream for known in self._usages.values())
        failed = is_last and not usage.call and _error(end) is not None
        if failed and end.error_type:
            attributes["error.type"] = end.error_type
        if self._content and not usage.call:
            attributes |= self._content.attributes(usage.upstream)
        return Span(
            name=f"chat {self.interception.model or usage.model or 'unknown model'}",
            kind="client",
            begin=begin,
            end=after(begin, usage.duration_ms, moment(usage.created_at)),
            attributes=attributes,
            error=_error(end) if failed else None,
        )

    def _request_without_usage(self, end: InterceptionEnded) -> Span:
        attributes = conventions.request_attributes(self.interception)
        if end.provider_response_id:
            attributes["gen_ai.response.id"] = end.provider_response_id
        if end.error_type:
            attributes["error.type"] = end.error_type
        if self._content:
            attributes |= self._content.attributes(0)
        begin = moment(self.interception.started_at)
        return Span(
            name=f"chat {self.interception.model or 'unknown model'}",
            kind="client",
            begin=begin,
            end=max(begin, moment(end.ended_at)),
            attributes=attributes,
            error=_error(end),
        )

    def _tool(self, tool: ToolUsage) -> Span:
        attributes = conventions.tool_attributes(tool)
        if self._content:
            attributes |= self._content.of_tool(tool)
        end = moment(tool.created_at)
        return Span(
            name=f"execute_tool {tool.tool}",
            kind="internal",
            begin=end - timedelta(milliseconds=tool.duration_ms or 0),
            end=end,
            attributes=attributes,
            # The text of an error is content.
            error="the tool reported an error" if tool.invocation_error is not None else None,
        )


def _error(end: InterceptionEnded) -> str | None:
    """Return the description of a failure; a client that disconnects is not an error."""
    if end.status in (Status.COMPLETED, Status.CANCELLED):
        return None
    return end.error_type or end.status.value

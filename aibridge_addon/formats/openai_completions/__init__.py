"""The legacy API of OpenAI for completions: `POST /completions`. Sans-io.

It streams as Chat Completions does, with texts in place of messages; editors fill in code by it.
"""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import Format, RequestView
from aibridge_addon.formats.billing_labels import requested_labels
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat.reader import CompletionReader, is_usage_only, read_whole
from aibridge_addon.formats.openai_chat.request import ask_for_usage
from aibridge_addon.formats.openai_completions.view import CompletionsView
from aibridge_addon.formats.openai_errors import error_body
from aibridge_addon.formats.openai_other import typed_prompt
from aibridge_addon.formats.output_limits import choices_in, places
from aibridge_addon.formats.prompts import trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import elements, member, text


class OpenAICompletions(Format):
    """Wire format of `POST /completions`."""

    name = "openai_completions"
    output_limits = places("max_tokens")
    view = CompletionsView()

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request; text between a prefix and a suffix is code, and nobody typed it."""
        members = dict(request.members)
        fills_in = member(members, "suffix") is not None
        turn = trailing_turn((), index=0) if fills_in else typed_prompt(members)
        return RequestFacts(
            model=text(member(members, "model")),
            streaming=member(members, "stream") is True,
            billing_labels=requested_labels(members),
            user_texts=turn.user_texts,
            position=turn.position,
        )

    def reader(self) -> CompletionReader:
        """Return a new reader for one streamed completion."""
        return CompletionReader()

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a completion that was not streamed, or an error."""
        return read_whole(body)

    def error(
        self, status: int, message: str, error_type: str | None = None, code: str | None = None
    ) -> bytes:
        """Return an error in the shape of OpenAI's APIs."""
        return error_body(status, message, error_type, code)

    def choices(self, members: Members) -> int:
        """Return the number of completions that are made: of each prompt, the best are returned."""
        prompts = (bytes(prompt) for prompt in elements(members.get("prompt")))
        count = sum(prompt.startswith((b'"', b"[")) for prompt in prompts)  # not tokens of a prompt
        return choices_in(member(members, "n"), member(members, "best_of")) * (count or 1)

    def ask_for_usage(self, members: Members) -> Members | None:
        """Return the request with `include_usage` set; None if the client has set it itself."""
        return ask_for_usage(members)

    def is_usage_only(self, event: Event) -> bool:
        """Return whether an event is the chunk that only `include_usage` brings."""
        return is_usage_only(event)


FORMAT = OpenAICompletions()

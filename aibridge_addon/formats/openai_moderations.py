"""OpenAI's API for moderation: `POST /moderations`. Sans-io.

OpenAI's own models are free of charge and report no usage; other hosts bill tokens and report them.
"""

from collections.abc import Iterable

from aibridge_addon.facts import FREE, PRICING, RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainView
from aibridge_addon.formats.openai_usage import CHAT_NAMES, read_usage
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, mapping, member, sequence, text

_FREE_MODELS = ("omni-moderation", "text-moderation")
_DEFAULT_MODEL = "omni-moderation-latest"
"""The model of a request that names none."""


class OpenAIModerations(OpenAIFormat):
    """Wire format of `POST /moderations`."""

    name = "openai_moderations"
    is_held_in_budgets = False

    def __init__(self) -> None:
        self.view = ModerationsView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        model = text(member(dict(request.members), "model"))
        return RequestFacts(model=model or _DEFAULT_MODEL, request_kind="side")

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the results of a request."""
        if not isinstance(document.get("results"), list):
            return None
        model = text(document.get("model"))
        usage = mapping(document.get("usage"))
        own = read_usage(usage, CHAT_NAMES, has_output=False)
        is_unreadable = own is None and states_tokens(usage)
        if own is None and not usage and model and model.startswith(_FREE_MODELS):
            own = Usage(input_tokens=None, output_tokens=None, extra={PRICING: FREE})
        return ResponseFacts(
            response_id=text(document.get("id")),
            model=model,
            usage=own,
            usage_unreadable=is_unreadable,
        )


class ModerationsView(PlainView):
    """Reads bodies of `POST /moderations`."""

    content_member = "results"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the categories of each result that it flags."""
        for result in map(mapping, sequence(document.get("results"))):
            categories = mapping(result.get("categories"))
            flagged = [name for name, value in categories.items() if value is True]
            yield Part(kind="text", text=f"flagged: {', '.join(flagged) or 'nothing'}")


FORMAT = OpenAIModerations()

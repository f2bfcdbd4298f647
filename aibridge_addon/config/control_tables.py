"""Tables of the config file that limit requests: `[[limits]]` and `[[model_rules]]`."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Protocol, Self

import pydantic

from aibridge_addon.access.limits.rules import Limit, Per
from aibridge_addon.access.model_rule import ModelRule
from aibridge_addon.access.selection import Selection
from aibridge_addon.config.validation import TABLE

type Name = Annotated[str, pydantic.StringConstraints(min_length=1, max_length=64)]
type _Text = Annotated[str, pydantic.StringConstraints(min_length=1)]
type _Count = Annotated[int, pydantic.Field(ge=1, le=10**12)]


class SelectionTable(pydantic.BaseModel):
    """The keys that select the requests of a rule."""

    model_config = TABLE

    actors: list[_Text] = []
    teams: list[_Text] = []
    models: list[_Text] = []
    providers: list[_Text] = []
    clients: list[_Text] = []

    def selection(self) -> Selection:
        """Return the selection."""
        return Selection(
            actors=tuple(self.actors),
            teams=tuple(self.teams),
            models=tuple(self.models),
            providers=tuple(self.providers),
            clients=tuple(self.clients),
        )


class LimitTable(SelectionTable):
    """Bounds on rates and open requests, `[[limits]]`."""

    name: Name
    per: Per = "actor"
    requests_per_minute: _Count | None = None
    input_tokens_per_minute: _Count | None = None
    output_tokens_per_minute: _Count | None = None
    open_requests: _Count | None = None
    queue: Annotated[int, pydantic.Field(ge=0, le=10_000)] = 0
    queue_wait_s: Annotated[float, pydantic.Field(gt=0, le=120, allow_inf_nan=False)] = 20.0
    shared: bool = False

    @pydantic.model_validator(mode="after")
    def _has_no_shared_queue(self) -> Self:
        if self.shared and self.queue:
            raise ValueError("has queue and shared; requests cannot wait for a shared limit")
        return self

    @pydantic.model_validator(mode="after")
    def _has_bound(self) -> Self:
        if not (self.limit().rates or self.open_requests):
            raise ValueError(
                "sets no bound; give requests_per_minute, input_tokens_per_minute,"
                " output_tokens_per_minute or open_requests"
            )
        return self

    def limit(self) -> Limit:
        """Return the limit."""
        return Limit(
            name=self.name,
            selection=self.selection(),
            per=self.per,
            requests_per_minute=self.requests_per_minute,
            input_tokens_per_minute=self.input_tokens_per_minute,
            output_tokens_per_minute=self.output_tokens_per_minute,
            open_requests=self.open_requests,
            queue=self.queue,
            queue_wait_s=self.queue_wait_s,
            is_shared=self.shared,
        )


class ModelRuleTable(SelectionTable):
    """Allowed models, aliases and a ceiling of the output, `[[model_rules]]`."""

    allow: list[_Text] = []
    deny: list[_Text] = []
    aliases: dict[_Text, _Text] = {}
    max_output_tokens: _Count | None = None

    @pydantic.model_validator(mode="after")
    def _has_rule(self) -> Self:
        if not (self.allow or self.deny or self.aliases or self.max_output_tokens):
            raise ValueError("sets no rule; give allow, deny, aliases or max_output_tokens")
        return self

    def rule(self) -> ModelRule:
        """Return the rule."""
        return ModelRule(
            selection=self.selection(),
            allow=tuple(self.allow),
            deny=tuple(self.deny),
            aliases=self.aliases,
            max_output_tokens=self.max_output_tokens,
        )


class _Named(Protocol):
    name: str


def name_conflicts(key: str, tables: Sequence[_Named]) -> Iterator[str]:
    """Yield a mistake for each name that two tables have: a name identifies its counters."""
    names = [table.name for table in tables]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"{key}[{index}].name is {name!r} again; each name identifies its counters"

"""All models that a request or message names, in its path, headers and body. Pure."""

from collections.abc import Iterator

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.requested_models import (
    models_of_body,
    models_of_headers,
    models_of_message,
    models_of_path,
)
from aibridge_addon.providers.types import MODEL
from aibridge_addon.raw_json import members

_WITHOUT_BODY = ("GET", "HEAD", "DELETE")
"""Methods whose bodies have no meaning."""


def models_of(asked: Asked) -> Iterator[str]:
    """Yield the models that a request names, wherever a provider may read them.

    Names that the instance maps to a model, such as deployments, are yielded as that model.

    Raises:
        UnclearError: the models cannot be determined.
    """
    names = _names_in(asked)
    yield from map(asked.route.provider.model_of, names) if asked.route.provider.models else names


def _names_in(asked: Asked) -> Iterator[str]:
    captured = asked.route.path_values.get(MODEL)
    yield from models_of_path(asked.method, asked.path, captured)
    yield from models_of_headers(asked.fields)
    content = asked.content()
    if asked.is_message:
        yield from models_of_message(content or b"")
    elif content is not None and not _is_meaningless(asked.method, content):
        yield from models_of_body(content, asked.members)


def _is_meaningless(method: str, body: bytes) -> bool:
    return method in _WITHOUT_BODY and members(body) is None

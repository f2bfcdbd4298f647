"""Google's Gemini API, its OpenAI-compatible path, and Code Assist (Gemini CLI with a login)."""

from aibridge_addon.formats import (
    gemini,
    gemini_batches,
    gemini_interactions,
    gemini_live,
)
from aibridge_addon.formats.gemini import caches, embeddings, predictions
from aibridge_addon.providers.builtin.openai import ROUTES
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import (
    NO_MEMBERS,
    POST,
    READ,
    STORED,
    ProviderType,
    RouteTemplate,
    below,
)

_CHANGED = STORED | {"PATCH"}
_FORMATS_OF_VERBS = {
    "generateContent": gemini.FORMAT,
    "streamGenerateContent": gemini.FORMAT,
    "embedContent": embeddings.FORMAT,
    "batchEmbedContents": embeddings.FORMAT,
    "predict": predictions.FORMAT,
}
"""Wire formats by the verbs of models."""
_BATCHES = ("batchGenerateContent", "asyncBatchEmbedContent")


def model_routes(models: str) -> tuple[RouteTemplate, ...]:
    """Return the routes of Google's formats below a template of models."""
    return (
        *(
            RouteTemplate(path=f"{models}:{verb}", methods=POST, api=wire_format.name)
            for verb, wire_format in _FORMATS_OF_VERBS.items()
        ),
        *(
            RouteTemplate(path=f"{models}:{verb}", methods=POST, counts_for=gemini.FORMAT.name)
            for verb in ("countTokens", "computeTokens")
        ),
    )


TYPE = ProviderType(
    name="gemini",
    error_format=gemini.FORMAT.name,
    key_header="x-goog-api-key",
    key_value="{key}",
    key_probe="/v1beta/models",
    client_header="x-goog-api-client",
    routes=(
        *model_routes("/{version}/models/{model}"),
        *model_routes("/{version}/tunedModels/{tuned_model}"),
        *model_routes("/{version}/dynamic/{dynamic}"),
        *(
            RouteTemplate(
                path=f"/{{version}}/models/{{model}}:{verb}",
                methods=POST,
                api=gemini_batches.FORMAT.name,
            )
            for verb in _BATCHES
        ),
        # Of other verbs, such as those for videos, the model is known and the usage is not.
        RouteTemplate(path="/{version}/models/{model}:{verb}", methods=POST),
        RouteTemplate(path="/{version}/models/{model}/operations/*", methods=READ),
        RouteTemplate(path="/{version}/batches", methods=READ),
        RouteTemplate(path="/{version}/batches/*", methods=STORED, names_models=False),
        RouteTemplate(
            path="/{version}/interactions", methods=POST, api=gemini_interactions.FORMAT.name
        ),
        RouteTemplate(path="/{version}/interactions/*", methods=STORED, free_members=NO_MEMBERS),
        *(
            RouteTemplate(
                path=f"/ws/google.ai.generativelanguage.{{version}}.GenerativeService.{verb}",
                methods=frozenset({"GET"}),
                socket=gemini_live.FORMAT.name,
            )
            for verb in ("BidiGenerateContent", "BidiGenerateContentConstrained")
        ),
        RouteTemplate(path="/{version}/models", methods=READ),
        RouteTemplate(path="/{version}/models/*", methods=READ),
        *below("/{version}/openai", ROUTES),
        RouteTemplate(
            path="/{version}/cachedContents", methods=POST | READ, api=caches.FORMAT.name
        ),
        RouteTemplate(path="/{version}/cachedContents/*", methods=_CHANGED),
        RouteTemplate(path="/{version}/files", methods=STORED, names_models=False),
        RouteTemplate(path="/{version}/files/*", methods=STORED, names_models=False),
        RouteTemplate(path="/{version}/auth_tokens", methods=POST, creates_keys=True),
        RouteTemplate(path="/upload/{version}/files", methods=POST, names_models=False),
        RouteTemplate(path="/download/{version}/files/*", methods=READ, names_models=False),
    ),
)

INSTANCES = (
    Provider(
        name="gemini",
        type=TYPE.name,
        base_url="https://generativelanguage.googleapis.com",
        hosts=frozenset({"generativelanguage.googleapis.com"}),
        api_key_env="GEMINI_API_KEY",
        is_optional=True,
    ),
)

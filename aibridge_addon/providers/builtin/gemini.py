"""Google's Gemini API, its OpenAI-compatible path, and Code Assist (Gemini CLI with a login)."""

from aibridge_addon.formats import gemini, openai_chat
from aibridge_addon.formats.gemini import embeddings
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import POST, READ, STORED, ProviderType, RouteTemplate

GENERATED = ("generateContent", "streamGenerateContent")
_CHANGED = STORED | {"PATCH"}


def model_routes(models: str) -> tuple[RouteTemplate, ...]:
    """Return the routes of Google's formats below a template of models."""
    return (
        *(
            RouteTemplate(path=f"{models}:{verb}", methods=POST, api=gemini.FORMAT.name)
            for verb in GENERATED
        ),
        RouteTemplate(path=f"{models}:countTokens", methods=POST, counts_for=gemini.FORMAT.name),
        *(
            RouteTemplate(path=f"{models}:{verb}", methods=POST, api=embeddings.FORMAT.name)
            for verb in ("embedContent", "batchEmbedContents")
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
        # Of other verbs the model is known and the usage is not: batches, video, images by Imagen.
        RouteTemplate(path="/{version}/models/{model}:{verb}", methods=POST),
        RouteTemplate(path="/{version}/models", methods=READ),
        RouteTemplate(path="/{version}/models/*", methods=READ),
        RouteTemplate(
            path="/{version}/openai/chat/completions", methods=POST, api=openai_chat.FORMAT.name
        ),
        RouteTemplate(path="/{version}/openai/models", methods=READ),
        RouteTemplate(path="/{version}/openai/models/*", methods=READ),
        RouteTemplate(path="/{version}/cachedContents", methods=_CHANGED),
        RouteTemplate(path="/{version}/cachedContents/*", methods=_CHANGED),
        RouteTemplate(path="/{version}/files", methods=STORED, names_models=False),
        RouteTemplate(path="/{version}/files/*", methods=STORED, names_models=False),
        RouteTemplate(path="/upload/{version}/files", methods=POST, names_models=False),
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

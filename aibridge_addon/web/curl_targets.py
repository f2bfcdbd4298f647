"""Address and headers of a request by provider instance and wire format, quoted for a shell.

What the record does not have (a region, a project, the base URL of an instance of the config file)
is a variable of the shell, and so is every key.
"""

from collections.abc import Callable, Mapping

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.report.rows import RequestRow

type Target = tuple[str, ...]
"""URL and headers."""

_PATHS: Mapping[str, str] = {
    "openai_chat": "/chat/completions",
    "openai_responses": "/responses",
    "openai_responses_compact": "/responses/compact",
    "openai_completions": "/completions",
    "openai_embeddings": "/embeddings",
    "openai_moderations": "/moderations",
    "rerank": "/rerank",
    "ollama_chat": "/api/chat",
    "ollama_generate": "/api/generate",
}
_VERSION = '"anthropic-version: 2023-06-01"'
_BEARER_OF_GCLOUD = '"authorization: Bearer $(gcloud auth print-access-token)"'
_VERTEX = (
    "https://${{CLOUD_ML_REGION:?}}-aiplatform.googleapis.com/v1/projects/"
    "${{GOOGLE_CLOUD_PROJECT:?}}/locations/${{CLOUD_ML_REGION}}/publishers/{}/models/{}:{}"
)
_PROVIDERS = {provider.name: provider for provider in DEFAULT_PROVIDERS}


def target_of(row: RequestRow) -> Target | None:
    """Return where a request went; None if no command can repeat it."""
    special = _SPECIAL.get(row.provider) or _SPECIAL.get(_type_of(row.provider))
    if special:
        return special(row)
    if row.api == "anthropic_messages":
        return _anthropic(row)
    path = _PATHS.get(row.api)
    return (f'"{_base(row)}{path}"', f'"authorization: Bearer ${_key(row)}"') if path else None


def _type_of(name: str) -> str:
    provider = _PROVIDERS.get(name)
    return provider.type if provider else ""


def _base(row: RequestRow) -> str:
    provider = _PROVIDERS.get(row.provider)
    if provider and provider.base_url:
        base: str = provider.base_url
    else:  # an instance of the config file, which the page does not know
        return f"${{{_variable(row)}_BASE_URL:?}}"
    if row.provider in ("anthropic", "openai"):
        return f"${{{_variable(row)}_BASE_URL:-{base}}}"
    return base


def _variable(row: RequestRow) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in row.provider.upper())


def _key(row: RequestRow) -> str:
    provider = _PROVIDERS.get(row.provider)
    return (provider.api_key_env if provider else None) or f"{_variable(row)}_API_KEY"


def _anthropic(row: RequestRow) -> Target:
    provider = _PROVIDERS.get(row.provider)
    below = provider.anthropic_path if provider else None
    base = _base(row)
    if below is not None and provider:
        base = provider.base_url.split("/", 3)[0] + "//" + provider.base_url.split("/")[2] + below
    return f'"{base}/v1/messages"', f'"x-api-key: ${_key(row)}"', _VERSION


def _vertex(row: RequestRow) -> Target | None:
    publisher, verb = {
        "anthropic_messages": ("anthropic", "streamRawPredict" if row.streaming else "rawPredict"),
        "gemini": ("google", _gemini_verb(row)),
    }.get(row.api, ("", ""))
    if not publisher or not row.model:
        return None
    return f'"{_VERTEX.format(publisher, _word(row.model), verb)}"', _BEARER_OF_GCLOUD


def _gemini(row: RequestRow) -> Target | None:
    if row.api == "openai_chat":
        url = f"{_base(row)}/v1beta/openai{_PATHS[row.api]}"
        return f'"{url}"', f'"authorization: Bearer ${_key(row)}"'
    if row.api != "gemini" or not row.model:
        return None
    url = f"{_base(row)}/v1beta/models/{_word(row.model)}:{_gemini_verb(row)}"
    return f'"{url}"', f'"x-goog-api-key: ${_key(row)}"'


def _gemini_verb(row: RequestRow) -> str:
    return "streamGenerateContent?alt=sse" if row.streaming else "generateContent"


_BEDROCK_VERBS = {
    ("bedrock_invoke", False): "invoke",
    ("bedrock_invoke", True): "invoke-with-response-stream",
    ("bedrock_converse", False): "converse",
    ("bedrock_converse", True): "converse-stream",
}


def _bedrock(row: RequestRow) -> Target | None:
    verb = _BEDROCK_VERBS.get((row.api, row.streaming))
    if not verb or not row.model:
        return None
    host = "bedrock-runtime.${AWS_REGION:?}.amazonaws.com"
    url = f"https://{host}/model/{_word(row.model)}/{verb}"
    return f'"{url}"', '"authorization: Bearer $AWS_BEARER_TOKEN_BEDROCK"'


def _azure(row: RequestRow) -> Target | None:
    if row.api == "anthropic_messages":
        url = "${AZURE_OPENAI_ENDPOINT:?}/anthropic/v1/messages"
        return f'"{url}"', '"x-api-key: $AZURE_OPENAI_API_KEY"', _VERSION
    path = _PATHS.get(row.api)
    url = f"${{AZURE_OPENAI_ENDPOINT:?}}/openai/v1{path}"
    return (f'"{url}"', '"api-key: $AZURE_OPENAI_API_KEY"') if path else None


def _ollama(row: RequestRow) -> Target | None:
    path = "/v1/messages" if row.api == "anthropic_messages" else _PATHS.get(row.api)
    if path and not path.startswith(("/api", "/v1")):
        path = f"/v1{path}"
    if not path:
        return None
    if row.provider == "ollama-cloud":
        return f'"{_base(row)}{path}"', f'"authorization: Bearer ${_key(row)}"'
    return (f'"${{OLLAMA_HOST:-http://localhost:11434}}{path}"',)


def _nothing(row: RequestRow) -> None:
    """Return no target: the login of the program is needed."""


_SPECIAL: Mapping[str, Callable[[RequestRow], Target | None]] = {
    "vertex": _vertex,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "azure": _azure,
    "ollama": _ollama,
    "code-assist": _nothing,
    "copilot": _nothing,
    "chatgpt": _nothing,
    "claude-google": _nothing,
}
"""By provider instance or type."""


def _word(model: str) -> str:
    """Return a model's name for a path in quotes, which a shell does not read as anything else."""
    safe = "-._~:@"
    return "".join(c if c.isascii() and (c.isalnum() or c in safe) else _escaped(c) for c in model)


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))

"""Google's Code Assist, which Gemini CLI uses after a login with a Google account."""

from aibridge_addon.formats import gemini
from aibridge_addon.providers.builtin.gemini import model_routes
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import POST, READ, ProviderType, RouteTemplate

_OF_THE_PROGRAM = (
    "fetchAdminControls",
    "getCodeAssistGlobalUserSetting",
    "listExperiments",
    "loadCodeAssist",
    "onboardUser",
    "recordCodeAssistMetrics",
    "retrieveUserQuota",
    "setCodeAssistGlobalUserSetting",
)
"""Verbs for its settings, quotas and reports."""

TYPE = ProviderType(
    name="code-assist",
    error_format=gemini.FORMAT.name,
    key_probe="/v1internal:loadCodeAssist",
    routes=(
        *model_routes("/{version}"),
        *(
            RouteTemplate(path=f"/{{version}}:{verb}", methods=POST | READ, names_models=False)
            for verb in _OF_THE_PROGRAM
        ),
        RouteTemplate(path="/{version}/operations/*", methods=READ, names_models=False),
    ),
)

INSTANCES = (
    Provider(
        name="code-assist",
        type=TYPE.name,
        base_url="https://cloudcode-pa.googleapis.com",
        hosts=frozenset({"cloudcode-pa.googleapis.com"}),
        is_optional=True,
    ),
)

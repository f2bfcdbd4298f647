"""Table of AI services that are not read: their tunnels are counted, never decrypted. Pure.

A row is for people and for reports. Hosts of provider instances are intercepted before this table
is asked; those that the forward proxy does not intercept count as unread too.
"""

from dataclasses import dataclass

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.hosts import HostTable

_OWN = "a protocol of its own"
_WEB = "a web page, whose requests change without notice"
_OTHER = "another format"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadService:
    """An AI service whose traffic is not read."""

    name: str
    hosts: tuple[str, ...]
    """Hosts, and patterns of hosts."""
    reason: str
    """The reason why it is not read."""


UNREAD_SERVICES = (
    UnreadService(name="Cursor", hosts=("cursor.sh", "*.cursor.sh", "*.cursor.com"), reason=_OWN),
    UnreadService(
        name="Windsurf",
        hosts=("*.windsurf.com", "*.codeium.com", "*.codeiumdata.com"),
        reason=_OWN,
    ),
    UnreadService(
        name="Kiro",
        hosts=("*.kiro.dev", "q.*.amazonaws.com", "codewhisperer.*.amazonaws.com"),
        reason=_OWN,
    ),
    UnreadService(name="Amp", hosts=("ampcode.com", "*.ampcode.com"), reason=_OWN),
    UnreadService(
        name="Antigravity",
        hosts=("daily-cloudcode-pa.googleapis.com", "*-cloudcode-pa.sandbox.googleapis.com"),
        reason=_OWN,
    ),
    UnreadService(
        name="GitHub Copilot, completions",
        hosts=(
            "copilot-proxy.githubusercontent.com",
            "*.copilot-proxy.githubusercontent.com",
            "proxy.*.githubcopilot.com",
        ),
        reason=_OWN,
    ),
    UnreadService(name="JetBrains AI", hosts=("api.jetbrains.ai", "*.jetbrains.ai"), reason=_OWN),
    UnreadService(name="Zed", hosts=("llm.zed.dev", "cloud.zed.dev"), reason=_OWN),
    UnreadService(name="Augment", hosts=("*.augmentcode.com",), reason=_OWN),
    UnreadService(name="Tabnine", hosts=("*.tabnine.com",), reason=_OWN),
    UnreadService(name="Warp", hosts=("app.warp.dev",), reason=_OWN),
    UnreadService(name="Factory", hosts=("*.factory.ai",), reason=_OWN),
    UnreadService(name="Trae", hosts=("*.trae.ai",), reason=_OWN),
    UnreadService(name="Devin", hosts=("*.devin.ai",), reason=_OWN),
    UnreadService(name="Replit", hosts=("*.replit.com",), reason=_OWN),
    UnreadService(name="Claude (web)", hosts=("claude.ai", "*.claude.ai"), reason=_WEB),
    UnreadService(
        name="ChatGPT (web)",
        hosts=("chat.openai.com", "chatgpt.com", "*.chatgpt.com", "sora.com"),
        reason=_WEB,
    ),
    UnreadService(
        name="Gemini (web)",
        hosts=("gemini.google.com", "aistudio.google.com", "notebooklm.google.com"),
        reason=_WEB,
    ),
    UnreadService(name="Microsoft Copilot", hosts=("copilot.microsoft.com",), reason=_WEB),
    UnreadService(name="Grok (web)", hosts=("grok.com", "*.grok.com"), reason=_WEB),
    UnreadService(name="Perplexity (web)", hosts=("www.perplexity.ai",), reason=_WEB),
    UnreadService(name="DeepSeek (web)", hosts=("chat.deepseek.com",), reason=_WEB),
    UnreadService(name="Mistral (web)", hosts=("chat.mistral.ai",), reason=_WEB),
    UnreadService(name="Qwen (web)", hosts=("chat.qwen.ai",), reason=_WEB),
    UnreadService(name="Kimi (web)", hosts=("kimi.com", "www.kimi.com"), reason=_WEB),
    UnreadService(name="Poe", hosts=("poe.com", "*.poe.com"), reason=_WEB),
    UnreadService(name="v0", hosts=("v0.dev", "v0.app", "api.v0.dev"), reason=_WEB),
    UnreadService(name="Lovable", hosts=("lovable.dev", "*.lovable.dev"), reason=_WEB),
    UnreadService(name="Bolt", hosts=("bolt.new",), reason=_WEB),
    UnreadService(name="ElevenLabs", hosts=("api.elevenlabs.io",), reason=_OTHER),
    UnreadService(name="Deepgram", hosts=("api.deepgram.com",), reason=_OTHER),
    UnreadService(name="AssemblyAI", hosts=("api.assemblyai.com",), reason=_OTHER),
    UnreadService(name="Replicate", hosts=("api.replicate.com",), reason=_OTHER),
    UnreadService(name="Stability AI", hosts=("api.stability.ai",), reason=_OTHER),
)

_SERVICES = HostTable(
    [
        *((host, provider.name) for provider in DEFAULT_PROVIDERS for host in provider.hosts),
        *((host, service.name) for service in UNREAD_SERVICES for host in service.hosts),
    ]
)


def unread_service(host: str) -> str | None:
    """Return the AI service that a tunnelled host belongs to; None if it is another host."""
    return _SERVICES.exact(host) or _SERVICES.by_pattern(host)

"""Table of known hosts that speak OpenAI's or Anthropic's formats. Pure.

A row is a provider instance by default, except for servers that people run themselves: for those,
`preset` in `[[providers]]` takes the values of a row. Rules for a host apply to instances with
other names too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

type StreamUsage = Literal["always", "asked", "unknown"]
"""Usage in Chat Completions streams: always, or only with `stream_options.include_usage`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A known host."""

    name: str
    title: str
    type: str = "openai"
    base_url: str
    """URL of OpenAI's formats, or of the provider type."""
    formats: str = "chat"
    """OpenAI's formats that it speaks, for people."""
    hosts: tuple[str, ...] = ()
    """Patterns of its further hosts."""
    anthropic_path: str | None = None
    """Path below which it speaks Anthropic Messages; None if it does not."""
    other_paths: tuple[str, ...] = ()
    """Further paths of OpenAI's formats."""
    api_key_env: str | None = None
    stream_usage: StreamUsage = "unknown"
    seller: str | None = None
    """Its price list; None if it has none."""
    quirks: str = ""
    """Differences in the usage that the readers know, for people."""
    document: str
    """The document that the row follows."""
    is_local: bool = False
    """True for a server that people run themselves."""

    @property
    def host(self) -> str:
        """The host of its URL."""
        return urlsplit(self.base_url).hostname or ""


_INSIDE = "caches inside the prompt"

_ROWS = (
    Preset(
        name="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        formats="chat, responses",
        anthropic_path="/api",
        api_key_env="OPENROUTER_API_KEY",
        stream_usage="always",
        seller="openrouter",
        quirks="caches inside the prompt; states its cost in USD",
        document="OpenRouter: Usage Accounting",
    ),
    Preset(
        name="groq",
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        formats="chat, responses",
        api_key_env="GROQ_API_KEY",
        stream_usage="always",
        seller="groq",
        quirks="usage of streams in `x_groq`",
        document="groq-python 1.7, types",
    ),
    Preset(
        name="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        hosts=("api.*.mistral.ai",),
        api_key_env="MISTRAL_API_KEY",
        stream_usage="always",
        seller="mistral",
        quirks="`num_cached_tokens` inside the prompt; refuses `stream_options`",
        document="Mistral: release notes; @ai-sdk/mistral",
    ),
    Preset(
        name="deepseek",
        title="DeepSeek",
        base_url="https://api.deepseek.com",
        anthropic_path="/anthropic",
        api_key_env="DEEPSEEK_API_KEY",
        stream_usage="asked",
        seller="deepseek",
        quirks="`prompt_cache_hit_tokens` inside the prompt; Messages are served by its own models",
        document="DeepSeek: Anthropic API",
    ),
    Preset(
        name="xai",
        title="xAI",
        base_url="https://api.x.ai/v1",
        formats="chat, responses",
        anthropic_path="",
        api_key_env="XAI_API_KEY",
        stream_usage="asked",
        seller="x-ai",
        quirks="reasoning beside the completion in Chat; states its cost in ticks",
        document="@ai-sdk/xai; xai-sdk",
    ),
    Preset(
        name="moonshot",
        title="Moonshot (Kimi)",
        base_url="https://api.moonshot.ai/v1",
        anthropic_path="/anthropic",
        api_key_env="MOONSHOT_API_KEY",
        stream_usage="asked",
        seller="moonshotai",
        quirks="`cached_tokens` inside the prompt; usage also in the choice",
        document="@ai-sdk/moonshotai",
    ),
    Preset(
        name="moonshot-cn",
        title="Moonshot (Kimi), China",
        base_url="https://api.moonshot.cn/v1",
        anthropic_path="/anthropic",
        api_key_env="MOONSHOT_API_KEY",
        stream_usage="asked",
        quirks="as Moonshot; charges in another currency",
        document="@ai-sdk/moonshotai",
    ),
    Preset(
        name="zai",
        title="Z.ai (GLM)",
        base_url="https://api.z.ai/api/paas/v4",
        anthropic_path="/api/anthropic",
        other_paths=("/api/coding/paas/v4",),
        api_key_env="ZAI_API_KEY",
        stream_usage="always",
        seller="zai",
        quirks=_INSIDE,
        document="Z.ai: API reference; Continue: Z.ai",
    ),
    Preset(
        name="qwen",
        title="Qwen (DashScope)",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        formats="chat, responses",
        hosts=("dashscope-*.aliyuncs.com",),
        anthropic_path="/apps/anthropic",
        other_paths=("/api/v2/apps/protocols/compatible-mode/v1",),
        api_key_env="DASHSCOPE_API_KEY",
        stream_usage="asked",
        quirks="cache reads and writes inside the prompt",
        document="Alibaba Cloud Model Studio: OpenAI compatible",
    ),
    Preset(
        name="qwen-cn",
        title="Qwen (DashScope), China",
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        formats="chat, responses",
        anthropic_path="/apps/anthropic",
        other_paths=("/api/v2/apps/protocols/compatible-mode/v1",),
        api_key_env="DASHSCOPE_API_KEY",
        stream_usage="asked",
        quirks="as Qwen; charges in another currency",
        document="Alibaba Cloud Model Studio: OpenAI compatible",
    ),
    Preset(
        name="minimax",
        title="MiniMax",
        base_url="https://api.minimax.io/v1",
        anthropic_path="/anthropic",
        api_key_env="MINIMAX_API_KEY",
        seller="minimax",
        quirks="thoughts as text in `<think>`",
        document="MiniMax: Text generation, OpenAI API",
    ),
    Preset(
        name="minimax-cn",
        title="MiniMax, China",
        base_url="https://api.minimaxi.com/v1",
        anthropic_path="/anthropic",
        api_key_env="MINIMAX_API_KEY",
        quirks="as MiniMax; charges in another currency",
        document="MiniMax: Text generation, OpenAI API",
    ),
    Preset(
        name="together",
        title="Together",
        base_url="https://api.together.ai/v1",
        api_key_env="TOGETHER_API_KEY",
        stream_usage="asked",
        seller="together",
        document="together-python 3.1, types",
    ),
    Preset(
        name="together-xyz",
        title="Together, older host",
        base_url="https://api.together.xyz/v1",
        api_key_env="TOGETHER_API_KEY",
        stream_usage="asked",
        seller="together",
        document="together-python 3.1, types",
    ),
    Preset(
        name="fireworks",
        title="Fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        formats="chat, responses",
        anthropic_path="/inference",
        api_key_env="FIREWORKS_API_KEY",
        stream_usage="asked",
        seller="fireworks",
        quirks=_INSIDE,
        document="Fireworks: Performance FAQ",
    ),
    Preset(
        name="cerebras",
        title="Cerebras",
        base_url="https://api.cerebras.ai/v1",
        api_key_env="CEREBRAS_API_KEY",
        stream_usage="always",
        seller="cerebras",
        quirks=_INSIDE,
        document="cerebras-cloud-sdk 1.91, types",
    ),
    Preset(
        name="perplexity",
        title="Perplexity",
        base_url="https://api.perplexity.ai",
        formats="chat, responses",
        api_key_env="PERPLEXITY_API_KEY",
        stream_usage="always",
        seller="perplexity",
        quirks="reasoning beside the completion; states its cost in USD",
        document="perplexityai 0.46, types",
    ),
    Preset(
        name="cohere",
        title="Cohere, compatible path",
        base_url="https://api.cohere.ai/compatibility/v1",
        api_key_env="COHERE_API_KEY",
        seller="cohere",
        document="Cohere: Compatibility API",
    ),
    Preset(
        name="nvidia",
        title="NVIDIA",
        base_url="https://integrate.api.nvidia.com/v1",
        api_key_env="NVIDIA_API_KEY",
        document="NVIDIA NIM: API reference",
    ),
    Preset(
        name="huggingface",
        title="Hugging Face router",
        base_url="https://router.huggingface.co/v1",
        formats="chat, responses",
        api_key_env="HF_TOKEN",
        quirks="usage and price depend on the provider behind it",
        document="huggingface_hub: InferenceClient",
    ),
    Preset(
        name="vercel",
        title="Vercel AI Gateway",
        base_url="https://ai-gateway.vercel.sh/v1",
        formats="chat, responses",
        anthropic_path="",
        api_key_env="AI_GATEWAY_API_KEY",
        quirks=_INSIDE,
        document="Vercel AI Gateway: Anthropic-compatible API",
    ),
    Preset(
        name="ollama",
        title="Ollama",
        type="ollama",
        base_url="http://127.0.0.1:11434",
        formats="its own, chat, responses, messages",
        stream_usage="asked",
        quirks="no caches in Messages",
        document="Ollama: API reference; OpenAI compatibility; Usage",
        is_local=True,
    ),
    Preset(
        name="lm-studio",
        title="LM Studio",
        base_url="http://127.0.0.1:1234/v1",
        formats="chat, responses",
        anthropic_path="",
        stream_usage="asked",
        quirks="never reports caches",
        document="LM Studio: OpenAI compatibility endpoints",
        is_local=True,
    ),
    Preset(
        name="vllm",
        title="vLLM",
        base_url="http://127.0.0.1:8000/v1",
        formats="chat, responses",
        anthropic_path="",
        stream_usage="asked",
        quirks="reports caches with `--enable-prompt-tokens-details`",
        document="vLLM: OpenAI-compatible server",
        is_local=True,
    ),
    Preset(
        name="sglang",
        title="SGLang",
        base_url="http://127.0.0.1:30000/v1",
        stream_usage="asked",
        quirks="reports caches with `--enable-cache-report`",
        document="SGLang: OpenAI-compatible APIs",
        is_local=True,
    ),
    Preset(
        name="llama-cpp",
        title="llama.cpp",
        base_url="http://127.0.0.1:8080/v1",
        formats="chat, responses",
        anthropic_path="",
        stream_usage="asked",
        document="llama.cpp: server README",
        is_local=True,
    ),
    Preset(
        name="litellm",
        title="LiteLLM proxy",
        base_url="http://127.0.0.1:4000/v1",
        formats="chat, responses",
        anthropic_path="",
        stream_usage="asked",
        quirks="names of OpenAI and Anthropic in one usage",
        document="LiteLLM: Usage; Response headers",
        is_local=True,
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _ROWS}
"""Known hosts by name."""

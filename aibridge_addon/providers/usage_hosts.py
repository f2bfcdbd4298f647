"""Hosts whose Chat Completions streams tell usage only when `stream_options.include_usage` asks."""

TAKES_INCLUDE_USAGE = frozenset(
    {
        "api.openai.com",
        "eu.api.openai.com",
        "us.api.openai.com",
        "api.deepseek.com",
        "api.x.ai",
        "api.moonshot.ai",
        "api.moonshot.cn",
        "dashscope.aliyuncs.com",
        "dashscope-intl.aliyuncs.com",
        "dashscope-us.aliyuncs.com",
        "api.together.ai",
        "api.together.xyz",
        "api.fireworks.ai",
    }
)
"""Not among them: hosts that tell usage in every stream (OpenRouter, Groq, Cerebras, Perplexity),
and Mistral, which refuses unknown members."""

"""Hosts whose Chat Completions streams have usage only with `stream_options.include_usage`."""

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
"""Not included: hosts with usage in every stream (OpenRouter, Groq, Cerebras, Perplexity),
and Mistral, which refuses unknown members."""

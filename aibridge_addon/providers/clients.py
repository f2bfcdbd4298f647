"""Table of client programs: how each is recognised, and how it is set up to use the proxy.

One row per program. Recognition of clients, `aibridge env`, `aibridge run` and the documentation
read this table; adding a program means adding a row.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProgram:
    """A client program."""

    name: str
    """Name in records and metrics."""

    # Recognition. A row without any of the first four fields is for setup only.
    user_agents: tuple[str, ...] = ()
    """Prefixes of the user agent, in lower case."""
    originators: tuple[str, ...] = ()
    """Prefixes of the `originator` header, in lower case."""
    header: str | None = None
    """Name of a header that only this program sends."""
    system: tuple[str, ...] = ()
    """Prefixes of a text of its system prompt, for programs that send the headers of a library."""
    is_library: bool = False
    """True if other programs are built on it; some of them are recognised by a system prompt."""
    imitates: tuple[str, ...] = ()
    """Names of programs whose user agent it may send; its system prompt tells them apart."""
    session_headers: tuple[str, ...] = ()
    """Names of the headers that carry the session; the first one that is not blank counts."""
    session_in_body: bool = False
    """True if the body may name the session when no header does."""

    final_error: str = ""
    """Type of the error at which it gives a request up, where it would repeat any other 400; it
    shows the message only."""
    final_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers with which it gives a refused request up soon, where it would repeat it for long."""

    # Setup, for `aibridge env` and `aibridge run`.
    commands: tuple[str, ...] = ()
    """Names for `aibridge env NAME`, the usual one first; empty if no setup is known."""
    programs: str = ""
    """Regular expression for the names of its executables; empty: the names in `commands`."""
    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Variables for the reverse proxy. `{anthropic}`, `{openai}` and others are replaced by base
    URLs, see `ConnectionSettings.base_urls`."""
    config_variable: str = ""
    """Name of a variable in `base_urls` that holds a complete configuration. A different value that
    is already set must not be replaced."""
    arguments: tuple[str, ...] = ()
    """Arguments for the reverse proxy, for programs that read no variable; replaced likewise."""
    other_variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables for the reverse proxy."""
    ca_variables: tuple[str, ...] = ()
    """Variables of its own that replace the trusted certificates by a bundle."""
    keys: tuple[str, ...] = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
    """Variables for its API keys. At the reverse proxy, an access token can take their place."""
    needs_base_url: bool = False
    """True if it may ignore `HTTPS_PROXY`, so that it is given base URLs as well."""

    @property
    def command(self) -> str:
        """The usual name for `aibridge env`."""
        return self.commands[0]

    @property
    def can_use_reverse_proxy(self) -> bool:
        """True if its base URL can be set from outside."""
        return bool(self.base_urls or self.arguments)

    def is_executable(self, name: str) -> bool:
        """Return True if an executable of this name, in lower case, is this program."""
        return bool(self.commands) and bool(
            re.fullmatch(self.programs or "|".join(map(re.escape, self.commands)), name)
        )


_ANTHROPIC = {"ANTHROPIC_BASE_URL": "{anthropic}"}
_OPENAI = {"OPENAI_BASE_URL": "{openai}"}
_GOOGLE = {"GOOGLE_GEMINI_BASE_URL": "{gemini}", "GOOGLE_VERTEX_BASE_URL": "{vertex}"}
_CLOUDS = {
    "ANTHROPIC_BEDROCK_BASE_URL": "{bedrock}",
    "ANTHROPIC_VERTEX_BASE_URL": "{vertex}/v1",
}
"""Read only if Claude Code is set to use these clouds."""
_SDKS = _ANTHROPIC | _OPENAI | _GOOGLE | {"ANTHROPIC_VERTEX_BASE_URL": "{vertex}/v1"}
"""Without Bedrock: a client's signature is for another host, so the proxy needs credentials."""
_SDK_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
_API_BASE = {"ANTHROPIC_API_BASE": "{anthropic}", "OPENAI_API_BASE": "{openai}"}
_OPENCODE = {
    "provider": {
        "anthropic": {"options": {"baseURL": "{anthropic}/v1"}},
        "openai": {"options": {"baseURL": "{openai}"}},
    }
}

CLIENTS = [
    ClientProgram(name="Mux", user_agents=("mux/",), session_headers=("x-mux-workspace-id",)),
    ClientProgram(
        name="Claude Code",
        user_agents=("claude",),
        session_headers=("x-claude-code-session-id",),
        session_in_body=True,
        # At a base URL, it repeats a 400 without its newer features, up to 14 times.
        final_error="billing_error",
        commands=("claude",),
        base_urls=_ANTHROPIC | _CLOUDS,
        # Otherwise its side calls go directly to Anthropic.
        other_variables={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        keys=("ANTHROPIC_AUTH_TOKEN",),
    ),
    ClientProgram(
        name="Codex",
        user_agents=("codex",),
        originators=("codex",),
        session_headers=("session-id", "session_id"),
        session_in_body=True,
        commands=("codex",),
        arguments=("-c", 'openai_base_url="{codex}"'),  # it does not read OPENAI_BASE_URL
        ca_variables=("CODEX_CA_CERTIFICATE",),
        keys=("CODEX_API_KEY", "OPENAI_API_KEY"),
    ),
    ClientProgram(name="Zed", user_agents=("zed/",)),
    ClientProgram(
        name="GitHub Copilot (VS Code)",
        user_agents=("githubcopilotchat/",),
        session_headers=("x-interaction-id",),
    ),
    ClientProgram(
        name="GitHub Copilot (CLI)",
        user_agents=("copilot/",),
        session_headers=("x-client-session-id",),
        commands=("copilot",),
        # With a provider of the user's; otherwise it has a login of its own.
        base_urls={"COPILOT_PROVIDER_BASE_URL": "{openai}"},
        keys=("COPILOT_PROVIDER_API_KEY",),
    ),
    ClientProgram(
        name="Kilo Code",
        user_agents=("kilo-code/",),
        originators=("kilo-code",),
        session_headers=("x-kilocode-taskid",),
    ),
    ClientProgram(name="Roo Code", user_agents=("roo-code/",), originators=("roo-code",)),
    ClientProgram(
        name="Coder Agents",
        user_agents=("coder-agents/",),
        session_headers=("x-coder-chat-id",),
    ),
    ClientProgram(name="Charm Crush", user_agents=("charm crush/", "charm-crush/")),
    ClientProgram(name="Cursor", header="x-cursor-client-version"),
    ClientProgram(
        name="OpenCode",
        user_agents=("opencode",),
        originators=("opencode",),
        session_headers=("x-session-id", "x-opencode-session", "x-session-affinity"),
        # It ignores `x-should-retry`, and its own pauses add up to more than a minute.
        final_headers={"retry-after-ms": "1"},
        commands=("opencode",),
        base_urls={"OPENCODE_CONFIG_CONTENT": json.dumps(_OPENCODE)},
        config_variable="OPENCODE_CONFIG_CONTENT",
    ),
    ClientProgram(
        name="Gemini CLI",
        user_agents=("geminicli",),
        session_in_body=True,  # with a Google login
        commands=("gemini",),
        base_urls={
            **_GOOGLE,
            "CODE_ASSIST_ENDPOINT": "{code_assist}",
        },
        keys=("GEMINI_API_KEY",),
    ),
    # Its name within VS Code, also in a terminal there.
    ClientProgram(
        name="Gemini CLI (VS Code)", user_agents=("cloudcodevscode/",), session_in_body=True
    ),
    ClientProgram(
        name="Qwen Code",
        user_agents=("qwencode",),
        system=("You are Qwen Code,",),
        imitates=("Claude Code",),  # in Anthropic's format, at any host but Anthropic's
        commands=("qwen",),
        base_urls=_ANTHROPIC | _OPENAI | _GOOGLE,
        keys=_SDK_KEYS,
    ),
    # With a provider configured by the user, it sends the user agent of an SDK.
    ClientProgram(
        name="GitHub Copilot (CLI)",
        header="x-interaction-type",
        session_headers=("x-client-session-id",),
    ),
    ClientProgram(name="Cline", user_agents=("cline/",), system=("You are Cline,",)),
    ClientProgram(
        name="Continue",
        user_agents=("continue/",),
        system=("You are an agent in the Continue CLI",),
    ),
    ClientProgram(
        name="aider",
        user_agents=("aider",),
        system=(
            "Act as an expert software developer.\nAlways use best practices when coding.",
            "Act as an expert code analyst.",
            "Act as an expert architect engineer",
        ),
        commands=("aider",),
        base_urls=_API_BASE,
    ),
    ClientProgram(
        name="llm", user_agents=("llm/",), commands=("llm",), base_urls=_ANTHROPIC | _OPENAI
    ),
    ClientProgram(name="Google Gen AI SDK", user_agents=("google-genai-sdk/",), is_library=True),
    ClientProgram(name="LiteLLM", user_agents=("litellm",), is_library=True),
    ClientProgram(name="Pydantic AI", user_agents=("pydantic-ai/",), is_library=True),
    ClientProgram(name="OpenAI Agents SDK", user_agents=("agents/",), is_library=True),
    ClientProgram(name="LangChain", user_agents=("langchain",), is_library=True),
    ClientProgram(name="Vercel AI SDK", user_agents=("ai/", "ai-sdk/"), is_library=True),
    ClientProgram(name="node-fetch", user_agents=("node-fetch",), is_library=True),
    ClientProgram(
        name="Ollama",
        user_agents=("ollama-python/", "ollama-js/", "ollama/"),
        commands=("ollama",),
        base_urls={"OLLAMA_HOST": "{ollama}"},
        keys=("OLLAMA_API_KEY",),
        is_library=True,
        needs_base_url=True,  # it speaks to this machine, past any proxy
    ),
    ClientProgram(
        name="OpenAI SDK (Python)",
        user_agents=(
            "openai/python",
            "asyncopenai/python",
            "azureopenai/python",
            "asyncazureopenai/python",
        ),
        is_library=True,
    ),
    ClientProgram(
        name="OpenAI SDK (JavaScript)",
        user_agents=("openai/js", "azureopenai/js"),
        is_library=True,
    ),
    ClientProgram(
        name="Anthropic SDK (Python)",
        user_agents=tuple(
            f"{kind}anthropic{cloud}/python"
            for kind in ("", "async")
            for cloud in ("", "bedrock", "bedrockmantle", "vertex", "foundry", "aws", "googlecloud")
        ),
        is_library=True,
    ),
    ClientProgram(
        name="Anthropic SDK (JavaScript)",
        user_agents=("anthropic/js", "anthropicbedrock/js", "anthropicvertex/js"),
        is_library=True,
    ),
    ClientProgram(
        name="AWS SDK (Python)", user_agents=("boto3/", "botocore/", "aws-cli/"), is_library=True
    ),
    ClientProgram(name="AWS SDK (JavaScript)", user_agents=("aws-sdk-js/",), is_library=True),
    # Programs that run other clients, or none that we know.
    ClientProgram(
        name="Python programs",
        commands=("python",),
        programs=r"python[\d.]*|uvx?|pipx|ipython|jupyter",
        base_urls=_SDKS,
        keys=_SDK_KEYS,
    ),
    ClientProgram(
        name="Node programs",
        commands=("node", "js"),
        programs="node|npx|npm|pnpm|tsx|bun|bunx|deno|js",
        base_urls=_SDKS,
        keys=_SDK_KEYS,
        needs_base_url=True,  # Node ignores HTTPS_PROXY before version 22.21
    ),
    ClientProgram(name="curl", user_agents=("curl/",), commands=("curl",), is_library=True),
]
"""In the order in which they are tried: the first row that matches a request or program applies."""

UNKNOWN = ClientProgram(name="Unknown", is_library=True)
"""Stands for a client that no row matches."""

ANY_PROGRAM = ClientProgram(
    name="any program", commands=("any",), base_urls=_SDKS | _API_BASE, keys=_SDK_KEYS
)
"""Setup for a program that is not in the table."""


def register(client: ClientProgram) -> None:
    """Add a client program from outside the package; it is tried before the rows of the table."""
    CLIENTS.insert(0, client)


def command_names() -> tuple[str, ...]:
    """Return every name that `aibridge env` accepts."""
    return tuple(name for client in CLIENTS for name in client.commands)


def by_command(name: str | None) -> ClientProgram:
    """Return the client program of a name for `aibridge env`."""
    return next((client for client in CLIENTS if name in client.commands), ANY_PROGRAM)


def by_executable(path: str) -> ClientProgram:
    """Return the client program of an executable, given by name or path."""
    name = re.sub(r"\.(exe|cmd)$", "", PurePath(path).name.lower())
    return next((client for client in CLIENTS if client.is_executable(name)), ANY_PROGRAM)

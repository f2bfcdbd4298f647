"""Asks the other coding agents a question: Qwen Code, Cline CLI and Continue CLI."""

import json
from pathlib import Path
from typing import Any

from clients.asking import KEYS, Words
from clients.places import Mode, Place, Ran
from clients.programs import CLINE, CONTINUE, NODE_24, QWEN_CODE, program


def newer_node() -> Path:
    """Return the folder of a Node that the newest versions of agents need."""
    return program(NODE_24).parent


QWEN = {
    "anthropic_messages": ("anthropic", {"ANTHROPIC_MODEL": "claude-sonnet-4-5"}),
    "openai_chat": ("openai", {"OPENAI_MODEL": "gpt-5"}),
    "gemini": ("gemini", {"GEMINI_MODEL": "gemini-2.5-flash"}),
}
"""By wire format: how Qwen Code names the provider, and the model."""

QWEN_HOSTS = {
    "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
    "OPENAI_BASE_URL": "https://api.openai.com/v1",
}


def qwen(place: Place, asked: str, *, mode: Mode, api: str) -> Ran:
    """Run Qwen Code, which has no host of its own for a key of OpenAI or Anthropic."""
    kind, model = QWEN[api]
    path = f"{newer_node()}:{place.environ['PATH']}"
    env = {**KEYS, "GEMINI_API_KEY": "AIza0123456789abcdefghij", **model, "PATH": path}
    if mode == "forward":
        env |= QWEN_HOSTS
    command: Words = [program(QWEN_CODE), "--auth-type", kind, "-p", asked, "--bare"]
    return place.run(command, mode=mode, client="qwen", env=env)


def cline(place: Place, asked: str, *, mode: Mode, kind: str, base_url: str | None) -> Ran:
    """Run Cline CLI."""
    model = "claude-sonnet-4-5" if kind == "anthropic" else "gpt-5"
    key = KEYS["ANTHROPIC_API_KEY" if kind == "anthropic" else "OPENAI_API_KEY"]
    data = place.home / "cline"
    set_up: Words = [program(CLINE), "auth", "-p", kind, "-k", key, "-m", model]
    set_up += ["-b", base_url] if base_url else []
    state: Words = ["--data-dir", data]
    assert place.run([*set_up, *state], mode=mode, client="any").code == 0
    command: Words = [program(CLINE), *state, "-P", kind, "-m", model, "--json"]
    return place.run([*command, asked], mode=mode, client="any")


def continue_cli(place: Place, asked: str, *, mode: Mode, kind: str, base_url: str | None) -> Ran:
    """Run Continue CLI."""
    models = {"anthropic": "claude-sonnet-4-5", "openai": "gpt-4o"}
    model: dict[str, Any] = {
        "name": "m",
        "provider": kind,
        "model": models[kind],
        "apiKey": KEYS[f"{kind.upper()}_API_KEY"],
        "roles": ["chat"],
    }
    if base_url:
        model["apiBase"] = base_url
    path = place.home / "config.yaml"  # YAML contains JSON
    path.write_text(json.dumps({"name": "t", "version": "1.0.0", "models": [model]}))
    command: Words = [program(CONTINUE), "-p", "--config", path, asked]
    return place.run(command, mode=mode, client="any")

"""What a person said, without what the client program put around it."""

CLIENT_WRAPPERS = (
    # Claude Code
    "system-reminder",
    "command-name",
    "command-message",
    "command-args",
    "command-contents",
    "local-command-stdout",
    "local-command-stderr",
    "local-command-caveat",
    "bash-input",
    "bash-stdout",
    "bash-stderr",
    "task-notification",
    # Codex
    "environment_context",
    "user_instructions",
    "INSTRUCTIONS",
    "skills_instructions",
    "permissions instructions",
    "collaboration_mode",
    "turn_aborted",
    "subagent_notification",
    # editors
    "environment_details",
    "attached_files",
)
"""Tags whose whole content comes from the client program, as seen in real requests."""

CLIENT_LINES = ("# AGENTS.md instructions for ",)
"""Beginnings of lines that a client program puts before such a tag."""


def spoken(parts: list[str]) -> str | None:
    """Join the parts of a message into what the person said; None if that is nothing."""
    said = [text for part in parts if (text := _unwrapped(part))]
    return "\n".join(said) or None


def _unwrapped(text: str) -> str:
    if "<" in text:
        for tag in CLIENT_WRAPPERS:
            if f"<{tag}" in text:
                text = _without(tag, text)
    if text.lstrip().startswith(CLIENT_LINES):
        text = "\n".join(line for line in text.split("\n") if not line.startswith(CLIENT_LINES))
    return text.strip()


def _without(tag: str, text: str) -> str:
    """Cut out every `<tag …>…</tag>`. Linear, unlike a regular expression would be."""
    kept = []
    position = 0
    closing = f"</{tag}>"
    while (start := text.find(f"<{tag}", position)) >= 0:
        name_end = start + 1 + len(tag)
        if text[name_end : name_end + 1] not in "> \t\r\n":  # <tagged> is not <tag>
            kept.append(text[position:name_end])
            position = name_end
            continue
        end = text.find(closing, name_end)
        if end < 0:
            break
        kept.append(text[position:start])
        position = end + len(closing)
    kept.append(text[position:])
    return "".join(kept)

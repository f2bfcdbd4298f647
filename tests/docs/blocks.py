"""Code blocks of the README and the documentation pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)$(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    page: Path
    number: int
    """Counts the blocks of a page from 1."""
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, with continued lines joined and comments removed."""
        joined = self.code.replace("\\\n", " ")
        lines = (re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]


def blocks(language: str) -> list[Block]:
    """Return all code blocks in a language."""
    return [block for page in PAGES for block in _of(page) if block.language == language]


def _of(page: Path) -> Iterator[Block]:
    for number, match in enumerate(_FENCE.finditer(page.read_text()), start=1):
        indent = match["indent"]
        code = re.sub(f"^{indent}", "", match["code"].strip("\n"), flags=re.MULTILINE)
        yield Block(page, number, match["language"], code)

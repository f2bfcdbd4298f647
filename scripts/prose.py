"""Checks the language of docstrings and help texts against a short list of patterns.

Run by `scripts/check`. Prints one line per finding, as `file:line: pattern: text`, and exits with 1
if there is any. The rules are those of `CONTRIBUTING.md`; the terms are in the glossary.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("aibridge_addon", "scripts", "tests")

QUESTION = re.compile(r"(What|Whether|Who|Whose|Which|Where|How)\b")
"""A docstring starts with a verb, or a noun that names the thing."""

PHRASES = re.compile(
    r"\bby way of\b|\b(is|are) none\b|\bgateway tokens?\b|\bwhat (came|becomes|became) of\b"
    r"|\bon end\b|\bmay ask\b|\bthat of (a|an|the)\b|(?<!there )\b(is|are) no (?!longer\b)\w+",
    re.IGNORECASE,
)
"""Phrases that were given up."""

HELP_KEYWORDS = frozenset({"help", "short_help", "epilog"})


class Text(NamedTuple):
    """A docstring or help text, with the line where it starts."""

    line: int
    text: str
    is_docstring: bool


def texts(source: str) -> Iterator[Text]:
    """Yield the docstrings (of attributes too) and the help texts of a Python source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and _is_string(node.value):
            yield Text(node.lineno, ast.literal_eval(node.value), True)
        elif isinstance(node, ast.keyword) and node.arg in HELP_KEYWORDS and _is_string(node.value):
            yield Text(node.value.lineno, ast.literal_eval(node.value), False)


def findings(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, pattern and text of everything in a source that breaks a rule."""
    for line, text, is_docstring in texts(source):
        if is_docstring and (question := QUESTION.match(text.lstrip())):
            yield line, f"opens with {question[0]}", text
        if phrase := PHRASES.search(text):
            yield line, phrase[0], text


def opening_questions(source: str) -> int:
    """Return how many docstrings of a source open with a question word."""
    return sum(bool(QUESTION.match(t.text.lstrip())) for t in texts(source) if t.is_docstring)


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def main() -> int:
    """Check every Python file of the project; return the exit code."""
    found = 0
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, pattern, text in findings(path.read_text()):
                found += 1
                first = text.strip().splitlines()[0]
                print(f"{path.relative_to(ROOT)}:{line}: {pattern}: {first[:90]}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

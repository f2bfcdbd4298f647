"""Measures the shape of the code: the figures that a reader of the project feels.

`python scripts/measure.py` measures the working tree, `python scripts/measure.py REV` a commit.
Each figure is one line, `name: value`, followed by the places that it counts with `--list`.
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from prose import opening_questions

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "aibridge_addon"
MOST_MODULE_LINES = 350
MOST_FUNCTION_LINES = 40

type Findings = list[str]


def modules(root: Path) -> dict[str, Path]:
    """Return the package's modules by dotted name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def long_modules(root: Path) -> Findings:
    """Return the modules with more lines than a reader can hold."""
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules(root).items()}
    return [f"{name} ({n})" for name, n in lengths.items() if n > MOST_MODULE_LINES]


def long_functions(root: Path) -> Findings:
    """Return the functions with more lines than fit on a screen."""
    return [
        f"{name}.{function} ({lines})"
        for name, path in modules(root).items()
        for function, lines in functions(path.read_text())
        if lines > MOST_FUNCTION_LINES
    ]


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of each function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def import_circles(root: Path) -> Findings:
    """Return the groups of modules that import each other when they are loaded."""
    names = modules(root)
    graph = {name: set(_imported(path.read_text(), names)) - {name} for name, path in names.items()}
    return [" <-> ".join(sorted(group)) for group in strongly_connected(graph) if len(group) > 1]


def _imported(source: str, names: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.parse(source).body:  # imports inside functions and TYPE_CHECKING load nothing
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module in names:
                yield node.module
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in full if name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)


def strongly_connected(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of a graph (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for following in sorted(graph[node]):
            if following not in order:
                visit(following)
                low[node] = min(low[node], low[following])
            elif following in stack:
                low[node] = min(low[node], order[following])
        if low[node] == order[node]:
            at = stack.index(node)
            groups.append({*stack[at:]})
            del stack[at:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return groups


def questions(root: Path) -> Findings:
    """Return the modules with docstrings that open with a question word, with their number."""
    counts = {n: opening_questions(path.read_text()) for n, path in modules(root).items()}
    return [f"{name} ({count})" for name, count in counts.items() for _ in range(count)]


def median_function(root: Path) -> float:
    """Return the median number of lines of a function."""
    lengths = sorted(n for path in modules(root).values() for _, n in functions(path.read_text()))
    return lengths[len(lengths) // 2]


def arrows_between_packages(root: Path) -> Findings:
    """Return the pairs of packages that import each other."""
    names = modules(root)
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, path in names.items():
        for other in _imported(path.read_text(), names):
            arrows[_package(name)].add(_package(other))
    pairs = ((a, b) for a in sorted(arrows) for b in sorted(arrows[a]) if a < b)
    return [f"{a} <-> {b}" for a, b in pairs if a in arrows.get(b, ())]


def _package(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def report(root: Path, *, with_places: bool) -> None:
    """Print every figure."""
    print(f"modules: {len(modules(root))}")
    print(f"median function, lines: {median_function(root)}")
    readme = (root / "README.md").read_text()
    print(f"README, lines: {len(readme.splitlines())}")
    print(f"README, words: {len(readme.split())}")
    for title, found in (
        (f"modules over {MOST_MODULE_LINES} lines", long_modules(root)),
        (f"functions over {MOST_FUNCTION_LINES} lines", long_functions(root)),
        ("import circles", import_circles(root)),
        ("packages that import each other", arrows_between_packages(root)),
        ("docstrings that open with a question word", questions(root)),
    ):
        print(f"{title}: {len(found)}")
        if with_places:
            for place in dict.fromkeys(found):
                print(f"  {place}")


def extracted(revision: str, folder: Path) -> Path:
    """Write the files of a commit into a folder, and return the folder."""
    archive = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def main() -> None:
    """Measure the working tree, or the commit that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", help="a commit; default: the working tree")
    parser.add_argument("--list", action="store_true", help="list the places that are counted")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = extracted(chosen.revision, Path(folder)) if chosen.revision else ROOT
        report(root, with_places=chosen.list)


if __name__ == "__main__":
    main()

"""The Grafana dashboard and the alert rules use metrics and labels that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from aibridge_addon.observe.metric_table import METRICS
from docs.blocks import ROOT

FOLDER = ROOT / "docs" / "monitoring"
RULES = FOLDER / "aibridge.rules.yml"
RULE_TESTS = Path(__file__).with_name("aibridge.rules.test.yml")
LABELS = {f"aibridge_{metric.name}": set(metric.labels) for metric in METRICS}
HISTOGRAMS = {f"aibridge_{metric.name}" for metric in METRICS if metric.kind == "histogram"}
EVERYWHERE = {"instance", "job", "le"}
"""Labels that Prometheus adds."""
PARTS = re.compile(r"_(bucket|sum|count)$")


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load(RULES)
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return found


def panel_expressions() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = [*((rule["alert"], rule["expr"]) for rule in rules()), *panel_expressions()]


def family(name: str) -> str:
    """Return the metric of a sample's name."""
    return PARTS.sub("", name) if PARTS.sub("", name) in HISTOGRAMS else name


def metrics_of(expression: str) -> set[str]:
    return {family(name) for name in re.findall(r"aibridge_\w+", expression)}


def labels_of(expression: str) -> set[str]:
    """Return the labels that an expression matches or groups by."""
    matched = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression)
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    return {*matched, *(label.strip() for group in grouped for label in group.split(","))}


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=lambda value: value[:40])
def test_expression_uses_metrics_and_labels_that_exist(name: str, expression: str) -> None:
    metrics = metrics_of(expression)
    assert metrics <= LABELS.keys() or not metrics, f"{name}: {metrics - LABELS.keys()}"
    for metric in metrics:
        assert labels_of(expression) <= LABELS[metric] | EVERYWHERE, f"{name}: labels of {metric}"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_texts_of_an_alert_use_labels_that_its_expression_keeps(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", rule["expr"])
    if grouped:
        kept = {label.strip() for group in grouped for label in group.split(",")}
    else:
        kept = EVERYWHERE.union(*(LABELS[metric] for metric in metrics_of(rule["expr"])))
    assert used <= kept


def test_counters_are_only_read_as_rates_or_increases() -> None:
    counters = {f"aibridge_{metric.name}" for metric in METRICS if metric.kind == "counter"}
    for name, expression in EXPRESSIONS:
        for match in re.finditer(r"aibridge_\w+", expression):
            if match[0] in counters:
                before = expression[: match.start()]
                assert before.endswith(("rate(", "increase(")), f"{name}: {match[0]}"


def test_dashboard_can_be_imported() -> None:
    found = dashboard()
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in found["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(panels))) <= variables
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in panels]
    cells = [
        (x + dx, y + dy)
        for x, y, width, height in places
        for dx in range(width)
        for dy in range(height)
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments", [("check", RULES), ("test", RULE_TESTS)], ids=["check", "test"]
)
def test_promtool_accepts_the_rules(arguments: tuple[str, Path]) -> None:
    verb, path = arguments
    result = subprocess.run(
        ["promtool", verb, "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr

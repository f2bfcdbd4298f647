"""A store from outside the package: JSON lines in one file, named by `toy:///path/of/the/file`."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aibridge_addon import store
from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.facts import InterceptionEnded, TokenUsage, now
from aibridge_addon.findings import Finding
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.report.rows import GroupRow, Totals
from aibridge_addon.report.sums import total
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import OnEvent, Retention, Store
from aibridge_addon.store.recorder import Recorder

GROUPS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "actor": lambda row: row["actor"],
    "model": lambda row: row["model"],
}


class ToyStore(Store, Recorder, Reports):
    """Appends each fact and access token as a line; the last line of an id counts."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._path = Path(location.removeprefix("toy://"))

    @property
    def location(self) -> str:
        return self._location

    def make_recorder(
        self, retention: Retention, on_event: OnEvent, preparation: Preparation
    ) -> Recorder:
        return self

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        started = fact.interception
        row = {"actor": started.initiator_id, "model": started.model, "at": started.started_at}
        self._append("interception", row | {"id": started.id, "status": fact.status})

    def record_token_usage(self, fact: TokenUsage) -> None:
        row = {"input": fact.input_tokens, "output": fact.output_tokens}
        self._append("usage", row | {"id": fact.interception.id})

    def access_tokens(self) -> Mapping[str, AccessToken]:
        return {row["id"]: AccessToken(**row) for row in self._read("token")}

    def add_access_token(self, token: AccessToken) -> None:
        self._append("token", asdict(token))

    def revoke_access_tokens(self, name: str) -> list[AccessToken]:
        revoked = [
            replace(token, revoked_at=now())
            for token in self.access_tokens().values()
            if name in (token.id, token.initiator_id) and not token.revoked_at
        ]
        for token in revoked:
            self.add_access_token(token)
        return revoked

    def reports(self) -> Reports:
        return self

    def totals(self, query: TotalsQuery) -> Totals:
        if not self._path.exists():
            raise StoreError(f"nothing was recorded in {self._location}")
        groups: dict[tuple[str, ...], list[Figures]] = {}
        usages = {row["id"]: row for row in self._read("usage")}
        for row in self._read("interception"):
            if row["at"] < query.since:
                continue
            usage = usages.get(row["id"])
            figures = Figures(
                requests=1,
                completed=row["status"] == "completed",
                failed=row["status"] == "failed",
                without_usage=usage is None,
                input=usage["input"] if usage else 0,
                output=usage["output"] if usage else 0,
                latest=row["at"],
            )
            names = tuple(self._name(row, grouping) for grouping in query.by)
            groups.setdefault(names, []).append(figures)
        rows = tuple(GroupRow(names=names, figures=total(group)) for names, group in groups.items())
        return Totals(rows=rows, overall=total(row.figures for row in rows))

    def _name(self, row: dict[str, Any], grouping: str) -> str:
        if grouping not in GROUPS:
            raise StoreError(f"{self._location} cannot group by {grouping}")
        return GROUPS[grouping](row)

    def inspect(self) -> list[Finding]:
        return [Finding(about="database", level="ok", what=f"a toy: {self._location}")]

    def _append(self, kind: str, row: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "row": row}) + "\n")

    def _read(self, kind: str) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["kind"] == kind:
                yield record["row"]


store.register("toy", ToyStore)

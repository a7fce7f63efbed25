"""Executed notebooks to one report: report.html, results.csv, provenance.json and the notebooks beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.claims.audit import Finding, to_csv
from bakeoff.plan import Plan, Step, package_version
from bakeoff.report.facts import banner, provenance
from bakeoff.results import stage_folders
from bakeoff.store import NOTEBOOK, Store, digest_file, digest_value, write_atomically

_HERE = Path(__file__).parent
STAMP = ".built.json"


@dataclass(frozen=True)
class Report:
    """What a report is made of: the plan's rows, their table, and the step that compared them."""

    folder: Path
    profile: str
    plan: Plan
    table: Sequence[Mapping[str, Any]]
    table_text: str
    compare: Step
    findings: Sequence[Finding]  # what became of the sources' claims

    def build(self, store: Store) -> bool:
        """Write the report's files; False when they are there already and nothing they are made of has changed."""
        key = self._key(store)
        if self._built(key):
            return False
        from bakeoff.report.html import render

        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / STAMP).unlink(missing_ok=True)
        write_atomically(self.folder / "results.csv", self.table_text)
        write_atomically(self.folder / "claims.csv", to_csv(self.findings))
        self._copy_notebooks(store)
        facts = provenance(self.plan, self.profile, store)
        write_atomically(self.folder / "provenance.json", json.dumps(facts, indent=1))
        title = f"Model bake-off: {self._data()}"
        html = render(title, banner(self.table), self.compare, self.plan.rows, self.table, facts, store)
        write_atomically(self.folder / "report.html", html)
        write_atomically(
            self.folder / STAMP, json.dumps({"key": key, "digest": digest_file(self.folder / "report.html")})
        )
        return True

    def _data(self) -> str:
        return ", ".join(sorted({row.dataset.name for row in self.plan.rows}))

    def _key(self, store: Store) -> str:
        """Digest of all that the report shows: page keys, the table, and the code and template that make it."""
        code = [
            (path.name, path.stat().st_mtime_ns)
            for path in sorted(_HERE.rglob("*"))
            if path.suffix in (".py", ".j2", ".css")
        ]
        pages = [step.page_key for step in [*self.plan.steps, self.compare] if store.manifest(*step.name)]
        return digest_value([pages, self.table_text, self.profile, code, package_version("nbconvert")])

    def _built(self, key: str) -> bool:
        try:
            stamp = json.loads((self.folder / STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        page = self.folder / "report.html"
        return stamp["key"] == key and page.is_file() and digest_file(page) == stamp["digest"]

    def _copy_notebooks(self, store: Store) -> None:
        """notebooks/<variant>/<stage>.ipynb beside the report; copies of earlier reports go away."""
        target = self.folder / "notebooks"
        shutil.rmtree(target, ignore_errors=True)
        for row in self.plan.rows:
            name = row.folder_name
            for stage, folder in stage_folders(row, store).items():
                (target / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(folder) / NOTEBOOK, target / name / f"{stage}.ipynb")

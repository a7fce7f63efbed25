"""Of very many variants the report shows the first ones; each further one has a page of its own beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.claims.audit import Finding
from bakeoff.plan.steps import Row
from bakeoff.results import stage_folders
from bakeoff.store import Store, digest_file, digest_value, write_atomically

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger

MOST_CHAPTERS = 50  # in report.html
PAGES = "variants"  # the folder of the other pages, beside report.html

Written = dict[str, list[str]]  # path of a page -> what it was made from, and its own digest


def page_path(row: Row) -> str:
    """Where a variant's own page lies, from the report's folder."""
    return f"{PAGES}/{row.folder_name}.html"


@dataclass(frozen=True)
class Pages:
    """The pages of all rows beyond the first. Those that are there and say what they would say are not rebuilt."""

    folder: Path
    rows: Sequence[Row]
    table: Sequence[Mapping[str, Any]]
    store: Store
    findings: Callable[[], Sequence[Finding]]

    def write(
        self, title: str, told: Mapping[str, Any], code: Any, report: str, merged: Merger, before: Written
    ) -> Written:
        """Write what is missing, remove what no row has. `merged`: what the page `report` holds, to lead back to."""
        from bakeoff.report.html import to_html
        from bakeoff.report.merge import merge_page, results_of

        written: Written = {}
        results = results_of(self.rows, self.table, merged.standing, self.findings())
        for row, result in self._further():
            path = page_path(row)
            keys = [step.page_key for label, step in row.steps.items() if label in stage_folders(row, self.store)]
            standing = [dict(merged.standing.of(row.variant)), merged.standing.unranked.get(row.variant)]
            shown = [dict(result), standing, results.about(row.variant), len(merged.standing.ranked)]
            key = digest_value([keys, shown, title, told, code, report, merged.back])
            if before.get(path, [""])[0] == key and self.are_there({path: before[path]}):
                written[path] = before[path]
                continue
            page = merge_page(row, results, self.rows[:MOST_CHAPTERS], merged.back, self.store, report)
            write_atomically(self.folder / path, to_html(page, f"{title}: {row.folder_name}", [], told))
            written[path] = [key, digest_file(self.folder / path)]
        self._remove_all_but(written)
        return written

    def are_there(self, written: Written) -> bool:
        """Whether pages have the bytes that were written."""
        digests = self.store.digests()
        try:
            return all(
                digests.recall(self.folder / path, "sha256", digest_file) == made for path, (_, made) in written.items()
            )
        except OSError:
            return False

    def _further(self) -> Iterator[tuple[Row, Mapping[str, Any]]]:
        return zip(self.rows[MOST_CHAPTERS:], self.table[MOST_CHAPTERS:], strict=True)

    def _remove_all_but(self, written: Written) -> None:
        if not written:
            shutil.rmtree(self.folder / PAGES, ignore_errors=True)
        for path in (self.folder / PAGES).glob("*"):
            if f"{PAGES}/{path.name}" not in written:
                path.unlink()

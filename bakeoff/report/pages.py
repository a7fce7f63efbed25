"""Of very many variants the report shows the first ones; each further one has a page of its own beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.plan import Row
from bakeoff.results import stage_folders
from bakeoff.store import Store, digest_file, digest_value, write_atomically

MOST_CHAPTERS = 50  # in report.html
PAGES = "variants"  # the folder of the other pages, beside report.html

Written = dict[str, list[str]]  # path of a page -> what it was made from, and its own digest


def page_path(row: Row) -> str:
    """Where a variant's own page lies, from the report's folder."""
    return f"{PAGES}/{row.folder_name}.html"


@dataclass(frozen=True)
class Pages:
    """The pages of all rows beyond the first. Those that are there and say what they would say are not made again."""

    folder: Path
    rows: Sequence[Row]
    table: Sequence[Mapping[str, Any]]
    store: Store

    def write(self, title: str, told: Mapping[str, Any], code: Any, report: str, back: str, before: Written) -> Written:
        """Write what is missing, remove what no row has. `back`: the place in the page `report` to lead back to."""
        from bakeoff.report.html import to_html
        from bakeoff.report.merge import merge_page

        written: Written = {}
        for row, result in self._further():
            path = page_path(row)
            keys = [step.page_key for label, step in row.steps.items() if label in stage_folders(row, self.store)]
            key = digest_value([keys, dict(result), title, told, code, report, back])
            if before.get(path, [""])[0] == key and self.are_there({path: before[path]}):
                written[path] = before[path]
                continue
            merged = merge_page(row, result, self.rows[:MOST_CHAPTERS], back, self.store, report)
            write_atomically(self.folder / path, to_html(merged, f"{title}: {row.folder_name}", [], told))
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

"""Writes docs/report.html from the trainings on record: `python -m docs.report`.

It is the comparison of a report with its conclusion, made by the same notebook and the same means as the pipeline's,
without the chapters of the variants, of which too much is not on record. Variants of the backend that trained most of
them are compared; the sources' claims are judged by every training on record, as in docs/results.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill

from bakeoff.claims import audit
from bakeoff.claims.audit import Finding
from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.software import package_versions, revision
from bakeoff.report.cells import Executed
from bakeoff.report.comparison import compared, comparison
from bakeoff.report.conclusion import conclusion, models
from bakeoff.report.facts import banner
from bakeoff.report.html import to_html
from bakeoff.report.merge import Merger
from bakeoff.results import COLUMNS, to_csv
from docs.records import COPIES, RECORDS, Record, read_records
from docs.results import findings, grouped, newest

PAGE = Path(__file__).resolve().with_suffix(".html")
IMAGES = "images"  # tag of the cells that show test images, which are not on record
LARGEST = 4_000_000  # bytes that somebody may be asked to look at


def compared_records(records: Sequence[Record]) -> list[Record]:
    """The records by which variants are judged, of the backend that most variants were trained on."""
    judging = newest(grouped(records)).values()
    backends = Counter(each.row["backend"] for each in judging)
    (backend, _), *_ = backends.most_common(1)
    return [record for each in judging if each.row["backend"] == backend for record in each.records]


def not_compared(every: Sequence[Record], records: Sequence[Record]) -> list[str]:
    """What the page says of the variants on record that another backend trained."""
    there = {record.row["variant"] for record in records}
    left = [each for name, each in newest(grouped(every)).items() if name not in there and not each.hypothesis]
    backends = " and ".join(sorted({each.row["backend"] for each in left}))
    names = ", ".join(sorted(each.variant for each in left))
    told = f"Trained with {backends}, and so not compared with these: {names} (docs/results.md has their accuracies)."
    return [f"{told} The claims of the sources are judged by every training on record."] if left else []


def execute(records: Sequence[Record], judged: Sequence[Finding], folder: Path) -> Path:
    """The comparison over these records with the claims as they were judged, executed in `folder`."""
    table = [{name: record.row.get(name, "") for name in COLUMNS} for record in records]
    (folder / "results.csv").write_text(to_csv(table), encoding="utf-8")
    (folder / "claims.csv").write_text(audit.to_csv(judged), encoding="utf-8")
    stages = {_name(record): {stage: str(record.folder) for stage in COPIES} for record in records}
    inputs = {"variants": stages, "results": str(folder / "results.csv"), "claims": str(folder / "claims.csv")}
    notebook = nbformat.read(PROJECT / "notebooks" / "7_compare.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if IMAGES not in cell.metadata.get("tags", [])]
    nbformat.write(notebook, folder / "compare.ipynb")
    made = folder / "executed.ipynb"
    papermill.execute_notebook(
        folder / "compare.ipynb",
        made,
        {"inputs": inputs, "output": str(folder)},
        kernel_name="python3",
        cwd=PROJECT,
        progress_bar=False,
        request_save_on_cell_execute=False,
    )
    return made


def _name(record: Record) -> str:
    replicate = int(record.row["replicate"] or 0)
    return f"{record.row['variant']}-{replicate}" if replicate else record.row["variant"]


def merged(executed: Executed, records: Sequence[Record], judged: Sequence[Finding]) -> Merger:
    """The comparison's chapters, and the conclusion that follows from them."""
    merger = Merger()
    overrides = comparison(merger, executed)
    merger.heading(2, "Conclusion")
    rows = [record.row for record in records]
    paragraphs, fallen = conclusion(merger.standing, rows, judged)
    merger.paragraphs(*paragraphs)
    merger.band("Not reproduced:", fallen)
    merger.outputs([models(merger.standing, rows)], links=True)
    for cell in overrides:
        compared(merger, executed, cell)
    return merger


def told(records: Sequence[Record]) -> dict[str, Any]:
    """What the page's last chapter says of how it was made."""
    abouts = [record.about for record in records]
    machines = [about["machine"] for about in abouts]
    packages = sorted({name for about in abouts for name in about["versions"]})
    return {
        "profile": "full",
        "datasets": sorted({(about["data"]["name"], about["data"].get("dataset", "")) for about in abouts}),
        "machine": {
            "device": _each(machine.get("gpu") or machine["device"] for machine in machines),
            "cores": _each(machine["cores"] for machine in machines),
            "backend": _each(record.row["backend"] for record in records),
        },
        "packages": {name: _each(about["versions"].get(name, "none") for about in abouts) for name in packages},
        "revision": _each(about["revision"] for about in abouts),
        "reproducible": "",
        "records": "docs/records",
        "writer": {"revision": revision(), "packages": package_versions()},
    }


def _each(values: Iterable[Any]) -> str:
    """The one value of all trainings; else each with the number of trainings that have it."""
    counts = Counter(map(str, values))
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{text} ({n})" for text, n in sorted(counts.items()))


def main(root: Path = RECORDS, target: Path = PAGE) -> None:
    """Write the page."""
    every = read_records(root)
    records, judged = compared_records(every), findings(newest(grouped(every)))
    with tempfile.TemporaryDirectory() as folder:
        made = Executed(execute(records, judged, Path(folder)), Path(folder))
        page = merged(made, records, judged)
    said = banner([record.row for record in records], not_compared(every, records))
    html = to_html(page, "Model bake-off: the trainings on record", said, told(records))
    if len(html) > LARGEST:
        sys.exit(f"{target} would have {len(html) / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}.")
    target.write_text(html, encoding="utf-8")
    print(f"{target}: {len(html) / 1000:.0f} kB")


if __name__ == "__main__":
    main()

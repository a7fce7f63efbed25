"""A variant's chapter, composed from its row of results and from cells of its executed notebooks by their ids."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbformat.notebooknode import NotebookNode

from bakeoff.claims.audit import Finding
from bakeoff.plan.steps import STAGES, Row
from bakeoff.report import cells
from bakeoff.report.cells import Executed
from bakeoff.report.masks import Mask
from bakeoff.report.standing import Standing
from bakeoff.results import stage_folders, title_of
from bakeoff.store import NOTEBOOK, Store

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger

_BLANK_LINE = re.compile(r"\n\s*\n")
_SOURCE = re.compile(r"^- `(\w+)`: (.+)$", re.MULTILINE)
_REFERENCES = Path(__file__).parent / "chapters" / "references.md"
PNG = "image/png"
_MOST_LINES = 70  # of Keras' table of layers
_LOG = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
# Ids of the cells that a chapter is made of, for each stage; the names after the first are those of older notebooks.
_PICKED: Mapping[str, Sequence[Sequence[str]]] = {
    "search": (("coordinates", "parallel"), ("best",)),
    "build": (("listing",), ("diagram",), ("summary",)),
    "train": (("compile",), ("fit",), ("curves",)),
    "evaluate": (("confusion",), ("examples", "singles")),
}


@dataclass(frozen=True)
class Results:
    """What chapters show besides the notebooks: rows of results.csv by folder name, the comparison, the claims."""

    table: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    findings: Sequence[Finding] = ()
    networks: Mapping[str, str] = field(default_factory=dict)  # builder -> variant in whose chapter it is printed

    def of(self, rows: Sequence[Row]) -> list[Mapping[str, Any]]:
        """The results of a variant's rows."""
        return [self.table[row.folder_name] for row in rows if row.folder_name in self.table]

    def about(self, variant: str) -> list[Mapping[str, Any]]:
        """The claims about a variant, with what became of them; under them, how hypotheses about it do."""
        return [each.row for each in self.findings if variant in (each.variant, each.claim.variant)]


def printed_in(rows: Sequence[Row]) -> dict[str, str]:
    """Builder -> the first variant that has it: in its chapter the network is printed, others lead there."""
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(str(row.parameters.stage.get("builder", "")), row.variant)
    return found


def chapter(merger: Merger, rows: Sequence[Row], results: Results, store: Store) -> None:
    """The chapter of a variant; `rows` are its trainings, and its curves and images those of the first."""
    row, name = rows[0], rows[0].variant
    label = name if row.replicate == 0 else f"{name} (seed {row.seed})"
    identifier = merger.open_chapter(f"{label}: {title_of(row)}", f"variant-{label}")
    for each in rows:
        merger.chapters[f"{name} (seed {each.seed})" if each.replicate else name] = identifier
    merger.chapters.setdefault(name, identifier)
    made = _Chapter(merger, rows, results, store)
    made.head()
    made.network()
    made.training()
    made.evaluation()
    made.claims()
    merger.paragraphs(" ".join(_ways(merger, rows, store)))
    made.whole_notebooks()
    merger.mark("end-chapter")


@dataclass
class _Chapter:
    merger: Merger
    rows: Sequence[Row]
    results: Results
    store: Store
    notebooks: dict[str, Executed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, folder in stage_folders(self.rows[0], self.store).items():
            if name in _PICKED:
                self.notebooks[name] = Executed(Path(folder) / NOTEBOOK, self.store.root)

    @property
    def _row(self) -> Row:
        return self.rows[0]

    @property
    def _ranked(self) -> bool:
        standing = self.results.standing
        return self._row.variant in standing.ranked or not (standing.ranked or standing.unranked)

    @property
    def _whole(self) -> str:
        """Where what only a ranked variant's pages show stands: everywhere, or in the HTML alone."""
        return "" if self._ranked else "html"

    def head(self) -> None:
        """The source, one line of verdict, the source's notes, and what this run cut."""
        result = next(iter(self.results.of(self.rows)), {})
        source = _source(str(self._row.parameters.run["source"] or ""))
        self.merger.paragraphs(f"{source} {escape(self._verdict(result))}".strip())
        if result.get("status", "ok") != "ok":
            message = escape(Mask(self.store.root)(str(result.get("message", ""))))
            self.merger.paragraphs(f"<strong>{escape(str(result['status']).capitalize())}:</strong> {message}")
        notes = _BLANK_LINE.split(str(self._row.parameters.run["notes"] or ""))
        self.merger.once(self._row.variant, *(escape(note) for note in notes if note.strip()))
        reason = self.results.standing.unranked.get(self._row.variant, "")
        bands = {"Not ranked:": reason, "Overrides of the published schedule:": str(result.get("limited") or "")}
        for name, text in bands.items():
            self.merger.band(name, [escape(each) for each in text.split("; ") if each])

    def _verdict(self, result: Mapping[str, Any]) -> str:
        standing = self.results.standing.of(self._row.variant)
        accuracy = standing.get("test accuracy", "")
        if accuracy:
            place = f"Rank {standing.get('rank', '')} of {len(self.results.standing.ranked)}"
            return f"{place}: test accuracy {accuracy}."
        return f"{_percent(result['test_accuracy'])} of the test images." if result.get("test_accuracy") else ""

    def network(self) -> None:
        """The facts beside the network's text."""
        self.merger.mark("row", widths=[2, 3])
        facts, heads = self._facts(), ("", "ours", "source")
        columns = 3 if any(fact[2] for fact in facts) else 2
        rows = [fact[:columns] for fact in facts]
        self.merger.outputs([cells.table(heads[:columns], rows, f"{self._row.variant}: facts.")])
        self.merger.mark("next")
        builder = str(self._row.parameters.stage.get("builder", ""))
        owner = self.results.networks.get(builder, self._row.variant)
        there = self.merger.chapters.get(owner, "")
        if owner != self._row.variant and there:
            target = there if "/" in there else f"#{there}"
            self.merger.paragraphs(f'Network: <a href="{escape(target)}">that of {escape(owner)}</a>.')
        else:
            self._show("build", "listing", kind="text/plain", listing=True)
        self.merger.mark("end-row")
        if owner == self._row.variant or not there:
            self._show("build", "diagram", kind=PNG, only=self._whole)
            self._layers()

    def _layers(self) -> None:
        """Keras' table of the layers; that of a deep network stands in its notebook alone."""
        notebook = self.notebooks.get("build")
        printed = [each for each in notebook.outputs("summary") if "text" in each] if notebook else []
        short = [each for each in printed if each["text"].count("\n") <= _MOST_LINES]
        self.merger.outputs(short, only="html")

    def training(self) -> None:
        """The calls of compile and fit with their parameters, then the curves beside the confusion matrix."""
        notebook = self.notebooks.get("train")
        if notebook and notebook.first("fit"):
            before = [("head",), ("fit-head",), ("all",)] if notebook.first("head") else []
            ids = [*before, ("compile",), ("fit",)]
            parts = [notebook.parameters(), *(notebook.source(*each) for each in ids)]
            caption = f"{self._row.variant}: the parameters as injected, compile and fit."
            self.merger.outputs([cells.listing("\n\n".join(filter(None, parts)), caption)], only="html")
            calls = [notebook.call(call, *each) for each in ids for call in ("model.compile", "model.fit")]
            if self._ranked and any(calls):
                caption = f"{self._row.variant}: the calls of compile and fit."
                self.merger.outputs([cells.listing("\n".join(filter(None, calls)), caption)], only="pdf")

    def evaluation(self) -> None:
        """What the search found; the curves beside the confusion matrix; single images."""
        if "search" in self.notebooks:
            self._tuner()
            self.merger.mark("row", widths=[1, 1], only=self._whole)
            self._show("search", "coordinates", "parallel", kind=PNG, only=self._whole)
            self.merger.mark("next", only=self._whole)
            self._show("search", "best", kind="text/html", only=self._whole)
            self.merger.mark("end-row", only=self._whole)
        self.merger.mark("row", widths=[3, 2])
        self._show("train", "curves", kind=PNG)
        self.merger.mark("next")
        self._show("evaluate", "confusion", kind=PNG, only=self._whole)
        self.merger.mark("end-row")
        self.log(_history(self.store, self._row))
        self._show("evaluate", "examples", "singles", kind=PNG, only=self._whole)
        if self._row.variant == next(iter(self.results.standing.ranked), ""):  # for all, the page would be too large
            self._show("evaluate", "grid", kind=PNG)
        self._show("evaluate", "probabilities", kind="text/html", only="html")

    def _tuner(self) -> None:
        """The space as injected, the trial that is run for each point, and the tuner."""
        notebook = self.notebooks["search"]
        parts = [notebook.parameters(), *(notebook.source(each) for each in ("network", "run-trial", "fit", "search"))]
        caption = f"{self._row.variant}: the search space as injected, a trial, and the search."
        self.merger.outputs([cells.listing("\n\n".join(filter(None, parts)), caption)], only="html")
        self._show("search", "tuner", kind="text/plain", listing=True, only=self._whole)

    def log(self, history: Sequence[Mapping[str, str]]) -> None:
        """The first, the best and the last epoch of a training's log."""
        names = [name for name in _LOG if any(epoch.get(name) for epoch in history)]
        if len(history) < 2 or "epoch" not in names:
            return
        judged = "validation_accuracy" if "validation_accuracy" in names else "train_accuracy"
        best = max(history, key=lambda epoch: float(epoch.get(judged) or "-inf"))
        rows = [
            (name, *(_rounded(epoch.get(column, "")) for column in names))
            for name, epoch in (("first", history[0]), ("best", best), ("last", history[-1]))
        ]
        caption = f"{self._row.variant}: epochs of the training; the best by {judged.replace('_', ' ')}."
        head = ("", *(name.replace("_", " ") for name in names))
        self.merger.outputs([cells.table(head, rows, caption)], only=self._whole)

    def claims(self) -> None:
        """What the source claims of this variant, beside ours."""
        claims = self.results.about(self._row.variant)
        names = ("where", "metric", "claimed", "ours", "status")
        rows = [[escape(str(claim[name])) for name in names] for claim in claims if claim["ours"] != ""]
        if rows:
            caption = f"{self._row.variant}: claims of its source."
            head = ("in the source", "figure", "claimed", "ours", "status")
            self.merger.outputs([cells.table(head, rows, caption)], only=self._whole)

    def whole_notebooks(self) -> None:
        """All `report` cells of a notebook that has none of the cells that a chapter is made of."""
        for name, notebook in self.notebooks.items():
            if not any(notebook.first(*ids) for ids in _PICKED[name]):
                self.merger.notebook(notebook, f"{self._row.folder_name}-{name}", 3)

    def _show(self, stage: str, *ids: str, kind: str, only: str = "", listing: bool = False) -> None:
        """The outputs of a kind of one cell."""
        notebook = self.notebooks.get(stage)
        found = notebook.outputs(*ids, kind=kind) if notebook else []
        shown = [each for each in found if _kind(each) != "caption" and (not listing or _kind(each) == "listing")]
        self.merger.outputs(shown, only=only)

    def _facts(self) -> list[Sequence[str]]:
        results = self.results.of(self.rows)
        stage, published = self._row.parameters.stage, self._row.parameters.stage.get("published", {})
        training = _read(self.store, self._row, "train", "training.json")
        run = self._row.parameters.run

        def mean(name: str, digits: int = 0, factor: float = 1.0) -> str:
            return _mean([result.get(name) for result in results], digits, factor)

        def used(name: str) -> str:
            value = training.get(name, stage.get(name, ""))
            return escape(str(value)).replace("_", "_<wbr>") if value not in ("", None, {}) else ""

        stated = published.get("test_accuracy")
        accuracy = f"{100 * stated:.1f}" if isinstance(stated, int | float) else ""
        facts = [
            ("test accuracy (%)", mean("test_accuracy", 1, 100), accuracy),
            ("parameters", mean("parameters"), _thousands(published.get("parameters"))),
            ("GFLOP an image", mean("gflop_per_image", 4), ""),
            ("training (s)", mean("train_seconds", 1), _thousands(published.get("train_seconds"))),
            ("prediction (ms an image)", mean("milliseconds_per_image", 1), ""),
            ("optimizer", used("optimizer"), ""),
            ("learning rate", used("learning_rate"), ""),
            ("loss", used("loss"), ""),
            ("batch size", used("batch_size"), ""),
            ("epochs", mean("epochs"), ""),
            ("training images", mean("train_images"), ""),
            ("validation", escape(str(next(iter(results), {}).get("validation_source", ""))), ""),
            ("augmentation", escape(named_options(stage.get("augmentation") or {})), ""),
            ("assumed", "<br>".join(escape(str(each)) for each in run["assumed"]), ""),
        ]
        return [fact for fact in facts if any(fact[1:])]


def _kind(output: NotebookNode) -> str:
    about = (output.get("metadata") or {}).get("bakeoff") or {}
    return str(about.get("kind", "")) if isinstance(about, Mapping) else ""


def named_options(options: Mapping[str, Any]) -> str:
    """Options that are set, in words: `rotation degrees 15, horizontal flip`."""
    on = ((name.replace("_", " "), value) for name, value in options.items() if value)
    return ", ".join(name if value is True else f"{name} {value}" for name, value in on)


def _percent(value: Any) -> str:
    return f"{100 * float(value):.1f} %"


def _thousands(value: Any) -> str:
    return f"{value:,}".replace(",", "\u00a0") if isinstance(value, int | float) else ""


def _mean(values: Iterable[Any], digits: int, factor: float) -> str:
    """The mean of the numbers among `values`, and of how many it is where it is of several."""
    numbers = [factor * float(value) for value in values if value not in ("", None)]
    if not numbers:
        return ""
    many = f" (mean of {len(numbers)})" if len(numbers) > 1 else ""
    return f"{sum(numbers) / len(numbers):,.{digits}f}".replace(",", "\u00a0") + many


def _source(source: str) -> str:
    titles = dict(_SOURCE.findall(_REFERENCES.read_text(encoding="utf-8")))
    if not source:
        return "Added by this project."
    return (
        f"Source: <i>{escape(titles[source])}</i> ({escape(source)})."
        if source in titles
        else f"Source: {escape(source)}."
    )


def _read(store: Store, row: Row, stage: str, name: str) -> dict[str, Any]:
    """A finished step's file; empty where there is none."""
    folder = stage_folders(row, store).get(stage)
    path = Path(folder) / name if folder else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}


def _history(store: Store, row: Row) -> list[dict[str, str]]:
    """The log of a finished training, a row an epoch."""
    folder = stage_folders(row, store).get("train")
    path = Path(folder) / "history.csv" if folder else None
    if path is None or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _rounded(value: str) -> str:
    """A number of a log with four decimals; a whole one as it is."""
    try:
        return value if value.isdecimal() else f"{float(value):.4f}"
    except ValueError:
        return escape(value)


def _ways(merger: Merger, rows: Sequence[Row], store: Store) -> list[str]:
    """Links to the executed notebooks, and back."""
    ways = []
    for row in rows:
        folder = f"{merger.top}notebooks/{row.folder_name}"
        there = stage_folders(row, store)
        links = [link(f"{folder}/{name}.ipynb", name) for name in STAGES if name in there]
        seed = f" (seed {row.seed})" if row.replicate else ""
        ways += [f"Executed notebooks{seed}: {', '.join(links)}."] if links else []
    place = "ranking" if merger.back == "ranking" else "comparison"
    back = f"{merger.top}{merger.report}#{merger.back}"
    return [*ways, *([f"{link(back, f'Back to the {place}')}."] if merger.back else [])]


def link(address: str, words: str) -> str:
    """A link as HTML."""
    return f'<a href="{escape(address)}">{escape(words)}</a>'


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each variant together, in the order of their first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.variant, []).append(row)
    return list(found.values())

"""Executed notebooks to one: chapters in the report's order, unique ids, headings that fit below each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from bakeoff.plan import STAGES, Row, Step
from bakeoff.report.masks import Mask, every_text, sound
from bakeoff.report.pages import MOST_CHAPTERS, page_path
from bakeoff.report.typst_blocks import CONTROL, REPLACED
from bakeoff.results import stage_folders, title_of
from bakeoff.store import NOTEBOOK, Store

_SHOWN_LINES = 200  # of a printed text, from its beginning and from its end
_CHAPTERS = Path(__file__).parent / "chapters"
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_BLANK_LINE = re.compile(r"\n\s*\n")
_FENCE = re.compile(r"^\s*(```|~~~)")
# Ids that the page itself uses.
TAKEN = ("main", "ranking", "ranking-filter", "ranking-count", "theme", "open-code", "how-it-was-made")
_BADGE = re.compile(r"^\[!\[Open in Colab\].*$", re.MULTILINE)


@dataclass
class Merger:
    """Collects the cells of the report and its list of contents: (level, id, text).

    `chapters` leads from a variant's name to the id of its chapter, or to the path of its own page; `back` is where
    chapters lead back to: the ranking or, where nothing is ranked, the comparison. `top` leads from this page's folder
    to the report's. Texts are shown without the machine's folders, that of the `store` among them.
    """

    store: Path = Path("runs")
    cells: list[NotebookNode] = field(default_factory=list)
    contents: list[tuple[int, str, str]] = field(default_factory=list)
    chapters: dict[str, str] = field(default_factory=dict)
    back: str = ""
    top: str = ""
    report: str = ""  # the page that has `back`; empty: this one
    ids: set[str] = field(default_factory=lambda: set(TAKEN))

    def heading(self, level: int, text: str, identifier: str | None = None) -> str:
        """A heading of the report's own, and its id; levels 2 and 3 stand in the list of contents."""
        found, html = self._heading(level, text, identifier or text)
        self.markdown(html, ids=[found], formulas=False)
        return found

    def paragraphs(self, *texts: str) -> None:
        """HTML, a paragraph each; no Markdown and no formula in them."""
        lines = (" ".join(text.split()) for text in texts)
        self.markdown("\n\n".join(f"<p>{line}</p>" for line in lines if line), formulas=False)

    def markdown(self, text: str, **about: Any) -> None:
        """A Markdown cell; `about` it: the `ids` that its headings may have, whether it may hold `formulas`."""
        self.cells.append(nbformat.v4.new_markdown_cell(sound(text), metadata={"bakeoff": about}))

    def notebook(self, path: Path, prefix: str, level: int) -> None:
        """The cells of an executed notebook that are tagged `report`, its H1 at `level`; ids carry `prefix`."""
        executed = nbformat.read(path, as_version=4)
        mask = Mask(self.store, executed.metadata.get("papermill"))
        for cell in executed.cells:
            tags = set(cell.metadata.get("tags", []))
            if "report" not in tags:
                continue
            cell.metadata["bakeoff"] = {}
            if cell.cell_type == "markdown":
                written = CONTROL.sub(REPLACED, sound(cell.source).replace("\r\n", "\n"))
                cell.source, cell.metadata["bakeoff"]["ids"] = self._demoted(written, prefix, level)
            for output in cell.get("outputs", []):
                output.update(nbformat.from_dict(every_text(output, lambda text: sound(mask(text)))))
                _make_sound(output)
                _shorten(output)
            cell["id"] = f"{prefix}-{cell.get('id', len(self.cells))}"
            self.cells.append(cell)

    def chapter(self, path: Path) -> None:
        """A Markdown file of the report's own, its H1 a chapter."""
        text, ids = self._demoted(path.read_text(encoding="utf-8"), "", 2)
        self.markdown(text, ids=ids)

    def _demoted(self, source: str, prefix: str, level: int) -> tuple[str, list[str]]:
        """The Markdown with its headings as HTML, and their ids."""
        lines, ids, fenced = [], [], False
        for line in _BADGE.sub("", source).splitlines():
            fenced ^= bool(_FENCE.match(line))
            found = None if fenced else _HEADING.match(line)
            depth = level + len(found[1]) - 1 if found else 0
            if found:
                identifier, line = self._heading(min(depth, 6), found[2], f"{prefix}-{found[2]}")
                ids.append(identifier)
            lines.append(line)
        return "\n".join(lines), sorted(ids)

    def _heading(self, level: int, text: str, wish: str) -> tuple[str, str]:
        text = " ".join(sound(text).split())
        identifier = base = re.sub(r"[^a-z0-9]+", "-", wish.lower()).strip("-") or "section"
        number = 1
        while identifier in self.ids:
            number += 1
            identifier = f"{base}-{number}"
        self.ids.add(identifier)
        if level <= 3:
            self.contents.append((level, identifier, text))
        return identifier, f'\n<h{level} id="{identifier}">{escape(text)}</h{level}>\n'

    def comparison(self, path: Path) -> None:
        """The comparison's cells: variants in them lead to their chapters, and one table is the ranking."""
        self.back = self.heading(2, "The comparison")
        first = len(self.cells)
        self.notebook(path, "compare", 2)
        for cell in self.cells[first:]:
            cell.metadata["bakeoff"]["links"] = True
            if cell["id"] == "compare-ranking" and any(
                "text/html" in output.get("data", {}) for output in cell.outputs
            ):
                cell.metadata["bakeoff"]["name"] = self.back = "ranking"


def _make_sound(output: NotebookNode) -> None:
    """Leave out of an output what is not as a notebook has it: kernels send what programs give them."""
    if "data" in output:
        output["data"] = {kind: content for kind, content in output["data"].items() if isinstance(content, str)}
    if not isinstance(output.get("metadata", {}).get("bakeoff", {}), Mapping):
        del output["metadata"]["bakeoff"]


def merge(
    compare: Step, background: Step, rows: Sequence[Row], table: Sequence[Mapping[str, Any]], store: Store
) -> Merger:
    """The comparison, the background, the data once for each distinct step, a chapter a variant, and the end.

    Of very many rows, those beyond the first MOST_CHAPTERS have pages of their own, to which the report leads.
    """
    merger = Merger(store.root)
    if store.complete_manifest(*compare.name):
        merger.comparison(store.folder(*compare.name) / NOTEBOOK)
    else:
        merger.heading(2, "The comparison")
        merger.paragraphs(_failed(compare))
    merger.heading(2, "Introduction and background")
    if store.complete_manifest(*background.name):
        merger.notebook(store.folder(*background.name) / NOTEBOOK, background.stage.name, 2)
    else:
        merger.paragraphs(_failed(background))
    for stage, title in (("load", "The data"), ("preprocess", "Preprocessing")):
        merger.heading(2, title)
        for number, (step, variants) in enumerate(_distinct(stage, rows[:MOST_CHAPTERS], store), start=1):
            shown = ", ".join(variants) if len(variants) < 4 else f"{variants[0]} and {len(variants) - 1} more"
            merger.heading(3, f"{title}: {shown}")
            merger.paragraphs(escape(f"Used by {', '.join(variants)}."))
            merger.notebook(store.folder(*step.name) / NOTEBOOK, f"{stage}-{number}", 3)
    merger.heading(2, "The variants")
    for row, result in zip(rows[:MOST_CHAPTERS], table[:MOST_CHAPTERS], strict=True):
        _chapter(merger, row, result, store)
    _lead_to_pages(merger, rows[MOST_CHAPTERS:])
    for name in ("future_work", "references"):
        merger.chapter(_CHAPTERS / f"{name}.md")
    return merger


def _lead_to_pages(merger: Merger, rows: Sequence[Row]) -> None:
    """The list of variants that have a page of their own."""
    if rows:
        merger.heading(3, "Further variants, each on a page of its own", "further-variants")
        items = (f"<li>{_link(page_path(row), _label(row))}: {_plain(row)}</li>" for row in rows)
        merger.markdown(f"<ul>\n{chr(10).join(items)}\n</ul>", formulas=False)
    for row in rows:
        merger.chapters.setdefault(row.variant, page_path(row))
        merger.chapters[_label(row)] = page_path(row)


def _plain(row: Row) -> str:
    """A variant's title as HTML."""
    return escape(" ".join(title_of(row).split()))


def merge_page(
    row: Row, result: Mapping[str, Any], shown_rows: Sequence[Row], back: str, store: Store, report: str
) -> Merger:
    """A variant's own page: its data and preprocessing where the report does not show them, and its chapter.

    `shown_rows` are those of the report itself; `back` is the place in the page `report` that it leads back to.
    """
    merger = Merger(store.root, back=back, top="../", report=report)
    shown = {step for other in shown_rows for step in other.steps.values()}
    for stage, title in (("load", "The data"), ("preprocess", "Preprocessing")):
        for number, (step, _) in enumerate(_distinct(stage, [row], store), start=1):
            if step not in shown:
                merger.heading(2, title)
                merger.notebook(store.folder(*step.name) / NOTEBOOK, f"{stage}-{number}", 3)
    merger.heading(2, "The variant")
    _chapter(merger, row, result, store)
    return merger


def _shorten(output: NotebookNode) -> None:
    """Leave out the middle of a very long printed text, and say so: the executed notebook holds all of it."""
    place, name = (output, "text") if "text" in output else (output.get("data", {}), "text/plain")
    lines = str(place.get(name, "")).splitlines(keepends=True)
    if len(lines) > 2 * _SHOWN_LINES:
        note = f"[... {len(lines) - 2 * _SHOWN_LINES} lines: see the executed notebook ...]\n"
        place[name] = "".join([*lines[:_SHOWN_LINES], note, *lines[-_SHOWN_LINES:]])


def _failed(step: Step) -> str:
    return f"The notebook {step.stage.notebook} failed; run the same command again to see why."


def _chapter(merger: Merger, row: Row, result: Mapping[str, Any], store: Store) -> None:
    label = _label(row)
    identifier = merger.heading(3, f"{label}: {title_of(row)}", f"variant-{label}")
    merger.chapters.setdefault(row.variant, identifier)
    merger.chapters[label] = identifier
    merger.paragraphs(*_about(row, result, store, merger))
    for step in sorted(row.steps.values(), key=lambda step: list(STAGES).index(step.stage.name)):
        if step.stage.name not in ("load", "preprocess") and store.complete_manifest(*step.name):
            path = store.folder(*step.name) / NOTEBOOK
            merger.notebook(path, f"{row.folder_name}-{step.label}", 3)


def _label(row: Row) -> str:
    return row.variant if row.replicate == 0 else f"{row.variant} (seed {row.seed})"


def _about(row: Row, result: Mapping[str, Any], store: Store, merger: Merger) -> list[str]:
    """Where a variant comes from, what is assumed, what its numbers are not; links to its notebooks and back: HTML."""
    run, assumed = row.parameters.run, "; ".join(map(str, row.parameters.run["assumed"]))
    lines = [escape(f"Source: {run['source']}.") if run["source"] else "Not from a source: added by this project."]
    lines += [escape(f"Assumed, because the source does not say: {assumed}.")] if assumed else []
    lines += map(escape, _BLANK_LINE.split(str(run["notes"] or "")))
    if result["limited"]:
        lines.append(f"<strong>Departs from the catalogue:</strong> {escape(str(result['limited']))}.")
    if result["status"] != "ok":
        status = escape(str(result["status"]).capitalize())
        lines.append(f"<strong>{status}:</strong> {escape(Mask(store.root)(str(result['message'])))}")
    folder = f"{merger.top}notebooks/{row.folder_name}"
    links = [_link(f"{folder}/{name}.ipynb", name) for name in stage_folders(row, store)]
    ways = [f"Executed notebooks: {', '.join(links)}."] if links else []
    place = "ranking" if merger.back == "ranking" else "comparison"
    ways += [f"{_link(f'{merger.top}{merger.report}#{merger.back}', f'Back to the {place}')}."] if merger.back else []
    return [*lines, " ".join(ways)]


def _link(address: str, words: str) -> str:
    return f'<a href="{escape(address)}">{escape(words)}</a>'


def _distinct(stage: str, rows: Iterable[Row], store: Store) -> list[tuple[Step, list[str]]]:
    """Each finished step of a stage once, with the variants that share it."""
    found: dict[str, tuple[Step, list[str]]] = {}
    for row in rows:
        step = row.steps.get(stage)
        if step and store.complete_manifest(*step.name):
            variants = found.setdefault(step.result_key, (step, []))[1]
            if row.variant not in variants:
                variants.append(row.variant)
    return sorted(found.values(), key=lambda item: -len(item[1]))

"""Executed notebooks to one: chapters in the report's order, unique ids, headings that fit below each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from bakeoff.claims.audit import Finding
from bakeoff.plan.steps import Row, Step
from bakeoff.report import comparison, preparation, untested, variant
from bakeoff.report.cells import Executed
from bakeoff.report.conclusion import conclusion, models
from bakeoff.report.masks import sound
from bakeoff.report.pages import MOST_CHAPTERS, page_path
from bakeoff.report.standing import Standing
from bakeoff.report.typst_blocks import CONTROL, REPLACED
from bakeoff.report.variant import Results, link
from bakeoff.results import title_of
from bakeoff.store import NOTEBOOK, Store

_CHAPTERS = Path(__file__).parent / "chapters"
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
# Ids that the page itself uses.
TAKEN = ("main", "ranking", "ranking-filter", "ranking-count", "theme", "open-code", "open-variants", "how-it-was-made")


def _letter(number: int) -> str:
    return chr(ord("A") + number - 1)


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
    standing: Standing = field(default_factory=Standing)
    said: dict[str, str] = field(default_factory=dict)  # a note -> the variant in whose chapter it stands
    number: tuple[int, int] | None = (0, 0)  # of the latest chapter and of the latest section in it; None: no numbers
    appendix: bool = False  # chapters from here on have letters

    def heading(self, level: int, text: str, identifier: str | None = None) -> str:
        """A heading of the report's own, and its id; levels 2 and 3 stand in the list of contents."""
        found, html = self._heading(level, text, identifier or text)
        self.markdown(html, ids=[found], formulas=False)
        return found

    def appendices(self) -> None:
        """Chapters from here on are appendices: A, B, ..."""
        self.number, self.appendix = (0, 0), True

    def paragraphs(self, *texts: str) -> None:
        """HTML, a paragraph each; no Markdown and no formula in them."""
        lines = (" ".join(text.split()) for text in texts)
        self.markdown("\n\n".join(f"<p>{line}</p>" for line in lines if line), formulas=False)

    def once(self, chapter: str, *texts: str) -> None:
        """Paragraphs of a variant's chapter; one that stands in an earlier chapter is a link to it."""
        for text in texts:
            first = self.said.setdefault(text, chapter)
            leads = link(f"#{self.chapters.get(first, '')}", first)
            self.paragraphs(text if first == chapter else f"The note of {leads} holds here, too.")

    def mark(self, kind: str, only: str = "", **about: Any) -> None:
        """A cell without text that opens or closes a part of the page; `only` for one form of the report."""
        self.markdown("", mark=kind, only=only, **about)

    def band(self, name: str, items: Sequence[str]) -> None:
        """A grey band of short notes, HTML each; nothing where there are none."""
        if items:
            self.mark("band")
            listed = "".join(f"<li>{' '.join(item.split())}</li>" for item in items)
            self.markdown(f"<p><strong>{escape(name)}</strong></p><ul>{listed}</ul>", formulas=False)
            self.mark("end-band")

    def open_chapter(self, text: str, identifier: str) -> str:
        """A chapter that is closed until a reader opens it; returns its id."""
        found, html = self._heading(3, text, identifier)
        first = not any(cell.metadata["bakeoff"].get("mark") == "chapter" for cell in self.cells)
        self.markdown(html, ids=[found], formulas=False, mark="chapter", first=first)
        return found

    def outputs(self, outputs: Sequence[NotebookNode], **about: Any) -> None:
        """Outputs without the code that made them."""
        if outputs:
            cell = nbformat.v4.new_code_cell("", outputs=list(outputs), metadata={"bakeoff": about})
            self.cells.append(cell)

    def markdown(self, text: str, **about: Any) -> None:
        """A Markdown cell; `about` it: the `ids` that its headings may have, whether it may hold `formulas`."""
        self.cells.append(nbformat.v4.new_markdown_cell(sound(text), metadata={"bakeoff": about}))

    def notebook(self, path: Path | Executed, prefix: str, level: int) -> None:
        """The cells of an executed notebook that are tagged `report`, its H1 at `level`; ids carry `prefix`."""
        executed = path if isinstance(path, Executed) else Executed(path, self.store)
        for cell in executed.tagged("report"):
            self.cell(executed, cell, prefix, level)

    def cell(self, executed: Executed, cell: NotebookNode, prefix: str, level: int, **about: Any) -> None:
        """One cell of an executed notebook."""
        cell.metadata["bakeoff"] = dict(about)
        if cell.cell_type == "markdown":
            written = CONTROL.sub(REPLACED, sound(cell.source).replace("\r\n", "\n"))
            cell.source, cell.metadata["bakeoff"]["ids"] = self._demoted(written, prefix, level)
        for output in cell.get("outputs", []):
            executed.shown(output)
        cell["id"] = f"{prefix}-{cell.get('id', len(self.cells))}"
        self.cells.append(cell)

    def chapter(self, path: Path, level: int = 2) -> None:
        """A Markdown file of the report's own, its H1 a chapter."""
        text, ids = self._demoted(path.read_text(encoding="utf-8"), "", level)
        self.markdown(text, ids=ids)

    def _demoted(self, source: str, prefix: str, level: int) -> tuple[str, list[str]]:
        """The Markdown with its headings as HTML, and their ids."""
        lines, ids, fenced = [], [], False
        for line in source.splitlines():
            fenced ^= bool(_FENCE.match(line))
            found = None if fenced else _HEADING.match(line)
            depth = level + len(found[1]) - 1 if found else 0
            if found:
                identifier, line = self._heading(min(depth, 6), found[2], f"{prefix}-{found[2]}")
                ids.append(identifier)
            lines.append(line)
        return "\n".join(lines), sorted(ids)

    def _next_number(self, level: int) -> str:
        """The number of a chapter (level 2) or section that begins: 7, 7.3, A.1."""
        if self.number is None:
            return ""
        chapter, section = self.number
        self.number = (chapter + 1, 0) if level == 2 else (chapter, section + 1)
        chapter, section = self.number
        first = _letter(chapter) if self.appendix else str(chapter)
        return f"{first}.{section}" if section else first

    def _heading(self, level: int, text: str, wish: str) -> tuple[str, str]:
        text = " ".join(sound(text).split())
        identifier = base = re.sub(r"[^a-z0-9]+", "-", wish.lower()).strip("-") or "section"
        number = 1
        while identifier in self.ids:
            number += 1
            identifier = f"{base}-{number}"
        self.ids.add(identifier)
        if level <= 3:
            text = f"{self._next_number(level)} {text}".strip()
            self.contents.append((level, identifier, text))
        return identifier, f'\n<h{level} id="{identifier}">{escape(text)}</h{level}>\n'


def merge(
    compare: Step,
    background: Step,
    rows: Sequence[Row],
    table: Sequence[Mapping[str, Any]],
    store: Store,
    findings: Sequence[Finding] = (),
) -> Merger:
    """The comparison, the data once, a chapter a variant, the conclusion, the references, and the background.

    Of very many rows, those beyond the first MOST_CHAPTERS have pages of their own, to which the report leads.
    """
    merger, shown = Merger(store.root), rows[:MOST_CHAPTERS]
    overrides: list[NotebookNode] = []
    executed = None
    if store.complete_manifest(*compare.name):
        executed = Executed(store.folder(*compare.name) / NOTEBOOK, store.root)
        first = len(merger.contents)
        overrides = comparison.comparison(merger, executed)
        merger.back = merger.back or next((each for _, each, _ in merger.contents[first:]), "")
    else:
        merger.back = merger.heading(2, "Summary")
        merger.paragraphs(_failed(compare))
        merger.mark("contents")
    merger.heading(2, "The data, and how they are prepared")
    preparation.data(merger, shown, store)
    preparation.matrix(merger, shown, store)
    merger.chapter(_CHAPTERS / "reading.md", level=3)
    results = results_of(rows, table, merger.standing, findings)
    merger.mark("break", only="pdf")
    merger.heading(2, "The variants")
    for trainings in variant.grouped(shown):
        variant.chapter(merger, trainings, results, store)
    _lead_to_pages(merger, rows[MOST_CHAPTERS:])
    _end(merger, results, table, executed, overrides)
    merger.appendices()
    merger.heading(2, "Background")
    if store.complete_manifest(*background.name):
        merger.notebook(store.folder(*background.name) / NOTEBOOK, background.stage.name, 2)
    else:
        merger.paragraphs(_failed(background))
    untested.appendix(merger, findings)
    return merger


def results_of(
    rows: Sequence[Row], table: Sequence[Mapping[str, Any]], standing: Standing, findings: Sequence[Finding]
) -> Results:
    """What the chapters of these rows show besides their notebooks."""
    by_name = {row.folder_name: result for row, result in zip(rows, table, strict=True)}
    return Results(by_name, standing, findings, variant.printed_in(rows[:MOST_CHAPTERS]))


def _end(
    merger: Merger,
    results: Results,
    table: Sequence[Mapping[str, Any]],
    executed: Executed | None,
    overrides: Iterable[NotebookNode],
) -> None:
    """Conclusion and future work, the references, and the overrides of the published schedules."""
    merger.heading(2, "Conclusion")
    paragraphs, fallen = conclusion(merger.standing, table, results.findings)
    merger.paragraphs(*paragraphs)
    merger.band("Not reproduced:", fallen)
    merger.outputs([models(merger.standing, table)], links=True)
    merger.chapter(_CHAPTERS / "future_work.md", level=3)
    merger.chapter(_CHAPTERS / "references.md")
    for cell in overrides:
        if executed:
            comparison.compared(merger, executed, cell)


def _lead_to_pages(merger: Merger, rows: Sequence[Row]) -> None:
    """The list of variants that have a page of their own."""
    if rows:
        merger.heading(3, "Further variants, each on a page of its own", "further-variants")
        items = (f"<li>{link(page_path(row), _label(row))}: {_plain(row)}</li>" for row in rows)
        merger.markdown(f"<ul>\n{chr(10).join(items)}\n</ul>", formulas=False)
    for row in rows:
        merger.chapters.setdefault(row.variant, page_path(row))
        merger.chapters[_label(row)] = page_path(row)


def _label(row: Row) -> str:
    return row.variant if row.replicate == 0 else f"{row.variant} (seed {row.seed})"


def _plain(row: Row) -> str:
    """A variant's title as HTML."""
    return escape(" ".join(title_of(row).split()))


def merge_page(row: Row, results: Results, shown_rows: Sequence[Row], back: str, store: Store, report: str) -> Merger:
    """A variant's own page: its data where the report does not show them, its preparation, and its chapter.

    `shown_rows` are those of the report itself; `back` is the place in the page `report` that it leads back to.
    """
    merger = Merger(store.root, back=back, top="../", report=report, number=None)
    shown = {step for other in shown_rows for step in other.steps.values()}
    merger.heading(2, "The data, and how they are prepared")
    if row.steps.get("load") not in shown:
        preparation.data(merger, [row], store)
    preparation.matrix(merger, [row], store)
    merger.heading(2, "The variant")
    variant.chapter(merger, [row], replace(results, networks={}), store)
    return merger


def _failed(step: Step) -> str:
    return f"The notebook {step.stage.notebook} failed; run the same command again to see why."

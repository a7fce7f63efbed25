"""The merged notebook to one HTML file, through nbconvert and a template of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bleach
import nbformat
from nbconvert.exporters import HTMLExporter

from bakeoff.plan import Row, Step
from bakeoff.report.merge import merge
from bakeoff.store import Store

_TEMPLATES = Path(__file__).parent / "template"
# Outputs are not trusted: only text, tables and lists come through, and no attribute that can act.
_TAGS = {
    *(
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "li",
        "ol",
        "p",
        "pre",
        "s",
    ),
    *("span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
}
_ATTRIBUTES = {"a": ["href", "title"], "td": ["colspan", "rowspan"], "th": ["colspan", "rowspan", "scope"]}


def render(
    title: str,
    banner: Sequence[str],
    compare: Step,
    background: Step,
    rows: Sequence[Row],
    table: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    store: Store,
) -> str:
    """The report as one HTML text without requests to other hosts; a pure function of the store."""
    merged = merge(compare, background, rows, table, store)
    notebook = nbformat.v4.new_notebook(cells=merged.cells)
    exporter = HTMLExporter(
        template_name="bakeoff", extra_template_basedirs=[str(_TEMPLATES)], optimistic_validation=True
    )
    exporter.register_filter("inert", inert)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    resources = {
        "report": {
            "title": title,
            "banner": banner,
            "contents": merged.contents,
            "style": (_TEMPLATES / "bakeoff" / "style.css").read_text(encoding="utf-8"),
            "facts": facts,
        }
    }
    html, _ = exporter.from_notebook_node(notebook, resources=resources)
    return html


def inert(html: str) -> str:
    """HTML from an output without anything that can run, load or restyle."""
    return bleach.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, protocols=["http", "https", "mailto"], strip=True)

"""The merged notebook to one HTML file, through nbconvert and a template of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter

from bakeoff.plan import Row, Step
from bakeoff.report.merge import merge
from bakeoff.store import Store

_TEMPLATES = Path(__file__).parent / "template"


def render(
    title: str,
    banner: Sequence[str],
    compare: Step,
    rows: Sequence[Row],
    table: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    store: Store,
) -> str:
    """The report as one HTML text without requests to other hosts; a pure function of the store."""
    merged = merge(compare, rows, table, store)
    notebook = nbformat.v4.new_notebook(cells=merged.cells)
    exporter = HTMLExporter(
        template_name="bakeoff", extra_template_basedirs=[str(_TEMPLATES)], optimistic_validation=True
    )
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

"""The merged notebook to one HTML file, through nbconvert and a template of our own."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter

from bakeoff.report.clean import assumed, inert, linked, prose, terminal
from bakeoff.report.formulas import Formulas
from bakeoff.report.images import RASTER, SVG, EmbeddedImages
from bakeoff.report.merge import Merger

_TEMPLATES = Path(__file__).parent / "template"
# What an output may be shown as, best first; whatever else it brings is left out.
_SHOWN = ["text/html", "text/markdown", SVG, *RASTER, "text/latex", "text/plain"]


def to_html(merged: Merger, title: str, banner: Sequence[str], facts: Mapping[str, Any]) -> str:
    """Merged cells as HTML. Nothing in them is trusted: it is cleaned, and the page forbids what could still run."""
    style, script = (_own_file(name) for name in ("style.css", "report.js"))
    report = {
        "title": title,
        "banner": banner,
        "contents": merged.contents,
        "facts": facts,
        "top": merged.top,
        "style": style,
        "script": script,
        "policy": f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'",
        "next_figure": itertools.count(1).__next__,
        "next_table": itertools.count(1).__next__,
    }
    formulas = Formulas()
    exporter = _exporter(merged, formulas)
    cells = [cell for cell in merged.cells if cell.metadata.get("bakeoff", {}).get("only") != "pdf"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    html, _ = exporter.from_notebook_node(notebook, resources={"report": report})
    return formulas.fill(html)


def _exporter(merged: Merger, formulas: Formulas) -> HTMLExporter:
    exporter = HTMLExporter(
        template_name="bakeoff", extra_template_basedirs=[str(_TEMPLATES)], optimistic_validation=True
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.config.NbConvertBase.display_data_priority = _SHOWN
    outputs = [output.get("data", {}) for cell in merged.cells for output in cell.get("outputs", [])]
    for name, function in {
        "inert": inert,
        "computed": lambda markdown: inert(formulas.html(markdown)),
        "prose": lambda markdown, ids: prose(formulas.html(markdown), set(ids)),
        "linked": lambda html: linked(html, merged.chapters),
        "terminal": terminal,
        "assumed": assumed,
        "image": EmbeddedImages(outputs),
        "words": _words,
    }.items():
        exporter.register_filter(name, function)
    return exporter


def _words(output: Mapping[str, Any]) -> dict[str, str]:
    """Caption, alternative text and kind from an output's metadata; empty where it has none."""
    metadata = output.get("metadata") or {}
    own = metadata.get("bakeoff")
    words = {name: str(own.get(name, "")) for name in ("caption", "kind")} if isinstance(own, Mapping) else {}
    described = [metadata[kind] for kind in (*RASTER, SVG) if isinstance(metadata.get(kind), Mapping)]
    alternatives = [str(part["alt"]) for part in described if part.get("alt")]
    return {"caption": "", "kind": "", "alt": alternatives[0] if alternatives else ""} | words


def _own_file(name: str) -> str:
    return (_TEMPLATES / "bakeoff" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """The source expression that allows exactly this inline text in a Content-Security-Policy."""
    # The template puts the text on lines of its own.
    found = hashlib.sha256(f"\n{text}\n".encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode('ascii')}'"

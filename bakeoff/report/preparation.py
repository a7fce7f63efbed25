"""The data once, and one matrix of what each variant does to the images, made from the variants' parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bakeoff.plan.steps import Row, Step
from bakeoff.report import cells
from bakeoff.report.cells import Executed
from bakeoff.report.variant import PNG, named_options
from bakeoff.store import NOTEBOOK, Store

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger


def data(merger: Merger, rows: Sequence[Row], store: Store) -> None:
    """The data sets: the first with its words, the others by their figures and tables."""
    for number, (step, variants) in enumerate(_distinct("load", rows, store), start=1):
        notebook = Executed(store.folder(*step.name) / NOTEBOOK, store.root)
        if number == 1:
            merger.notebook(notebook, "load-1", 2)
            continue
        merger.heading(3, f"The data of {_few(variants)}")
        merger.outputs([output for cell in notebook.tagged("report") for output in _shown(notebook, cell)])


def _shown(notebook: Executed, cell: Any) -> list[Any]:
    outputs = [notebook.shown(output) for output in cell.get("outputs", [])]
    return [each for each in outputs if PNG in each.get("data", {}) or "text/html" in each.get("data", {})]


def matrix(merger: Merger, rows: Sequence[Row], store: Store) -> None:
    """What each variant does to the images, and an example of each augmentation."""
    merger.heading(3, "What each variant does to the images")
    if not rows:
        return
    table = {row.variant: _prepared(row.parameters.stage) for row in rows}
    names = list(next(iter(table.values())))
    same = {
        name: value
        for name in names
        if len({row[name] for row in table.values()}) == 1 < len(table)
        for value in [next(iter(table.values()))[name]]
    }
    differ = [name for name in names if name not in same]
    alike = "; ".join(f"{name}: {value}" for name, value in same.items() if value)
    caption = f"What each variant does to the images.{f' All variants: {alike}.' if alike else ''}"
    fields = [[escape(variant), *(escape(row[name]) for name in differ)] for variant, row in table.items()]
    merger.outputs([cells.table(["variant", *differ], fields, caption)], links=True)
    _augmentations(merger, rows, store)


def _prepared(stage: Mapping[str, Any]) -> dict[str, str]:
    """A variant's preprocessing by its parameters, in words."""
    size, positive = stage.get("image_size") or 0, stage.get("positive_class") or "the first class"
    tasks = {"binary": f"{positive} against all others", "labels_only": "labels only", "classes": "all classes"}
    validation = str(stage.get("validation", ""))
    if validation == "split":
        validation = f"{100 * float(stage.get('validation_split', 0)):.0f} % of the training images"
    if stage.get("validation_preprocessing") == "raw":
        validation += ", not scaled"
    return {
        "task": tasks.get(str(stage.get("task")), str(stage.get("task", ""))),
        "colour": str(stage.get("color", "")),
        "scaling": str(stage.get("scaling", "")),
        "network's input": f"{size} × {size} pixels" if size else "as stored",
        "validation": "the test images" if validation == "test" else validation,
        "augmentation": named_options(stage.get("augmentation") or {}) or "none",
    }


def _augmentations(merger: Merger, rows: Sequence[Row], store: Store) -> None:
    """One image as training sees it, for each distinct augmentation."""
    examples = list(_examples(rows, store))
    for number in range(0, len(examples), 2):
        pair = examples[number : number + 2]
        merger.mark("row", widths=[1, 1])
        for place, (variants, outputs) in enumerate(pair):
            if place:
                merger.mark("next")
            for output in outputs:
                output["metadata"].setdefault("bakeoff", {})["caption"] = f"Augmentation of {_few(variants)}."
            merger.outputs(outputs)
        if len(pair) == 1:
            merger.mark("next")
        merger.mark("end-row")


def _examples(rows: Sequence[Row], store: Store) -> Iterator[tuple[list[str], list[Any]]]:
    found: dict[str, tuple[list[str], list[Any]]] = {}
    for row in rows:
        options, step = row.parameters.stage.get("augmentation") or {}, row.steps.get("preprocess")
        if not any(options.values()) or step is None or not store.complete_manifest(*step.name):
            continue
        name = json.dumps(options, sort_keys=True)
        if name not in found:
            notebook = Executed(store.folder(*step.name) / NOTEBOOK, store.root)
            found[name] = ([], notebook.outputs("augmentation", kind=PNG))
        if row.variant not in found[name][0]:
            found[name][0].append(row.variant)
    yield from (each for each in found.values() if each[1])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"


def _distinct(stage: str, rows: Sequence[Row], store: Store) -> list[tuple[Step, list[str]]]:
    """Each finished step of a stage once, with the variants that share it; the most shared first."""
    found: dict[str, tuple[Step, list[str]]] = {}
    for row in rows:
        step = row.steps.get(stage)
        if step and store.complete_manifest(*step.name):
            variants = found.setdefault(step.result_key, (step, []))[1]
            if row.variant not in variants:
                variants.append(row.variant)
    return sorted(found.values(), key=lambda item: -len(item[1]))

"""Cost as variants grow from 1 to 64: every notebook is a stub that copies files, so all time is Bakeoff's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.common import NO_NETWORK_SET, Case, copy_project, pipeline

COUNTS = (1, 8, 16, 32, 64)
_STUB = """import shutil
from pathlib import Path
for name in {files}:
    shutil.copyfile(Path({template!r}, name), Path(output, name))
"""


def measure(folder: Path) -> Case:
    """Seconds of whole runs (fork server, steps, comparison, report) from an empty store."""
    project = copy_project(folder)
    request = ("--profile", "smoke", "--set", NO_NETWORK_SET)
    pipeline("--variants", "simple_cnn", *request, folder=folder / "template", project=project)
    for stage in ("1_load", "2_preprocess", "4_build", "5_train", "6_evaluate"):
        _make_stub(project, stage, folder / "template" / "runs")
    names = _make_variants(project, max(COUNTS))
    seconds: dict[str, list[float]] = {}
    for count in COUNTS:
        taken = pipeline("--variants", ",".join(names[:count]), *request, folder=folder / str(count), project=project)
        seconds[f"{count} variants"] = [taken]
        print(f"    {count} variants: {taken:.1f} s", flush=True)
    times = {count: seconds[f"{count} variants"][0] for count in COUNTS}
    ratio = "the second 32 variants over the first 32"
    return Case(
        "More variants",
        "Stub notebooks for load, preprocess, build, train and evaluate, a data seed of its own for each variant "
        "(five steps each); the comparison and the report are the real ones.",
        seconds,
        {
            ratio: (times[64] - times[32]) / times[32],
            "seconds for each further variant, from 32 to 64": (times[64] - times[32]) / 32,
        },
        {ratio: 1.1},
    )


def _make_stub(project: Path, stage: str, runs: Path) -> None:
    """Keep the notebook's parameters and prose, and replace all other code by a copy of what a real run wrote."""
    path = project / "notebooks" / f"{stage}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (template,) = (runs / stage.split("_")[1]).glob("*/step.json")
    files = [name for name in json.loads(template.read_text(encoding="utf-8"))["files"] if not name.endswith(".ipynb")]
    kept = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown" or "parameters" in _tags(cell)]
    stub = {**notebook["cells"][-1], "cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    stub["source"] = _STUB.format(files=files, template=str(template.parent))
    path.write_text(json.dumps({**notebook, "cells": [*kept, stub]}), encoding="utf-8")


def _tags(cell: dict[str, object]) -> list[str]:
    return cell["metadata"].get("tags", [])  # type: ignore[attr-defined]


def _make_variants(project: Path, count: int) -> list[str]:
    """Copies of the variant simple_cnn, each with a data seed of its own so that no step is shared."""
    folder = project / "params" / "variants"
    text = (folder / "simple_cnn.yaml").read_text(encoding="utf-8")
    names = [f"stub_{number}" for number in range(count)]
    for number, name in enumerate(names):
        (folder / f"{name}.yaml").write_text(f"data_seed: {number}\nseed: {number}\n{text}", encoding="utf-8")
    for path in folder.glob("*.yaml"):
        if path.stem not in names and path.stem != "simple_cnn":
            path.unlink()
    shutil.rmtree(project / "__pycache__", ignore_errors=True)
    return names

"""The compare notebook on made stores, executed for real: every number follows from the files."""

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill
import pytest

from bakeoff.claims import audit
from bakeoff.lab import files
from tests.conftest import PROJECT
from tests.lab.made import Made, made


def shown(stores: Made, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Execute the notebook; what each cell shows, by cell id: tables, sentences, captions and alternative texts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    parameters = {"inputs": stores.inputs | {"claims": str(folder / "claims.csv")}, "output": str(folder)}
    made_at = folder / "compare.ipynb"
    folder.mkdir()
    (folder / "claims.csv").write_text(audit.to_csv([]))
    papermill.execute_notebook(
        PROJECT / "notebooks" / "7_compare.ipynb",
        made_at,
        parameters,
        kernel_name="python3",
        progress_bar=False,
        cwd=str(PROJECT),
    )
    cells = nbformat.read(made_at, as_version=4).cells
    return {cell["id"]: _texts(cell) for cell in cells if cell["cell_type"] == "code" and cell["outputs"]}


def _texts(cell: Any) -> str:
    assert not [each for each in cell["outputs"] if each.get("name") == "stderr"], cell["outputs"]
    parts = [part for each in cell["outputs"] for kind, part in each["data"].items() if kind != "image/png"]
    return "\n".join([*parts, json.dumps([each.get("metadata", {}) for each in cell["outputs"]])])


def test_a_changed_accuracy_and_changed_predictions_change_every_number_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = made(tmp_path / "stores", {"first": 3.0, "second": 1.9, "third": 1.8}, trainings={"third": 2})
    before = shown(stores, tmp_path / "before", monkeypatch)
    accuracy = f"{100 * stores.read()[0].ranked['test_accuracy'][1]:.1f} %"
    assert accuracy in before["ranking"] and accuracy.removesuffix(" %") in before["answer"]
    assert "`first` differs significantly from every other" in before["answer"]

    # The network that was second now predicts as well as the first, and then one image more.
    kept = dict(np.load(Path(stores.folders["first"]["evaluate"]) / "predictions.npz"))
    wrong = int(np.flatnonzero(kept["probabilities"].argmax(axis=1) != kept["labels"])[0])
    kept["probabilities"][wrong] = np.eye(10, dtype=np.float32)[kept["labels"][wrong]]
    files.write_npz(Path(stores.folders["second"]["evaluate"]) / "predictions.npz", **kept)
    better = float((kept["probabilities"].argmax(axis=1) == kept["labels"]).mean())
    lines = [line.split(",") for line in stores.table.read_text().splitlines()]
    (changed,) = (line for line in lines if line[0] == "second")
    changed[lines[0].index("test_accuracy")] = str(better)
    changed[lines[0].index("expected_calibration_error")] = "0.4321"
    stores.table.write_text("\n".join(",".join(line) for line in lines) + "\n")

    after = shown(stores, tmp_path / "after", monkeypatch)
    assert f"**`second` leads 3 ranked variants**: test accuracy {100 * better:.1f} %" in after["answer"]
    assert "`second` does not differ significantly from `first`" in after["answer"]
    assert f"{100 * better:.1f} %" in after["ranking"] and f"{100 * better:.1f} %" not in before["ranking"]
    assert "second and first" in after["pairs"] and "first and second" in before["pairs"]
    assert "0.432" in after["calibration"] and "0.432" not in before["calibration"]
    assert "99.8 in row first, column second" in after["agreement"]
    for cell in ("gaps", "images", "agreement", "calibration", "pairs", "cost"):
        assert after[cell] != before[cell], cell


@pytest.mark.parametrize("kind", ["one", "none"])
def test_the_notebook_bears_results_without_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    stores = made(tmp_path / "stores", {"only": 2.0}, images=40, weights="random" if kind == "none" else "none")
    outputs = shown(stores, tmp_path / "out", monkeypatch)
    assert "There are no two ranked variants" in outputs["pairs"] and "no two ranked" in outputs["agreement"]
    assert ("only variant that can be ranked" if kind == "one" else "There is no") in outputs["answer"]

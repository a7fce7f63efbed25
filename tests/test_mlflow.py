"""Rows as MLflow runs: what would be logged, and a package that is missing. A server is no part of these tests."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from bakeoff.errors import RequestError
from bakeoff.tracking import mlflow


def test_numbers_of_a_row_and_curves_of_its_training(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,train_loss,validation_loss\n1,2.5,\n2,1.5,2.0\n")
    measured = {"variant": "ann", "test_accuracy": 0.5, "epochs": 2, "top_k": "", "notes": "none"}
    assert mlflow.metrics(measured, {"train": tmp_path}) == [
        ("test_accuracy", 0, 0.5),
        ("epochs", 0, 2.0),
        ("epoch/train_loss", 1, 2.5),
        ("epoch/train_loss", 2, 1.5),
        ("epoch/validation_loss", 2, 2.0),
    ]
    assert mlflow.metrics(measured, {})[-1] == ("epochs", 0, 2.0), "nothing was trained"


def test_without_the_package_a_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mlflow.VARIABLE, raising=False)
    assert not mlflow.wanted()
    monkeypatch.setenv(mlflow.VARIABLE, "http://localhost:1")
    if find_spec("mlflow") is None:
        with pytest.raises(RequestError, match="install bakeoff\\[mlflow\\] or unset it"):
            mlflow.wanted()

"""history.csv: a row for each epoch, rewritten after each, so that it is result and sign of progress in one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from bakeoff.lab.files import write_csv

FILE = "history.csv"
COLUMNS = (
    *("epoch", "train_accuracy", "train_loss", "validation_accuracy", "validation_loss", "seconds", "learning_rate"),
)


class History(keras.callbacks.Callback):
    """Writes `history.csv` as the training goes on.

    A training whose loss is no longer a finite number ends with that epoch, as with Keras' TerminateOnNaN, which looks
    at training batches alone.
    """

    async_safe = True  # Keras need not wait for a step's numbers before it starts the next one

    def __init__(self, folder: str | Path | None) -> None:
        """`folder` None keeps the rows in memory only."""
        super().__init__()
        self.path = Path(folder) / FILE if folder else None
        self.rows: list[dict[str, Any]] = []
        self.steps = 0  # of the optimizer
        self.training_seconds = 0.0  # without validation
        self.elsewhere_seconds = 0.0  # of work that an earlier training has done for this one
        self._steps_of_epoch, self._begun = 0, 0.0
        self._trained: float | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The rows so far, with the columns of history.csv."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    @property
    def seconds(self) -> float:
        """Of all epochs, validation included."""
        return float(sum(row["seconds"] for row in self.rows)) + self.elsewhere_seconds

    @property
    def diverged_epoch(self) -> int | None:
        """The epoch whose loss was no finite number, on training or validation images; None while there is none."""
        losses = ("train_loss", "validation_loss")
        lost = (row["epoch"] for row in self.rows if any(not math.isfinite(row[n] or 0.0) for n in losses))
        return next(lost, None)

    def state(self) -> dict[str, np.ndarray]:
        """What a training that is taken up again goes on from, as arrays."""
        kept = [self.rows, self.steps, self.training_seconds, self.elsewhere_seconds]
        return {"rows": np.frombuffer(json.dumps(kept).encode(), np.uint8)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        kept = json.loads(state["rows"].tobytes())
        self.rows, self.steps, self.training_seconds, self.elsewhere_seconds = kept
        self._write()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock; rows of an earlier `fit` that began with this epoch or an earlier one go."""
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        self._begun, self._trained, self._steps_of_epoch = time.perf_counter(), None, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the steps, in whatever order threads say that they are over."""
        self._steps_of_epoch = max(self._steps_of_epoch, batch + 1)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Validation begins; the training of this epoch is over when its last step's numbers are there."""
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add the epoch's row."""
        now, logs = time.perf_counter(), logs or {}
        self.training_seconds += (self._trained or now) - self._begun
        self.steps += self._steps_of_epoch
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values = [logs.get(name) for name in ("accuracy", "loss", "val_accuracy", "val_loss")]
        row = [epoch + 1, *(None if value is None else float(value) for value in values), now - self._begun, rate]
        self.rows.append(dict(zip(COLUMNS, row, strict=True)))
        self._write()
        if self.diverged_epoch:
            self.model.stop_training = True

    def _write(self) -> None:
        if self.path is not None:
            write_csv(self.path, self.frame)

"""The ordinary trainer: compile, and fit for all epochs."""

from __future__ import annotations

from typing import Any

import keras

from bakeoff.lab.fitting import HistoryFile, Job, Trainer, compile_model, fit


def run(model: keras.Model, job: Job, history: HistoryFile) -> dict[str, Any]:
    """Train all trainable layers by the recipe."""
    compile_model(model, job.recipe, job.num_outputs)
    fit(model, job, history)
    return {}


TRAINER = Trainer(run)

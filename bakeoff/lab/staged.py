"""Fine-tuning in two stages: first the new layers on the frozen base, then everything at a lower rate."""

from __future__ import annotations

import math
from typing import Any

import keras

from bakeoff.lab.fitting import HistoryFile, Job, Trainer, compile_model, fit, make_optimizer


def run(model: keras.Model, job: Job, history: HistoryFile) -> dict[str, Any]:
    """Train the layers around the layer `base` for `head_epochs` (1), then all layers for the remaining epochs.

    Layers of the base that were not trainable before stay so. The first stage uses `head_learning_rate` (0.001), the
    second the recipe's learning rate, along a `schedule`: cosine (falls to `final_share`, 0, of it) or constant. Both
    use the recipe's optimizer and its options.

    Raises ValueError when the network has no layer named `base`.
    """
    names = [layer.name for layer in model.layers]
    if "base" not in names:
        raise ValueError(f"trainer staged needs a network with a layer named base; {model.name} has none")
    base = model.get_layer("base")
    fixed = [layer for layer in base.layers if not layer.trainable]
    head_epochs = min(int(job.option("head_epochs", 1)), job.recipe.epochs)
    if head_epochs:
        base.trainable = False
        rate = float(job.option("head_learning_rate", 1e-3))
        compile_model(model, job.recipe, job.num_outputs, optimizer=make_optimizer(job.recipe, learning_rate=rate))
        fit(model, job, history, last_epoch=head_epochs)
    base.trainable = True
    for layer in fixed:
        layer.trainable = False
    if head_epochs < job.recipe.epochs:
        rate = _rate(job, job.recipe.epochs - head_epochs)
        compile_model(model, job.recipe, job.num_outputs, optimizer=make_optimizer(job.recipe, learning_rate=rate))
        fit(model, job, history, first_epoch=head_epochs)
    return {"head_epochs": head_epochs}


def _rate(job: Job, epochs: int) -> Any:
    """The learning rate of the second stage: a number, or a schedule over its steps."""
    schedule = job.option("schedule", "cosine")
    if schedule == "constant":
        return job.recipe.learning_rate
    if schedule != "cosine":
        raise ValueError(f"unknown schedule {schedule!r} in trainer_options: take cosine or constant")
    steps = math.ceil(len(job.train) / job.recipe.batch_size) * epochs
    return keras.optimizers.schedules.CosineDecay(
        job.recipe.learning_rate, steps, alpha=float(job.option("final_share", 0.0))
    )


TRAINER = Trainer(run, options=("head_epochs", "head_learning_rate", "schedule", "final_share"))

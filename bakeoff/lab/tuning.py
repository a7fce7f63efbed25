"""Searching for good values: Keras Tuner's random search, or a grid logged with TensorBoard HParams."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bakeoff.lab import models
from bakeoff.lab.files import claim, read_json, write_csv, write_json
from bakeoff.lab.fitting import Recipe
from bakeoff.lab.search_space import Values, cells, grid_points, list_values
from bakeoff.lab.streams import generator
from bakeoff.lab.study import Study, study_within_budget, views_to_choose_by

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared

HELD_OUT = {"tuner": 0.1, "grid": 0.2}  # share of the training images, where the variant holds none out itself
SCORES = ("validation_accuracy", "test_accuracy", "train_accuracy", "parameters", "seconds")
PROBLEM = "problem"  # why a trial has no accuracies; empty where it has
FAILED = -1.0  # what Keras Tuner is told of a trial without an accuracy: after three errors in a row it would give up
TRIALS, BEST = "trials.csv", "best.json"


@dataclass(frozen=True)
class Search:
    """A finished search: a row for each trial, and what best.json says."""

    trials: pd.DataFrame
    best: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The names that were searched."""
        return list(self.best["values"])

    @property
    def scored(self) -> pd.DataFrame:
        """The trials that have accuracies."""
        return self.trials[self.trials["validation_accuracy"].notna()].reset_index(drop=True)


class TrialsFile:
    """The rows of trials.csv, rewritten after each trial; a second try finds the trials of the first."""

    def __init__(self, folder: Path, space: Mapping[str, Sequence[Any]]) -> None:
        """`space`: each name with the cells that it may have."""
        self.path = folder / TRIALS
        self.names = list(space)
        self.rows: list[dict[Any, Any]] = []
        with suppress(OSError, ValueError, KeyError):  # none there, or none that can be read
            there = read_trials(self.path, space)
            self.rows = there.to_dict("records") if list(there.columns) == self.columns else []

    @property
    def columns(self) -> list[str]:
        """The columns of trials.csv."""
        return ["trial", *self.names, *SCORES, PROBLEM]

    def find(self, values: Mapping[str, Any]) -> dict[Any, Any] | None:
        """The row of the trial that tried these values, as cells."""
        return next((row for row in self.rows if all(row[name] == values[name] for name in self.names)), None)

    def add(self, trial: int, row: Mapping[str, Any]) -> None:
        """Add the row of a trial, in place of an earlier row of the same number."""
        self.rows = [old for old in self.rows if old["trial"] != trial] + [{"trial": trial, **row}]
        write_csv(self.path, self.frame)

    @property
    def frame(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame(self.rows, columns=self.columns)


def search(
    prepared: Prepared,
    folder: str | Path,
    *,
    search: str,
    search_space: Mapping[str, Any],
    search_epochs: int,
    search_trials: int,
    builder: str,
    builder_options: Mapping[str, Any],
    weights: str,
    image_size: int,
    loss: str,
    optimizer: str,
    learning_rate: float,
    optimizer_options: Mapping[str, Any],
    batch_size: int,
    seed: int,
    precision: str,
    jit_compile: bool,
    max_training_tflop: float | None,
    checkpoint: str | Path | None = None,
) -> Search:
    """Try points of the space, each for `search_epochs` epochs; write trials.csv and best.json to `folder`.

    `tuner` runs `search_trials` trials of Keras Tuner's RandomSearch; `grid` every point, or `search_trials` of them.
    The point with the highest validation accuracy after its last epoch is the best; a point that cannot be built, or
    diverges, is recorded with its reason, and the others are tried. Where the variant holds out no
    training images, the last tenth (tuner) or fifth (grid) of them validates; a grid scores the test set besides.
    Half of the arithmetic budget is shared by the trials, all with the same number of images. A search that `folder`
    holds already is opened, if it was made with the same arguments; one that was cut short goes on after the trials in
    `checkpoint` (else `folder`).

    Raises ValueError for an unknown kind of search, a space that is empty or cannot be read, or if every trial fails.
    """
    given = {name: value for name, value in locals().items() if name not in ("prepared", "folder", "checkpoint")}
    folder = Path(folder)
    claim(folder, given | {"images": len(prepared.train)}, (BEST, TRIALS, "tuner", "hparams"))
    if (folder / BEST).is_file():
        return open_search(folder)
    models.check_name("search", search, HELD_OUT)
    recipe = Recipe(
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        optimizer_options=optimizer_options,
        batch_size=batch_size,
        epochs=search_epochs,
        seed=seed,
        jit_compile=jit_compile,
    )
    train, validation = views_to_choose_by(prepared, HELD_OUT[search])
    study = Study(
        folder=folder,
        train=train,
        validation=validation,
        test=prepared.test if search == "grid" else None,
        input_shape=prepared.input_shape,
        num_outputs=prepared.num_outputs,
        space={name: list_values(name, entry) for name, entry in search_space.items()},
        network={"builder": builder, "weights": weights, "image_size": image_size, "seed": seed},
        builder_options=builder_options,
        recipe=recipe,
        precision=precision,
    )
    if not study.space:
        raise ValueError("search_space is empty: name options of the builder, optimizer or learning_rate in it")
    total = math.prod(len(values) for values in study.space.values())
    planned = min(search_trials or total, total)
    study = study_within_budget(study, max_training_tflop, planned)
    choices = {name: cells(values) for name, values in study.space.items()}
    rows = TrialsFile(Path(checkpoint) if checkpoint else folder, choices)
    trials = _run_tuner(study, planned, seed, rows) if search == "tuner" else _run_grid(study, planned, seed, rows)
    write_csv(folder / TRIALS, trials)
    write_json(folder / BEST, _best(study, trials, total))
    return open_search(folder)


def open_search(folder: str | Path) -> Search:
    """Read what `search` wrote."""
    folder = Path(folder)
    best = read_json(folder / BEST)
    return Search(read_trials(folder / TRIALS, best["space"]), best)


def read_trials(path: Path, space: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """trials.csv with the very values of the space, which CSV alone does not tell from other kinds."""
    frame = pd.read_csv(
        path, float_precision="round_trip", dtype=dict.fromkeys(space, str), keep_default_na=False, na_values=[""]
    )
    for name, values in space.items():
        frame[name] = frame[name].map({str(value): value for value in values}.__getitem__).astype(object)
    return frame.infer_objects()


def _run_tuner(study: Study, trials: int, seed: int, rows: TrialsFile) -> pd.DataFrame:
    """Keras Tuner's random search; its own records are in the folder `tuner`."""
    import keras_tuner

    class Tuner(keras_tuner.RandomSearch):
        """Keras Tuner chooses the values and keeps the books; the study trains and measures.

        A search that is taken up again has it draw the same values anew: its books may have been cut short, too.
        """

        def run_trial(self, trial: Any, *arguments: Any, **settings: Any) -> float:
            values = {name: trial.hyperparameters.get(name) for name in study.space}
            row = rows.find(values)
            if row is None:
                row = study.score(study.point(values))
                rows.add(int(trial.trial_id) + 1, row)
            accuracy = row.get("validation_accuracy")
            return FAILED if accuracy is None or math.isnan(accuracy) else float(accuracy)

    space = keras_tuner.HyperParameters()
    for name, values in study.space.items():
        space.Choice(name, cells(values))
    tuner = Tuner(
        hyperparameters=space,
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_trials=trials,
        seed=int(generator(seed, "tuner").integers(1, 2**31)),  # Keras Tuner takes 0 for no seed at all
        directory=str(study.folder),
        project_name="tuner",
        overwrite=True,
    )
    tuner.search(verbose=0)
    return rows.frame


def _run_grid(study: Study, count: int, seed: int, rows: TrialsFile) -> pd.DataFrame:
    """Every chosen point, logged with TensorBoard HParams in the folder `hparams`."""
    for trial, point in enumerate(grid_points(study.space, count, seed), start=1):
        values = study.cells(point)
        row = rows.find(values)
        if row is None:
            row = study.score(point)
            rows.add(trial, row)
        _log_hparams(study.folder / "hparams" / f"{trial:03d}", values, row)
    return rows.frame


def _log_hparams(folder: Path, values: Values, row: Mapping[str, Any]) -> None:
    """One point for TensorBoard's HParams page: its values and its accuracies."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        api.hparams(values, trial_id=folder.name)
        for name in ("validation_accuracy", "test_accuracy", "train_accuracy"):
            if row.get(name) is not None:
                tf.summary.scalar(name, row[name], step=1)
    writer.close()


def _best(study: Study, trials: pd.DataFrame, total: int) -> dict[str, Any]:
    """best.json: the point of the highest validation accuracy, the first of equals."""
    scored = trials[trials["validation_accuracy"].notna()]
    if scored.empty:
        first = trials.iloc[0]
        tried = ", ".join(f"{name} {first[name]}" for name in study.space)
        raise ValueError(f"every trial of the search failed; the first, with {tried}: {first[PROBLEM]}")
    row = scored.iloc[int(scored["validation_accuracy"].argmax())]
    values = study.point(row)
    return {
        "builder_options": study.options(values),
        "training": study.training(values),
        "values": values,
        "trial": int(row["trial"]),
        "validation_accuracy": float(row["validation_accuracy"]),
        "optimizer_steps": math.ceil(len(study.train) / study.recipe.batch_size) * study.recipe.epochs,
        "points_total": total,
        "points_run": len(trials),
        "epochs": study.recipe.epochs,
        "train_images": len(study.train),
        "validation_images": len(study.validation),
        "test_images": len(study.test) if study.test is not None else 0,
        "points_failed": len(trials) - len(scored),
        "space": {name: cells(values) for name, values in study.space.items()},
    }

"""The trials of a search: Keras Tuner's random search, or a grid logged with TensorBoard HParams."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bakeoff.lab.files import read_json, write_csv, write_json
from bakeoff.lab.search.space import Space, Values, cells, count_points, grid_points, point_of
from bakeoff.lab.streams import generator

ACCURACIES = ("validation_accuracy", "test_accuracy", "train_accuracy")
SCORES = (*ACCURACIES, "parameters", "seconds")
PROBLEM = "problem"  # why a trial has no accuracies; empty where it has
FAILED = -1.0  # what Keras Tuner is told of a trial without an accuracy: after three errors in a row it would give up
TRIALS, BEST = "trials.csv", "best.json"
Trial = Callable[[Values], Mapping[str, Any]]  # values -> accuracies and parameters, and a problem if there was one


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


class Rows:
    """The rows of trials.csv, rewritten after each trial.

    Under the pipeline they lie in the folder `inputs["checkpoint"]`, where a search that was cut short finds its
    trials; by hand they lie in `output`, and each search begins anew.
    """

    def __init__(self, run_trial: Trial, space: Space, inputs: Mapping[str, Any], output: str | Path) -> None:
        checkpoint = inputs.get("checkpoint")
        self.run_trial, self.space = run_trial, space
        self.path = Path(checkpoint or output) / TRIALS
        self.rows: list[dict[Any, Any]] = []
        self.finished = _is_finished(inputs, output)
        stored = output if self.finished else checkpoint
        if stored:
            with suppress(OSError, ValueError, KeyError):  # none there, or none that can be read
                there = read_trials(Path(stored) / TRIALS, {name: cells(values) for name, values in space.items()})
                self.rows = there.to_dict("records") if list(there.columns) == self._columns else []

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each trial: its number, its values as cells, SCORES and PROBLEM."""
        return pd.DataFrame(self.rows, columns=self._columns)

    @property
    def _columns(self) -> list[str]:
        return ["trial", *self.space, *SCORES, PROBLEM]

    def find_or_run(self, trial: int, point: Values) -> dict[Any, Any]:
        """The row of the trial with these values, which is run if it is not there.

        Where `run_trial` fails, or says that it had a problem, the row has that in place of accuracies.
        """
        values = {name: cells(self.space[name])[self.space[name].index(value)] for name, value in point.items()}
        found = next((row for row in self.rows if all(row[name] == values[name] for name in values)), None)
        if found is not None:
            return found
        begun = time.perf_counter()
        try:
            row = dict(self.run_trial(point))
        except Exception as error:  # whatever it is, the other points are tried
            row = {PROBLEM: (str(error).strip() or type(error).__name__).splitlines()[0]}
        if row.get(PROBLEM):
            row |= dict.fromkeys(ACCURACIES)
        row = {"trial": trial, **values, **row, "seconds": time.perf_counter() - begun}
        self.rows = [old for old in self.rows if old["trial"] != trial] + [row]
        write_csv(self.path, self.frame)
        return row


def random_search(
    run_trial: Trial, space: Space, *, trials: int, seed: int, inputs: Mapping[str, Any], output: str | Path
) -> pd.DataFrame:
    """`keras_tuner.RandomSearch` over the space by validation accuracy; its own records are in `output`/tuner.

    A search that is taken up again has it draw the same values anew: its records may have been cut short, too. A
    finished one, of which only the page is rebuilt, draws nothing.
    """
    import keras_tuner

    rows = Rows(run_trial, space, inputs, output)
    if rows.finished:
        return rows.frame

    class Tuner(keras_tuner.RandomSearch):
        """Keras Tuner chooses the values and keeps the books; `run_trial` trains and measures."""

        def run_trial(self, trial: Any, *arguments: Any, **settings: Any) -> float:
            values = {name: trial.hyperparameters.get(name) for name in space}
            row = rows.find_or_run(int(trial.trial_id) + 1, point_of(space, values))
            accuracy = row.get("validation_accuracy")
            return FAILED if accuracy is None or math.isnan(accuracy) else float(accuracy)

    choices = keras_tuner.HyperParameters()
    for name, values in space.items():
        choices.Choice(name, cells(values))
    tuner = Tuner(
        hyperparameters=choices,
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_trials=trials,
        seed=int(generator(seed, "tuner").integers(1, 2**31)),  # Keras Tuner takes 0 for no seed at all
        directory=str(output),
        project_name="tuner",
        overwrite=True,
    )
    tuner.search(verbose=0)
    return rows.frame


def grid_search(
    run_trial: Trial, space: Space, *, trials: int, seed: int, inputs: Mapping[str, Any], output: str | Path
) -> pd.DataFrame:
    """Every point of the grid, or `trials` of them drawn with the seed, logged with TensorBoard HParams in `output`."""
    rows = Rows(run_trial, space, inputs, output)
    if rows.finished:
        return rows.frame
    shutil.rmtree(Path(output) / "hparams", ignore_errors=True)  # of the same cell, run by hand before
    for number, values in enumerate(grid_points(space, trials, seed), start=1):
        row = rows.find_or_run(number, values)
        _log_hparams(Path(output) / "hparams" / f"{number:03d}", {name: row[name] for name in space}, row)
    return rows.frame


def _log_hparams(folder: Path, values: Values, row: Mapping[Any, Any]) -> None:
    """One point for TensorBoard's HParams page: its values and its accuracies."""
    # TensorBoard's own messages and records: `hparams.api` and `tf.summary` need TensorFlow.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    accuracies = [scalar_pb(name, row[name]) for name in ACCURACIES if row.get(name) is not None]
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    events += [Event(wall_time=now, step=0, summary=hparams_pb(values, trial_id=folder.name))]
    events += [Event(wall_time=now, step=1, summary=summary) for summary in accuracies]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{int(now)}.v2").open("wb") as stream:
        records = RecordWriter(stream)
        for event in events:
            records.write(event.SerializeToString())


def save_search(
    trials: pd.DataFrame,
    space: Space,
    settings: Callable[[Values], tuple[Mapping[str, Any], Mapping[str, Any]]],
    inputs: Mapping[str, Any],
    output: str | Path,
    **facts: Any,
) -> Search:
    """Write trials.csv and best.json, the trial of the highest validation accuracy, the first of equals.

    `settings` gives the builder's options and the optimizer's arguments of a trial's values; `facts` go into best.json:
    on how many images and steps the trials were trained. A search that the pipeline has finished stays as it is.

    Raises ValueError where no trial has an accuracy.
    """
    output = Path(output)
    if not _is_finished(inputs, output):
        best = _best(trials, space)
        options, training = settings(best["values"])
        write_csv(output / TRIALS, trials)
        write_json(output / BEST, {"builder_options": options, "training": training} | best | facts)
    return open_search(output)


def open_search(folder: str | Path) -> Search:
    """Read what `save_search` wrote."""
    best = read_json(Path(folder) / BEST)
    return Search(read_trials(Path(folder) / TRIALS, best["space"]), best)


def read_trials(path: Path, space: Space) -> pd.DataFrame:
    """trials.csv with the very values of the space, which CSV alone does not tell from other kinds."""
    frame = pd.read_csv(
        path, float_precision="round_trip", dtype=dict.fromkeys(space, str), keep_default_na=False, na_values=[""]
    )
    for name, values in space.items():
        frame[name] = frame[name].map({str(value): value for value in values}.__getitem__).astype(object)
    return frame.infer_objects()


def _is_finished(inputs: Mapping[str, Any], output: str | Path) -> bool:
    """Whether `output` holds the search that the pipeline asks for, so that only its page is rebuilt."""
    return bool(inputs.get("checkpoint")) and (Path(output) / BEST).is_file()


def _best(trials: pd.DataFrame, space: Space) -> dict[str, Any]:
    scored = trials[trials["validation_accuracy"].notna()]
    if scored.empty:
        first = trials.iloc[0]
        tried = ", ".join(f"{name} {first[name]}" for name in space)
        raise ValueError(f"every trial of the search failed; the first, with {tried}: {first[PROBLEM]}")
    row = scored.iloc[int(scored["validation_accuracy"].argmax())]
    return {
        "values": point_of(space, row),
        "trial": int(row["trial"]),
        "validation_accuracy": float(row["validation_accuracy"]),
        "points_total": count_points(space),
        "points_run": len(trials),
        "points_failed": len(trials) - len(scored),
        "space": {name: cells(values) for name, values in space.items()},
    }

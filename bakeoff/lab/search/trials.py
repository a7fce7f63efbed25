"""The trials of a search: Keras Tuner's random search, or a grid logged with TensorBoard HParams.

Under the pipeline each trial is a step of its own: the search finds what its notebook left in `inputs["trial-1"]` and
so on, and runs none itself.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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
TRIAL, POINTS = "trial.json", "points.json"
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
    """The rows of trials.csv, rewritten after each trial."""

    def __init__(self, run_trial: Trial, space: Space, inputs: Mapping[str, Any], output: str | Path) -> None:
        self.run_trial, self.space, self.path = run_trial, space, Path(output) / TRIALS
        self.made = [read_json(Path(folder) / TRIAL) for folder in _trials(inputs)]
        self.finished = _is_finished(inputs, output)
        self.rows: list[dict[Any, Any]] = []

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each trial: its number, its values as cells, SCORES and PROBLEM."""
        if self.finished:
            return read_trials(self.path, {name: cells(values) for name, values in self.space.items()})
        return pd.DataFrame(self.rows, columns=["trial", *self.space, *SCORES, PROBLEM])

    def find_or_run(self, trial: int, point: Values) -> dict[Any, Any]:
        """The row of the trial with these values, which is run if it is not made."""
        made = next((each for each in self.made if each["values"] == point), None) or measure(self.run_trial, point)
        values = {name: cells(self.space[name])[self.space[name].index(value)] for name, value in point.items()}
        row = {"trial": trial, **values, **{name: each for name, each in made.items() if name != "values"}}
        self.rows.append(row)
        write_csv(self.path, self.frame)
        return row


def measure(run_trial: Trial, values: Values) -> dict[str, Any]:
    """What `run_trial` gives for these values, and its seconds.

    Where it fails, or says that it had a problem, that stands in place of accuracies.
    """
    begun = time.perf_counter()
    try:
        found = dict(run_trial(values))
    except Exception as error:  # whatever it is, the other points are tried
        found = {PROBLEM: (str(error).strip() or type(error).__name__).splitlines()[0]}
    if found.get(PROBLEM):
        found |= dict.fromkeys(ACCURACIES)
    return found | {"seconds": time.perf_counter() - begun}


def save_trial(run_trial: Trial, values: Values, inputs: Mapping[str, Any], output: str | Path) -> dict[str, Any]:
    """Write trial.json: the values, and what `measure` says of them. What the pipeline has made stays as it is."""
    path = Path(output) / TRIAL
    if not (inputs.get("checkpoint") and path.is_file()):
        write_json(path, {"values": values} | measure(run_trial, values))
    return read_json(path)


def save_points(points: Sequence[Values], images: Mapping[str, int], output: str | Path) -> None:
    """Write points.json: the values of each trial, and how many images of each kind all of them get."""
    write_json(Path(output) / POINTS, {"points": list(points), "images": dict(images)})


def read_points(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What `save_points` wrote."""
    return read_json(Path(inputs["draw"]) / POINTS)


def random_points(space: Space, count: int, seed: int) -> list[Values]:
    """At most `count` different points, as `random_search` draws them."""
    points: list[Values] = []

    def draw(trial: int, point: Values) -> float:
        points.append(point)
        return 0.0

    with tempfile.TemporaryDirectory() as folder:
        _tuner(draw, space, count, seed, folder).search(verbose=0)
    return points


def random_search(
    run_trial: Trial, space: Space, *, trials: int, seed: int, inputs: Mapping[str, Any], output: str | Path
) -> pd.DataFrame:
    """`keras_tuner.RandomSearch` over the space by validation accuracy; its own records are in `output`/tuner.

    A finished one, of which only the page is rebuilt, draws nothing.
    """
    rows = Rows(run_trial, space, inputs, output)

    def score(trial: int, point: Values) -> float:
        accuracy = rows.find_or_run(trial, point).get("validation_accuracy")
        return FAILED if accuracy is None or math.isnan(accuracy) else float(accuracy)

    if not rows.finished:
        _tuner(score, space, trials, seed, output).search(verbose=0)
    return rows.frame


def _tuner(score: Callable[[int, Values], float], space: Space, trials: int, seed: int, folder: str | Path) -> Any:
    """Keras Tuner chooses the values and keeps the books in `folder`/tuner; `score` says what a trial is worth."""
    import keras_tuner

    class Tuner(keras_tuner.RandomSearch):
        def run_trial(self, trial: Any, *arguments: Any, **settings: Any) -> float:
            values = {name: trial.hyperparameters.get(name) for name in space}
            return score(int(trial.trial_id) + 1, point_of(space, values))

    choices = keras_tuner.HyperParameters()
    for name, values in space.items():
        choices.Choice(name, cells(values))
    return Tuner(
        hyperparameters=choices,
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_trials=trials,
        seed=int(generator(seed, "tuner").integers(1, 2**31)),  # Keras Tuner takes 0 for no seed at all
        directory=str(folder),
        project_name="tuner",
        overwrite=True,
    )


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


def _trials(inputs: Mapping[str, Any]) -> list[str]:
    """The folders of the trials that the pipeline has made."""
    return [folder for name, folder in inputs.items() if name.startswith("trial-")]


def _is_finished(inputs: Mapping[str, Any], output: str | Path) -> bool:
    """Whether `output` holds the search that the pipeline asks for, so that only its page is rebuilt."""
    return bool(_trials(inputs)) and (Path(output) / BEST).is_file()


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

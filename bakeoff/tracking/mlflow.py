"""With MLFLOW_TRACKING_URI set, each finished row of a report is an MLflow run too; the store stays the record."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError
from bakeoff.plan.steps import Row
from bakeoff.results import stage_folders
from bakeoff.store import NOTEBOOK, Store

VARIABLE = "MLFLOW_TRACKING_URI"
KEY = "bakeoff.key"  # the tag by which a row that was logged before is found
_LONGEST = 6000  # characters of a parameter


def wanted() -> bool:
    """Whether rows are to be logged; RequestError where the package is missing."""
    if not os.environ.get(VARIABLE):
        return False
    if find_spec("mlflow") is None:
        raise RequestError(f"{VARIABLE} is set and the package mlflow is missing; install bakeoff[mlflow] or unset it")
    return True


def log_rows(
    rows: Sequence[Row], table: Sequence[Mapping[str, Any]], store: Store, experiment: str, say: Callable[[str], None]
) -> None:
    """Log each row that is finished and not logged yet, in an experiment of the report's name."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient()
        found = client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else client.create_experiment(experiment)
        logged = 0
        for row, measured in zip(rows, table, strict=True):
            if measured["status"] == "ok":
                logged += _log(client, number, row, measured, store)
    except MlflowException as error:
        say(f"MLflow took no rows: {str(error).splitlines()[0]}; the report is written, run the command again.")
        return
    say(f"MLflow: {logged} {'row' if logged == 1 else 'rows'} logged in the experiment {experiment}.")


def _log(client: Any, experiment: str, row: Row, measured: Mapping[str, Any], store: Store) -> bool:
    """Log one row, unless it is there."""
    from mlflow.entities import Metric, Param

    key = row.steps["evaluate"].result_key
    query = f"tags.`{KEY}` = '{key}' and tags.variant = '{row.variant}' and attributes.status = 'FINISHED'"
    if client.search_runs([experiment], query):
        return False
    folders = {name: Path(folder) for name, folder in stage_folders(row, store).items()}
    run = client.create_run(experiment, run_name=row.folder_name, tags={KEY: key, "variant": row.variant}).info.run_id
    now = int(time.time() * 1000)
    numbers = [Metric(name, value, now, step) for name, step, value in metrics(measured, folders)]
    for begin in range(0, len(numbers), 1000):  # the most that a call takes
        client.log_batch(run, metrics=numbers[begin : begin + 1000])
    values = list(parameters(row).items())
    for begin in range(0, len(values), 100):
        client.log_batch(run, params=[Param(*each) for each in values[begin : begin + 100]])
    for name, folder in folders.items():
        client.log_artifact(run, str(folder / NOTEBOOK), f"notebooks/{name}")
    client.set_terminated(run)
    return True


def parameters(row: Row) -> dict[str, str]:
    """The row's parameters as text."""
    values = {**row.parameters.stage, "seed": row.seed, "weights": row.weights, "dataset": row.dataset.in_tables}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {name: text[:_LONGEST] for name, text in texts.items()}


def metrics(measured: Mapping[str, Any], folders: Mapping[str, Path]) -> list[tuple[str, int, float]]:
    """Name, epoch and value: the numbers of the row's line in the table (epoch 0), and the curves of its training."""
    table = [(name, 0, float(value)) for name, value in measured.items() if isinstance(value, int | float)]
    if "train" not in folders:
        return table
    with (folders["train"] / "history.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    curves = [(f"epoch/{name}", int(row["epoch"]), value) for row in rows for name, value in row.items() if value]
    return table + [(name, epoch, float(value)) for name, epoch, value in curves if name != "epoch/epoch"]

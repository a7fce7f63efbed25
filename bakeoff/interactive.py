"""The one door from a notebook to the pipeline: what a notebook opened by hand calls to find or make its inputs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakeoff.plan.steps import Stage

PROFILE = "quick"  # by hand, the earlier stages are made under its limits, and so is what the notebook leaves as it is
# Notebook -> the variant whose values its `parameters` cell shows; all others show those of VARIANT.
EXAMPLES = {
    "3_draw": "gray_grid",
    "3_trial": "gray_grid",
    "3_search": "gray_grid",
    "5_train_feature_extraction": "mobilenetv2_transfer",
    "5_train_fine_tune": "efficientnetv2_finetune",
    "5_train_airbench": "speedrun_cnn",
}
VARIANT = "simple_cnn"
BY_HAND = "by_hand"  # of a store: the folders of notebooks that were opened by hand; --clean removes older ones
OUTPUTS = "outputs"  # among the inputs of a copy that --open wrote: where each run of it gets a folder of its own
_given: set[str] = set()  # the output folders that this process was given
_taken: dict[str, Any] = {}  # the values that its notebook was given


def resolve_inputs(notebook: str, names: MutableMapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The folders of the earlier stages and this notebook's own folder: (inputs, output).

    `names` are the notebook's globals(). When papermill has injected `inputs` and `output` they are returned as they
    are; what this function gave before is not taken for that. A copy that `--open` wrote has its inputs, and gets a new
    folder in inputs["outputs"] each time. Opened by hand, the earlier stages are looked up in
    runs/ and made where they are missing, with the values of the `parameters` cell, and the output is a new folder in
    runs/by_hand. Values that are still those of the notebook's example get what the profile `quick` and this machine
    make of them: fewer epochs, the synthetic data set for one that cannot be had. That is said, and done in `names`.
    """
    if names.get("inputs") is not None and names.get("output") not in (None, *_given):
        return names["inputs"], names["output"]
    opened = names.get("inputs") or {}
    if OUTPUTS in opened:
        return opened, _new_folder(Path(opened[OUTPUTS]), notebook)
    from bakeoff.plan.code_digests import PROJECT

    output = _new_folder(PROJECT / "runs" / BY_HAND, notebook)
    inputs = _compare_inputs(Path(output)) if notebook == "7_compare" else _parents(notebook, names)
    return inputs, output


def _new_folder(place: Path, notebook: str) -> str:
    place.mkdir(parents=True, exist_ok=True)
    output = tempfile.mkdtemp(prefix=f"{notebook}-", dir=place)
    _given.add(output)
    return output


def _parents(notebook: str, names: MutableMapping[str, Any]) -> dict[str, Any]:
    stage = _stage(notebook)
    example = _example_values(notebook)
    changed = _changed(example, names)
    settings = tuple(f"{name}={json.dumps(value)}" for name, value in changed.items())
    pipeline = _pipeline((EXAMPLES.get(notebook, VARIANT),), settings)
    plan = pipeline.plan(look=True)
    row = plan.rows[0]
    if row.blocked:
        raise RuntimeError(row.blocked)
    pipeline.say_what(plan)
    own = row.steps.get(stage.name, row.later.get(stage.name))
    if own is not None:
        _take(own.parameters, example.keys() - changed.keys(), names)
    wanted = [row.steps[name] for name in stage.parents if name in row.steps]
    with pipeline.runner(plan) as runner:
        for step in wanted:
            if step.name in plan.reasons:
                print(f"Making {step.stage.name} first ...")
                if not runner.step(plan, step, plan.reasons[step.name]):
                    raise RuntimeError(f"{step.stage.name} failed: {runner.failures[step.name]}")
    return {step.stage.name: str(pipeline.store.folder(*step.name)) for step in wanted}


def _stage(notebook: str) -> Stage:
    from bakeoff.plan.steps import STAGES, TRAINING_NOTEBOOKS

    stages = {stage.notebook: stage for stage in STAGES.values()}
    stages |= dict.fromkeys(TRAINING_NOTEBOOKS.values(), STAGES["train"])
    if notebook not in stages:
        names = ", ".join([*stages, "7_compare"])
        raise ValueError(f"resolve_inputs takes the name of a notebook, not {notebook!r}: one of {names}")
    return stages[notebook]


def _example_values(notebook: str) -> dict[str, Any]:
    """What the notebook's `parameters` cell says unless its reader has changed it, but for the source's figures."""
    from bakeoff.params import load_parameters
    from bakeoff.plan.code_digests import NOTEBOOKS, read_parameter_names

    values = load_parameters([EXAMPLES.get(notebook, VARIANT)], "full")[0].stage
    names = read_parameter_names(NOTEBOOKS / f"{notebook}.ipynb")
    return {name: values[name] for name in names if name in values and name != "published"}


def _changed(example: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the notebook's reader has changed: neither the example's nor what `_take` made of them."""
    return {name: names[name] for name, value in example.items() if names[name] not in (value, _taken.get(name, value))}


def _take(values: Mapping[str, Any], unchanged: set[str], names: MutableMapping[str, Any]) -> None:
    """Give the names that the reader left as they were the values that a step of the profile has, and say so."""
    limited = {name: values[name] for name in sorted(unchanged) if names[name] != values[name]}
    names.update(limited)
    _taken.update(limited)
    if limited:
        said = ", ".join(f"{name} = {value!r}" for name, value in limited.items())
        print(f"By hand, as in the profile {PROFILE}: {said}. Assign other values after this cell.")


def _compare_inputs(output: Path) -> dict[str, Any]:
    """The quick results that are there; where there are none, those of two small variants, made now."""
    from bakeoff import results
    from bakeoff.claims import audit
    from bakeoff.pipeline import audit_rows
    from bakeoff.store import write_atomically

    pipeline = _pipeline(None, ())
    plan = pipeline.plan(look=False)
    rows = [row for row in plan.rows if "evaluate" in results.stage_folders(row, pipeline.store)]
    if not rows:
        pipeline = _pipeline(("ann", VARIANT), ())
        plan = pipeline.plan(look=True)
        with pipeline.runner(plan) as runner:
            runner.run(plan)
        rows = list(plan.rows)
    table = results.collect(rows, pipeline.store, {})
    write_atomically(output / "results.csv", results.to_csv(table))
    write_atomically(output / "claims.csv", audit.to_csv(audit_rows(rows, table, pipeline.store)))
    variants = {row.folder_name: results.stage_folders(row, pipeline.store) for row in rows}
    return {**{name: str(output / f"{name}.csv") for name in ("results", "claims")}, "variants": variants}


def _pipeline(variants: tuple[str, ...] | None, settings: tuple[str, ...]) -> Any:
    from bakeoff.pipeline import Pipeline, Request
    from bakeoff.plan.code_digests import PROJECT
    from bakeoff.plan.resolve import default_data_dir

    request = Request(
        variants=variants,
        profile=PROFILE,
        settings=settings,
        jobs=1,
        data_dir=default_data_dir(),
        runs_dir=PROJECT / "runs",
        reports_dir=PROJECT / "reports",
    )
    return Pipeline(request, print)

"""The one door from a notebook to the pipeline: what a notebook opened by hand calls to find or make its inputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

PROFILE = "quick"  # by hand, the earlier stages are made under its limits
VARIANT = "simple_cnn"  # base.yaml's defaults are this variant's
_given: dict[str, str] = {}  # stage -> the output folder that this process was given for it


def resolve_inputs(stage: str, names: MutableMapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The folders of the earlier stages and this stage's own folder: (inputs, output).

    `names` are the notebook's globals(). When papermill has injected `inputs` and `output` they are returned as they
    are; what this function gave before is not taken for that. Opened by hand, the earlier stages are looked up in
    runs/ and made where they are missing, with the values of the `parameters` cell; the output goes to
    runs/by_hand/<stage>, emptied first. The stage load has no earlier stage: its data set is downloaded where it can
    be, else `names["dataset"]` becomes the synthetic fallback, and that is said.
    """
    if names.get("inputs") is not None and names.get("output") not in (None, _given.get(stage)):
        return names["inputs"], names["output"]
    from bakeoff.code import PROJECT

    output = PROJECT / "runs" / "by_hand" / stage
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    inputs = _compare_inputs(output) if stage == "compare" else _parents(stage, names)
    _given[stage] = str(output)
    return inputs, str(output)


def _parents(stage: str, names: MutableMapping[str, Any]) -> dict[str, Any]:
    from bakeoff.plan import STAGES

    pipeline = _pipeline((VARIANT,), _settings(stage, names))
    plan = pipeline.plan(look=True)
    row = plan.rows[0]
    if stage == "load":
        names["dataset"] = row.dataset.name.split()[0]
        print(f"Data: {row.dataset.name}.")
    wanted = [row.steps[name] for name in STAGES[stage].parents if name in row.steps]
    with pipeline.runner(plan) as runner:
        for step in wanted:
            if step.name in plan.reasons:
                print(f"Making {step.stage.name} first ...")
                if not runner.step(plan, step, plan.reasons[step.name]):
                    raise RuntimeError(f"{step.stage.name} failed: {runner.failures[step.name]}")
    return {step.stage.name: str(pipeline.store.folder(*step.name)) for step in wanted}


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


def _settings(stage: str, names: Mapping[str, Any]) -> tuple[str, ...]:
    from bakeoff.code import NOTEBOOKS, read_parameter_names
    from bakeoff.plan import STAGES

    declared = read_parameter_names(NOTEBOOKS / f"{STAGES[stage].notebook}.ipynb")
    # What the profile limits stays limited unless the notebook says a number itself.
    given = {name: names[name] for name in declared if not (name.startswith("max_") and names[name] is None)}
    return tuple(f"{name}={json.dumps(value)}" for name, value in given.items())


def _pipeline(variants: tuple[str, ...] | None, settings: tuple[str, ...]) -> Any:
    from bakeoff.code import PROJECT
    from bakeoff.pipeline import Pipeline, Request
    from bakeoff.resolve import default_data_dir

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

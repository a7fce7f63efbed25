"""The whole quick run against a loop of papermill commands over the same notebooks and parameters."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from benchmarks.common import NO_NETWORK_SET, Case, pipeline, run, say

_LIMIT = 0.4
_BEYOND = 1.05  # the loop, which takes the better part of an hour, is stopped when the limit is kept by this factor


def measure(folder: Path) -> Case:
    """Seconds from an empty store; the loop has no comparison and no report to make, and takes all cores."""
    request = ("--all", "--profile", "quick", "--set", NO_NETWORK_SET)
    ours = pipeline(*request, folder=folder / "ours")
    say(f"    pipeline: {ours:.0f} s")
    loop, done, steps = _loop(folder, ours / _LIMIT * _BEYOND)
    whole = done == steps
    own, ratio = "python pipeline.py --all --profile quick, in minutes", "that over the papermill loop"
    ratio += "" if whole else f", which had done {done} of {steps} steps when it was stopped: less than"
    return Case(
        "The quick report",
        "All 22 variants in `quick` on the built-in data. The loop runs `papermill` for each distinct step, one after "
        "the other, with the same parameters and folders.",
        {"python pipeline.py --all --profile quick": [ours], f"papermill commands, {done} of {steps} steps": [loop]},
        {own: ours / 60, ratio: ours / loop},
        {own: 12, ratio: _LIMIT},
    )


def _loop(folder: Path, enough: float) -> tuple[float, int, int]:
    """Seconds of papermill commands until all is done or `enough` have passed; steps done, and steps there are."""
    from bakeoff.params import load_parameters
    from bakeoff.plan.code_digests import NOTEBOOKS, Code
    from bakeoff.plan.machine import find_backend
    from bakeoff.plan.resolve import Resolver, import_environment
    from bakeoff.plan.steps import make_plan
    from bakeoff.store import Store

    store = Store(folder / "loop")
    resolver = Resolver(store, "quick", folder / "no-data", print)
    plan = make_plan(load_parameters(None, "quick", (NO_NETWORK_SET,)), resolver, Code(store.digests()), store)
    total, environment = 0.0, import_environment(find_backend(), folder / "no-data")
    for number, step in enumerate(plan.steps, start=1):
        output = store.folder(*step.name)
        output.mkdir(parents=True)
        inputs = {name: str(store.folder(name, key)) for name, key in step.inputs.items()}
        values = {**step.parameters, "inputs": inputs, "output": str(output)}
        (output / "parameters.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        notebook = NOTEBOOKS / f"{step.stage.notebook}.ipynb"
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-f", str(output / "parameters.yaml")]
        command += ["--cwd", str(output), str(notebook), str(output / "notebook.ipynb")]
        total += run(command, output, environment)
        say(f"    papermill, step {number} of {len(plan.steps)}: {total:.0f} s")
        if total > enough:
            break
    return total, number, len(plan.steps)

"""--open: a stage's notebook with a variant's values and inputs filled in, to change by hand in JupyterLab."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from bakeoff import warm
from bakeoff.errors import RequestError, StepError, nearest
from bakeoff.executors.kernels import COLD_KERNEL
from bakeoff.interactive import OUTPUTS
from bakeoff.pipeline import Pipeline
from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.resolve import python_path
from bakeoff.plan.steps import Name, Plan, Row, Step, parent_name
from bakeoff.store import write_atomically

FOLDER = "open"  # beside the store: a folder for each variant


def open_notebook(pipeline: Pipeline, stage: str, editor: str) -> int:
    """Make the stages before `stage` of the request's variant, and open a copy of its notebook; the editor's exit code.

    `editor` none writes the copy and says the command. Nothing that is run in the copy reaches the store.
    """
    if editor == "code" and not shutil.which("code"):
        raise RequestError("--editor code: there is no command `code` on the path; leave it out for JupyterLab")
    pipeline.freeze()
    plan = pipeline.plan(look=False)
    if plan.rows[0].blocked or _before(plan, stage) & plan.reasons.keys():
        plan = pipeline.plan(look=True)
    row = plan.rows[0]

    def grow(made: Step) -> None:
        plan.grow(made, pipeline.store)
        _leave_out_the_rest(plan, stage)

    _leave_out_the_rest(plan, stage)
    with pipeline.runner(plan) as runner:
        runner.on_finished = grow
        runner.run(plan)
        for failure in runner.failures.values():
            raise StepError(f"{row.variant} {stage} cannot be opened", None, failure)
        step = row.steps[stage]
        copy = _write_copy(pipeline, row, step)
        pipeline.say(f"{copy} has the values of {row.variant}; what is run there stays in {copy.parent / OUTPUTS}.")
        command = ["code", str(copy)] if editor == "code" else [sys.executable, "-m", "jupyterlab", str(copy)]
        if editor == "none":
            pipeline.say(f"Open it: {shlex.join(command)}")
            return 0
        environment = os.environ | runner.kernel_environment(step)
        if not row.parameters.network:  # edited code of the lab is what a kernel started anew imports
            environment["PYTHONPATH"] = python_path(PROJECT)
        server = runner.kernel_server() if editor == "jupyter" else {}
        return subprocess.call(command, env=environment | server)


def _leave_out_the_rest(plan: Plan, label: str) -> None:
    """Have nothing run that does not come before the step of this label."""
    before = _before(plan, label)
    plan.reasons = {name: reason for name, reason in plan.reasons.items() if name in before}


def _before(plan: Plan, label: str) -> set[Name]:
    """The names of all steps that the first row's step of this label follows from; RequestError where it has none."""
    row = plan.rows[0]
    if row.blocked:
        raise RequestError(f"{row.variant} cannot be run: {row.blocked}")
    stages = [*row.steps, *row.unknown]
    if label not in stages:
        raise RequestError(f"--open: {row.variant} has no stage {label!r}; {nearest(label, stages)}")
    known = {each.name: each for each in plan.steps}
    # Of a step that follows from what a search finds, it is the search that comes before it.
    found, left = set[Name](), list(row.steps[label].parents if label in row.steps else [row.steps["search"].name])
    while left:
        name = left.pop()
        found.add(name)
        left += known[name].parents
    return found


def _write_copy(pipeline: Pipeline, row: Row, step: Step) -> Path:
    """The notebook as papermill fills it in, under a name that no earlier copy has."""
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    folder = pipeline.store.root.parent / FOLDER / row.folder_name
    inputs = {item[0]: str(pipeline.store.folder(*parent_name(item))) for item in step.inputs.items()}
    inputs |= {"images": step.images} if step.images else {}
    inputs[OUTPUTS] = str(folder / OUTPUTS)
    notebook = load_notebook_node(str(pipeline.code.project / "notebooks" / f"{step.stage.notebook}.ipynb"))
    filled = parameterize_notebook(notebook, {**step.parameters, "inputs": inputs}, comment=f"{row.variant}'s")
    filled.metadata.kernelspec = {"name": _kernel(), "display_name": _kernel(), "language": "python"}
    copy = _free(folder / f"{step.stage.notebook}.ipynb")
    write_atomically(copy, nbformat.writes(filled))
    return copy


def _free(path: Path) -> Path:
    """`path`, or with a number where there is a file already: an earlier copy may hold its reader's work."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def _kernel() -> str:
    """The warm kernel where Jupyter knows how to start it, which `make setup` sees to."""
    known = entry_points(group="jupyter_client.kernel_provisioners").names
    return warm.KERNEL if warm.supported() and warm.KERNEL in known else COLD_KERNEL

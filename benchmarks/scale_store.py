"""Run in a stub project by benchmarks/scale.py: plans all variants, fills their store, times the parts; prints JSON.

Seconds are those of the processor: all of it is one thread's work, and this leaves out what else the machine does.
Of the events they are those of the scheduler's thread, since others publish.

python scale_store.py TEMPLATE FOLDER [--no-report]
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from bakeoff import results
from bakeoff.executors import Task
from bakeoff.executors.local import LocalExecutor
from bakeoff.pipeline import Pipeline, Request, audit_basis, audit_rows
from bakeoff.plan.steps import Plan, compare_step
from bakeoff.report import PAGE, STAMP, Report
from bakeoff.report.crate import COPY, METADATA, Crate
from bakeoff.report.facts import facts
from bakeoff.report.pages import MOST_CHAPTERS, page_path
from bakeoff.run.execute import Made
from bakeoff.run.loop import Loop
from bakeoff.run.progress import Lines
from bakeoff.run.runner import Runner
from bakeoff.store import MANIFEST, Store, digest_file, write_atomically, write_manifest

SETTINGS = ("dataset=shapes10",)


def main(template: Path, folder: Path, reported: bool) -> None:
    """Everything, in the order in which one needs the other."""
    found: dict[str, float] = {}
    request = Request(
        None, "smoke", SETTINGS, folder / "data", folder / "runs", folder / "reports", pdf=False, report_name="scale"
    )
    begun = time.process_time()
    pipeline = Pipeline(request, lambda _: None)
    plan = pipeline.plan(look=False)
    found["plan"] = time.process_time() - begun
    found["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found["steps"] = len(plan.steps)
    found |= _events(pipeline, plan)
    _fill(plan, pipeline.store, template)
    found |= _nothing_to_do(pipeline, reported)
    found["gigabytes at the end"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(found), flush=True)


def _nothing_to_do(pipeline: Pipeline, reported: bool) -> dict[str, float]:
    """The parts of a run that finds everything made; the report is written once."""
    found: dict[str, float] = {}

    def timed(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.process_time()
        result = work(*arguments)
        found[name] = time.process_time() - begun
        print(f"    {name}: {found[name]:.1f} s", file=sys.stderr, flush=True)
        return result

    store = pipeline.store
    for when in ("first look", "nothing to do"):
        plan = timed(f"{when}: plan", pipeline.plan, False)
        if not set(plan.reasons) <= {plan.background.name}:
            raise RuntimeError(f"{len(plan.reasons)} steps are to run in a store that was filled")
        timed(f"{when}: check of small files", pipeline._damaged, plan)
        table = timed(f"{when}: results", results.collect, plan.rows, store, {})
        basis = timed(f"{when}: what claims are judged by", audit_basis, plan.rows, pipeline.code, store)
        texts = {"results": results.to_csv(table), "claims": basis}
        step = timed(f"{when}: comparison", compare_step, plan.rows, texts, pipeline.code, store)
        folder = pipeline.request.reports_dir / "scale"
        findings = partial(timed, f"{when}: claims", audit_rows, plan.rows, table, store)
        report = Report(folder, "smoke", plan, table, texts["results"], step, findings)
        if reported:
            timed(f"{when}: report", report.build, store, print, False)
    if not reported:
        _imitate(report, store)
        if timed("nothing to do: report", report.build, store, print, False):
            raise RuntimeError("the report's check did not find what it looks for")
    crate = Crate(folder, plan, store, step, facts(plan, "smoke", store))
    timed("crate", crate.text, "scale", [])
    return found


def _imitate(report: Report, store: Store) -> None:
    """Files where a written report has them, and its note, so that nothing of it is to be written."""
    pages = [page_path(row) for row in report.plan.rows[MOST_CHAPTERS:]]
    for name in [PAGE, METADATA, COPY, *pages]:
        write_atomically(report.folder / name, "a page")
    digest = digest_file(report.folder / PAGE)
    note: dict[str, Any] = {"key": report._key(store), "digest": digest, "pdf": None, "crate": digest, "facts": {}}
    write_atomically(report.folder / STAMP, json.dumps(note | {"pages": {name: ["", digest] for name in pages}}))


class _AtOnce(LocalExecutor):
    """In place of a run's own: what it is given is made at once."""

    def submit(self, task: Task) -> Future[Made]:
        """Nothing is executed."""
        made: Future[Made] = Future()
        made.set_result(Made(0.0, {}, False))
        return made


def _events(pipeline: Pipeline, plan: Plan) -> dict[str, float]:
    """Milliseconds of the scheduler's thread from the end of a step to the start of the next; steps are published."""
    times: list[float] = []
    with Runner(pipeline.store, plan.machine, Path(), lambda _: None, 16, cold_kernels=True) as runner:
        runner._executor = _AtOnce(1, runner._kernels)
        runner.on_finished = lambda _: times.append(time.thread_time())
        loop = Loop(runner, plan, Lines(plan, pipeline.store, lambda _: None))
        begun = time.thread_time()
        loop.run()
    taken = [1000 * (after - before) for before, after in zip([begun, *times], times, strict=False)]
    return {"milliseconds an event": statistics.fmean(taken), "longest event": sorted(taken)[-10]}


def _fill(plan: Plan, store: Store, template: Path) -> None:
    """Each step's files: those of the template, linked; nobody waits for the disk meanwhile."""
    os.fsync = lambda fd: None
    made: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in template.glob(f"*/*/{MANIFEST}"):
        made[path.parent.parent.name] = path.parent, json.loads(path.read_text(encoding="utf-8"))
    for step in plan.steps:
        source, manifest = made[step.stage.name]
        target = store.folder(*step.name)
        target.mkdir(parents=True, exist_ok=True)
        for name in manifest["files"]:
            if not (target / name).exists():
                os.link(source / name, target / name)
        own = {"result_key": step.result_key, "page_key": step.page_key, "key_inputs": step.key_inputs}
        own |= {"parameters": dict(step.parameters), "inputs": dict(step.inputs)}
        write_manifest(target, {**manifest, **own})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--no-report" not in sys.argv)

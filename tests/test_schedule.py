"""Which step starts when: the longest way first, within cores and GPUs; expectations from earlier runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bakeoff.code import Code
from bakeoff.params import load_parameters
from bakeoff.plan import STAGES, Plan, Row, Step, make_plan
from bakeoff.resolve import Machine, Resolver
from bakeoff.runner import Runner
from bakeoff.schedule import Devices, Schedule, expected_seconds, longest_way
from bakeoff.store import Store

CPU = Machine("tensorflow", 2, {})


def _step(name: str, stage: str = "train", inputs: dict[str, str] | None = None, **fields: Any) -> Step:
    return Step(
        STAGES[stage], {}, inputs or {}, {"versions": {}, "settings": {}}, name, name, variants=[name], **fields
    )


def _schedule(steps: list[Step], seconds: dict[str, float], machine: Machine = CPU, jobs: int = 2) -> Schedule:
    expected = {step.name: seconds.get(step.result_key, 1.0) for step in steps}
    return Schedule(machine, jobs, Devices(machine.gpus), expected, longest_way(steps, expected))


def _names(steps: list[Step]) -> list[str]:
    return [step.result_key for step in steps]


def test_the_longest_chain_begins_first() -> None:
    short, first = _step("short", "build"), _step("first", "build")
    steps = [short, first, _step("long", inputs={"build": "first"})]
    schedule = _schedule(steps, {"short": 5, "first": 1, "long": 60}, jobs=1)
    assert schedule.way == {("build", "short"): 5, ("train", "long"): 60, ("build", "first"): 61}
    assert _names(schedule.startable(steps, [])) == ["first"]
    assert _names(schedule.startable([short, steps[2]], [])) == ["long"]  # its parent is done


def test_small_steps_go_beside_each_other_and_a_big_one_alone() -> None:
    big, small, other = _step("big", threads=2), _step("small"), _step("other")
    schedule = _schedule([big, small, other], {"big": 100})
    assert _names(schedule.startable([big, small, other], [])) == ["big"]
    assert _names(schedule.startable([big, other], [small])) == ["other"]
    assert schedule.startable([small], [big]) == []
    assert _names(_schedule([big], {}, Machine("tensorflow", 1, {})).startable([big], [])) == ["big"]  # never stuck


def test_no_more_steps_than_jobs() -> None:
    steps = [_step(name) for name in "abc"]
    assert len(_schedule(steps, {}, Machine("tensorflow", 16, {}), jobs=2).startable(steps, [])) == 2


def test_what_remains_is_the_longest_way_or_the_work_of_all_cores() -> None:
    steps = [_step(name) for name in "abcd"]
    assert _schedule(steps, dict.fromkeys("abcd", 10.0)).remaining(steps, []) == 20
    assert _schedule(steps, {"a": 90.0}).remaining(steps[1:], [(steps[0], 30.0, 0.0)]) == 60


def test_what_remains_of_a_training_follows_from_its_epochs() -> None:
    steps = [_step(name) for name in "ab"]
    assert _schedule(steps, {"a": 10.0, "b": 0.0}).remaining(steps[1:], [(steps[0], 30.0, 0.1)]) == 270


def test_gpus_are_leased_by_id_and_shared_by_small_steps() -> None:
    devices = Devices(("0", "GPU-7"))
    whole, halves = _step("whole", gpu_share=1.0), [_step(f"half{n}", gpu_share=0.5) for n in range(3)]
    assert devices.lease(whole) == "0"
    assert [devices.lease(half) for half in halves] == ["GPU-7", "GPU-7", ""]  # no room for the third
    devices.release(whole)
    assert devices.lease(halves[2]) == "0"
    assert devices.lease(_step("cpu")) == ""  # does not ask for one
    for step in [*halves, whole]:
        devices.release(step)
    assert devices.room(1.0) is not None


def test_steps_wait_for_a_free_gpu_while_cpu_steps_go_on() -> None:
    machine = Machine("tensorflow", 16, {}, ("0",))
    running, waiting, cpu = _step("running", gpu_share=0.7), _step("waiting", gpu_share=0.7), _step("cpu")
    small = _step("small", gpu_share=0.3)
    schedule = _schedule([running, waiting, cpu, small], {"waiting": 100}, machine, jobs=8)
    assert _names(schedule.startable([waiting, cpu, small], [running])) == ["cpu", "small"]
    assert _names(schedule.startable([waiting, running], [])) == ["waiting"]  # both at once do not fit


def test_seconds_of_an_earlier_run_are_scaled_by_the_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    resolver = Resolver(store, "quick", tmp_path, print)
    code = Code(store.digests())

    def plan(*settings: str) -> Plan:
        return make_plan(
            load_parameters(("simple_cnn",), "quick", ("dataset=shapes10", *settings)), resolver, code, store
        )

    first = plan("epochs=2")
    train = next(step for step in first.steps if step.stage.name == "train")
    guessed = expected_seconds(first, store)[train.name]
    folder = store.folder(*train.name)
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("")
    store.commit(
        *train.name, {"key_inputs": train.key_inputs, "parameters": dict(train.parameters), "seconds": 100 * guessed}
    )
    (tmp_path / "latest.json").write_text(json.dumps({"simple_cnn/train": train.result_key}))
    twice = plan("epochs=4", "max_epochs=4")
    expected = expected_seconds(twice, store)
    train = next(step for step in twice.steps if step.stage.name == "train")
    assert 120 * guessed < expected[train.name] < 200 * guessed


@pytest.mark.parametrize("count", [1, 2])
def test_kernels_see_the_gpu_that_was_leased_to_them_and_cpu_steps_see_none(tmp_path: Path, count: int) -> None:
    cells = [
        nbformat.v4.new_code_cell("inputs, output = {}, ''", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import os, pathlib, time\ntime.sleep(1)\n"
            "for name in ('training.json', 'history.csv'):\n"
            "    pathlib.Path(output, name).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
        ),
    ]
    notebook = tmp_path / "stub.ipynb"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), notebook)
    stage = dataclasses.replace(STAGES["train"], notebook=str(notebook.with_suffix("")))
    shares = {"a": 1.0, "b": 1.0, "c": 0.0}
    steps = [dataclasses.replace(_step(name, gpu_share=share), stage=stage) for name, share in shares.items()]
    machine = Machine("tensorflow", 4, {}, tuple("01"[:count]))
    store = Store(tmp_path / "runs")
    plan = Plan(_rows(steps), steps, {step.name: "new" for step in steps}, machine, steps[0])
    with Runner(store, machine, tmp_path, print, jobs=3) as runner:
        runner.run(plan)
    seen = {step.result_key: (store.folder(*step.name) / "history.csv").read_text() for step in steps}
    assert not runner.failures and seen["c"] == "-1"
    assert {seen["a"], seen["b"]} == ({"0"} if count == 1 else {"0", "1"})


def _rows(steps: list[Step]) -> list[Row]:
    parameters = load_parameters(("simple_cnn",), "smoke")[0]
    source: Any = None
    return [Row(parameters, 0, 0, source, "none", {"train": step}) for step in steps]

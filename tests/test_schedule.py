"""Which step starts when: the longest way first, within cores and GPUs; expectations from earlier runs."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bakeoff.params import load_parameters
from bakeoff.plan.code_digests import Code
from bakeoff.plan.machine import Machine
from bakeoff.plan.resolve import Resolver
from bakeoff.plan.steps import STAGES, Plan, Row, Step, make_plan
from bakeoff.run.devices import Devices
from bakeoff.run.estimates import Estimate, estimate
from bakeoff.run.runner import Runner
from bakeoff.run.schedule import Running, Schedule
from bakeoff.store import Store
from tests.stubs import LIGHT, commit

CPU = Machine("tensorflow", 2, {})
GIB = 2**30


def _step(name: str, stage: str = "train", inputs: dict[str, str] | None = None, **fields: Any) -> Step:
    return Step(
        STAGES[stage],
        {},
        inputs or {},
        {"versions": {}, "code": {}, "settings": {}},
        name,
        name,
        variants=[name],
        **fields,
    )


def _schedule(
    steps: list[Step],
    seconds: dict[str, float],
    machine: Machine = CPU,
    jobs: int = 2,
    free: int = 64 * GIB,
    memory: int = GIB,
    measured: bool = False,
) -> Schedule:
    schedule = Schedule(machine, jobs, Devices(machine.gpus), lambda: free)
    schedule.add(steps, {step.name: Estimate(seconds.get(step.result_key, 1.0), memory, measured) for step in steps})
    return schedule


def _start(schedule: Schedule) -> list[Step]:
    """All that the schedule lets start now."""
    return list(iter(schedule.start_next, None))


def _names(steps: list[Step]) -> list[str]:
    return [step.result_key for step in steps]


def test_the_longest_chain_begins_first() -> None:
    short, first = _step("short", "build"), _step("first", "build")
    long = _step("long", inputs={"build": "first"})
    schedule = _schedule([short, first, long], {"short": 5, "first": 1, "long": 60}, jobs=1)
    assert schedule.way == {("build", "short"): 5, ("train", "long"): 60, ("build", "first"): 61}
    assert _start(schedule) == [first]
    assert _start(schedule) == []  # one job
    schedule.finished(first)
    assert _start(schedule) == [long]


def test_small_steps_go_beside_each_other_and_a_big_one_alone() -> None:
    big, small, other = _step("big", threads=2), _step("small"), _step("other")
    schedule = _schedule([big, small, other], {"big": 100})
    assert _start(schedule) == [big]
    schedule.finished(big)
    assert _start(schedule) == [small, other]
    assert _start(_schedule([big], {}, Machine("tensorflow", 1, {}))) == [big]  # never stuck


def test_no_more_steps_than_jobs() -> None:
    steps = [_step(name) for name in "abc"]
    assert len(_start(_schedule(steps, {}, Machine("tensorflow", 16, {}), jobs=2))) == 2


def test_a_step_that_needs_all_cores_is_passed_by_no_more_work_than_its_own() -> None:
    """On the code before, small steps went first for as long as there were any."""
    big, small = _step("big", threads=2), [_step(f"small{number}") for number in range(100)]
    way = {"small0": 100, "big": 30} | {each.result_key: 10 for each in small[1:]}
    schedule = _schedule([big, *small], way)
    running, started = _start(schedule), 0
    while big not in running:
        started += len(running)
        schedule.finished(running.pop())
        running += _start(schedule)
        assert started < 50
    assert running == [big]


def test_what_another_run_makes_takes_no_job() -> None:
    """On the code before, the slots of a second run filled with steps that the first one held, at every look."""
    steps = [_step(name) for name in "abcd"]
    schedule = _schedule(steps, {}, Machine("tensorflow", 16, {}))
    for step in _start(schedule):
        schedule.made_elsewhere_until_released(step)
    assert _names(_start(schedule)) == ["c", "d"]
    schedule.finished(steps[2])
    assert _start(schedule) == []
    schedule.look_again(steps[0])
    assert _start(schedule) == [steps[0]]


def test_memory_is_reserved_for_what_runs() -> None:
    """On the code before, 16 trainings started in 5 GiB: at that moment each had found 4 free."""
    steps = [_step(f"{number}") for number in range(16)]
    machine = Machine("tensorflow", 16, {})
    schedule = _schedule(steps, {}, machine, jobs=16, free=5 * GIB, memory=2 * GIB)
    assert len(_start(schedule)) == 2
    schedule.finished(steps[0])
    assert len(_start(schedule)) == 1
    assert len(_start(_schedule(steps, {}, machine, jobs=16, free=GIB, memory=2 * GIB))) == 1  # alone always


def test_a_failed_step_takes_all_that_wait_for_it() -> None:
    first, other = _step("first", "build"), _step("other", "load")
    second = _step("second", inputs={"build": "first", "load": "other"})
    third = _step("third", "evaluate", inputs={"train": "second"})
    schedule = _schedule([first, other, second, third], {})
    assert set(_start(schedule)) == {first, other}
    assert schedule.failed(first) == [second, third]
    schedule.finished(other)
    assert not schedule.waiting and _start(schedule) == []


def test_damaged_files_of_a_parent_put_it_before_its_child_again() -> None:
    parent, child = _step("parent", "build"), _step("child", inputs={"build": "parent"})
    schedule = _schedule([child], {})
    assert _start(schedule) == [child]  # the parent is made, it is thought
    schedule.again(parent, child)
    assert _start(schedule) == [parent]
    schedule.finished(parent)
    assert _start(schedule) == [child]


def test_steps_can_be_added_while_others_run() -> None:
    first, trial = _step("first", "build"), _step("trial", "search", inputs={"build": "first"}, number=1)
    schedule = _schedule([first], {})
    assert _start(schedule) == [first]
    schedule.add([trial], {trial.name: Estimate(1.0, GIB)})
    assert _start(schedule) == []
    schedule.finished(first)
    assert _start(schedule) == [trial] and trial.label == "search-1" and trial.parents == (("build", "first"),)


def test_an_event_takes_no_longer_in_a_plan_of_thirty_thousand_steps() -> None:
    """80 ms on the code before: lists were searched and sorted at each event."""
    stages = ("load", "preprocess", "build", "train", "evaluate")
    steps = []
    for row in range(6000):
        for number, stage in enumerate(stages):
            inputs = {stages[number - 1]: f"{row}"} if number else {}
            steps.append(_step(f"{row}", stage, inputs, threads=2 if stage == "train" else 1))
    schedule = _schedule(steps, {}, Machine("tensorflow", 16, {}), jobs=16)
    running, taken = _start(schedule), []
    for _ in range(2000):
        begun = time.perf_counter()
        schedule.finished(running.pop(0))
        running += _start(schedule)
        schedule.remaining([Running(step, 1.0, None) for step in running])
        taken.append(time.perf_counter() - begun)
    assert statistics.median(taken) < 0.002


def test_what_remains_is_the_critical_path_or_the_work_of_all_cores() -> None:
    steps = [_step(name) for name in "abcd"]
    assert _schedule(steps, dict.fromkeys("abcd", 10.0), measured=True).remaining([]) == (20, False)
    schedule = _schedule(steps, {"a": 90.0}, measured=True)
    assert steps[0] in _start(schedule)
    assert schedule.remaining([Running(steps[0], 30.0, None)]) == (60, False)


def test_what_remains_of_a_training_follows_from_its_epochs() -> None:
    steps = [_step(name) for name in "ab"]
    schedule = _schedule(steps, {"a": 10.0, "b": 0.0})
    assert schedule.start_next() is steps[0]
    assert schedule.remaining([Running(steps[0], 30.0, 270.0)]) == (270, False)


def test_no_time_left_is_said_from_guesses() -> None:
    """58 min were said of a training of 6, and 16 min in a run of 9: by parameters x images x epochs."""
    steps = [_step(name) for name in "ab"]
    schedule = _schedule(steps, {"a": 3480.0, "b": 5.0})
    assert schedule.start_next() is steps[0]
    assert schedule.remaining([Running(steps[0], 30.0, None)]) is None
    assert schedule.remaining([Running(steps[0], 30.0, 300.0)]) == (305 / 2 if 305 / 2 > 300 else 300, False)
    # What follows is only guessed: of a few seconds it is known that they are few.
    assert schedule.remaining([Running(steps[0], 330.0, 4.0)]) == (60, True)


def test_a_step_waits_for_parents_that_it_gets_while_it_waits() -> None:
    draw, search = _step("draw", "draw"), _step("search", "search", {"draw": "draw"})
    schedule = _schedule([draw, search], {"search": 20})
    assert _start(schedule) == [draw]
    trials = [_step(name, "trial", number=number) for number, name in enumerate("ab", start=1)]
    search.inputs.update({trial.label: trial.result_key for trial in trials})
    schedule.add([*trials, search], dict.fromkeys([each.name for each in [*trials, search]], Estimate(5, GIB)))
    assert schedule.way == {draw.name: 21, search.name: 20} | {trial.name: 25 for trial in trials}
    schedule.finished(draw)
    assert _start(schedule) == trials
    for trial in trials:
        assert not _start(schedule)
        schedule.finished(trial)
    assert _start(schedule) == [search]


def test_what_trials_take_is_learned_from_the_first_three() -> None:
    trials = [_step(f"{n}", "trial", number=n) for n in range(1, 9)]
    for trial in trials:
        trial.variants[:] = ["grid"]
    schedule = _schedule(trials, {trial.result_key: 300.0 for trial in trials}, jobs=1)
    for left in (None, None, (60, False)):  # two trials tell of the others, though not as surely as three
        assert schedule.remaining([]) == left
        (running,) = _start(schedule)
        schedule.finished(running)
        schedule.learn(running, 10.0)
    assert schedule.remaining([]) == (50, False)


def test_guesses_count_by_the_pace_of_what_has_finished() -> None:
    """A first run said nothing of the time left but in long trainings: no step had been measured before."""
    steps = [_step(f"{n}", "train") for n in range(5)] + [_step("e", "evaluate", {"train": "4"})]
    schedule = _schedule(
        steps, {step.result_key: 40.0 if step.stage.name == "train" else 20.0 for step in steps}, jobs=1
    )
    for left in (None, None, (35, False)):  # 30 s of training and, at their pace, 5 s of what has not begun
        assert schedule.remaining([]) == left
        (running,) = _start(schedule)
        schedule.finished(running)
        schedule.learn(running, 10.0)


def test_a_step_that_takes_much_longer_than_last_time_says_nothing_more() -> None:
    steps = [_step("a")]
    schedule = _schedule(steps, {"a": 10.0}, measured=True)
    assert schedule.start_next() is steps[0]
    assert schedule.remaining([Running(steps[0], 4.0, None)]) == (6, False)
    assert schedule.remaining([Running(steps[0], 100.0, None)]) is None


def test_gpus_are_leased_by_id_and_shared_by_small_steps() -> None:
    devices = Devices(("0", "GPU-7"))
    whole, halves = _step("whole", gpu_share=1.0), [_step(f"half{n}", gpu_share=0.5) for n in range(3)]
    assert devices.lease(whole) == "0"
    assert [devices.lease(half) for half in halves[:2]] == ["GPU-7", "GPU-7"]
    with pytest.raises(RuntimeError, match=r"no GPU has 0\.5 free"):  # on the code before, it computed on the CPU
        devices.lease(halves[2])
    devices.release(whole)
    assert devices.lease(halves[2]) == "0"
    assert devices.lease(_step("cpu")) == ""  # does not ask for one
    for step in [*halves, whole]:
        devices.release(step)
    assert devices.room(1.0) is not None


def test_gpus_are_filled_before_another_one_is_begun() -> None:
    """On the code before the emptiest was chosen, so that none became free for a step that needs a whole one."""
    devices = Devices(("0", "1"))
    assert [devices.lease(_step(f"{number}", gpu_share=0.5)) for number in range(2)] == ["0", "0"]
    assert devices.room(1.0) == "1"


def test_a_step_that_starts_has_its_gpu() -> None:
    """On the code before, the look said that it fits, and the lease gave none: it computed on the CPU."""
    machine = Machine("tensorflow", 16, {}, ("0", "1"))
    shares = {"a": 0.7, "b": 0.2, "c": 0.2, "d": 0.2, "e": 0.6, "f": 0.5}
    steps = [_step(name, gpu_share=share) for name, share in shares.items()]
    first, later = steps[:4], steps[4:]
    schedule = _schedule(first, {name: 10.0 - number for number, name in enumerate(shares)}, machine, jobs=8)
    assert _names(_start(schedule)) == ["a", "b", "c", "d"]
    before = [schedule.devices.lease(step) for step in first]
    assert before == ["0", "0", "1", "1"]
    schedule.finished(steps[0])
    schedule.add(later, {step.name: Estimate(1.0, GIB) for step in later})
    assert _names(_start(schedule)) == ["e", "f"]
    assert [schedule.devices.lease(step) for step in later] == ["1", "0"]
    assert [schedule.devices.lease(step) for step in first[1:]] == before[1:]  # decided once


def test_steps_wait_for_a_free_gpu_while_cpu_steps_go_on() -> None:
    machine = Machine("tensorflow", 16, {}, ("0",))
    running, waiting, cpu = _step("running", gpu_share=0.7), _step("waiting", gpu_share=0.7), _step("cpu")
    small = _step("small", gpu_share=0.3)
    schedule = _schedule([running, waiting, cpu, small], {"running": 200, "waiting": 100}, machine, jobs=8)
    assert set(_names(_start(schedule))) == {"running", "cpu", "small"}
    schedule.finished(running)
    assert _start(schedule) == [waiting]


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
    guess = estimate(first, first.steps, store)[train.name]
    guessed = guess.seconds
    assert not guess.measured
    folder = store.folder(*train.name)
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("")
    took = {"seconds": 100 * guessed, "peak_memory": GIB}
    commit(store, *train.name, {"key_inputs": train.key_inputs, "parameters": dict(train.parameters), **took})
    (tmp_path / "latest.json").write_text(json.dumps({"simple_cnn/train": train.result_key}))
    twice = plan("epochs=4", "max_epochs=4")
    expected = estimate(twice, twice.steps, store)
    train = next(step for step in twice.steps if step.stage.name == "train")
    assert 110 * guessed < expected[train.name].seconds < 200 * guessed
    assert GIB < expected[train.name].memory < 1.5 * GIB  # what it took, and a little more
    same = estimate(first, first.steps, store)
    assert [each.seconds for each in same.values() if each.measured] == [100 * guessed]


@pytest.mark.parametrize("count", [1, 2])
def test_kernels_see_the_gpu_that_was_leased_to_them_and_cpu_steps_see_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("BAKEOFF_WARM_IMPORTS", LIGHT["BAKEOFF_WARM_IMPORTS"])
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

"""The loop of a run: starts what the schedule gives, waits, and says what failures and other runs mean for the rest."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

from bakeoff.errors import DamagedInputError
from bakeoff.plan.steps import DAMAGED, Plan, Step, stale_reason
from bakeoff.run.estimates import estimate
from bakeoff.run.progress import Lines, rows_written, seconds_left
from bakeoff.run.schedule import Running, Schedule

if TYPE_CHECKING:
    from bakeoff.run.runner import Runner

TICK_SECONDS = 0.5


class Loop:
    """One run of a plan, which may grow meanwhile."""

    def __init__(self, runner: Runner, plan: Plan, progress: Lines) -> None:
        self.runner, self.plan, self.progress = runner, plan, progress
        jobs = runner.jobs or runner.capacity.cores
        self.schedule = Schedule(runner.capacity, jobs, runner.devices, runner.free_memory)
        self._running: dict[Future[Any], Step] = {}
        self._rows: dict[Step, int] = {}  # how many rows of progress an earlier run left
        self._planned = 0  # steps of the plan that the schedule knows

    def run(self) -> None:
        """To the end: every step is made, here or by another run, or failed."""
        self._take_up_new_steps()
        while self.schedule.waiting or self.schedule.elsewhere or self._running:
            self._start_all()
            if self._running:
                done, _ = wait(self._running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    self._end(self._running.pop(future), future)
            elif self.schedule.elsewhere:  # what is left is being made by another run
                time.sleep(TICK_SECONDS)
            self._take_up_new_steps()
            self._tick()

    def _take_up_new_steps(self) -> None:
        new, self._planned = self.plan.steps[self._planned :], len(self.plan.steps)
        pending = [step for step in [*new, *self.plan.waiting_longer] if step.name in self.plan.reasons]
        self.plan.waiting_longer.clear()
        if pending:
            self.schedule.add(pending, estimate(self.plan, pending, self.runner.store))

    def _start_all(self) -> None:
        """Look at what another run makes, then start steps until nothing that is ready fits."""
        for step in list(self.schedule.elsewhere.values()):
            if self.runner.locks.is_free(step):
                self.schedule.look_again(step)
        while (chosen := self.schedule.start_next()) is not None:
            self._begin(chosen)

    def _begin(self, step: Step) -> None:
        """Start a step, unless another run makes it or has made it."""
        if not self.runner.locks.take(step):
            self.schedule.made_elsewhere_until_released(step)
            return
        reason = self.plan.reasons.get(step.name, DAMAGED)
        if self._is_made(step, reason):
            self.runner.locks.release(step)
            self.progress.made_elsewhere(step)
            self._made(step)
            return
        self._rows[step] = rows_written(step, self.runner.store.checkpoint(*step.name))
        self.progress.started(step, reason)
        started = self.runner.start(step, reason, needs=self.schedule.needs(step))
        self._running[started] = step

    def _is_made(self, step: Step, reason: str) -> bool:
        """Whether another run has made a step meanwhile. Damaged files stay until they are replaced."""
        store = self.runner.store
        if reason == "forced" or stale_reason(step, store) is not None:
            return False
        bad = store.first_bad_file(*step.name, digests=store.digests()) if reason == DAMAGED else None
        if bad:
            self.runner.say(f"    {step.stage.name} has a damaged file ({bad}); it reruns.")
        return not bad

    def _end(self, step: Step, future: Future[Any]) -> None:
        damage = future.exception()
        if isinstance(damage, DamagedInputError):
            self.runner.give_up(step)
            self.plan.reasons[damage.damaged] = DAMAGED
            self.schedule.again(next(each for each in self.plan.steps if each.name == damage.damaged), step)
            return
        self.runner.finish(step, future, self.progress)
        if step.name not in self.runner.failures:
            self.schedule.learn(step, future.result().seconds)
            self._made(step)
            return
        for child in self.schedule.failed(step):
            failed = next(name[0] for name in child.parents if name in self.runner.failures)
            self.runner.failures[child.name] = f"{failed} failed before it"
            self.progress.left_out(child, self.runner.failures[child.name])

    def _made(self, step: Step) -> None:
        """A step is there: the plan may grow, before what waits for the step alone begins."""
        if self.runner.on_finished is not None:
            self.runner.on_finished(step)
            self._take_up_new_steps()
        self.schedule.finished(step)

    def _tick(self) -> None:
        now, folder = time.monotonic(), self.runner.store.checkpoint
        running = [
            Running(
                step, now - self.progress.begun[step.name], seconds_left(step, folder(*step.name), self._rows[step])
            )
            for step in self._running.values()
        ]
        self.progress.tick(list(self._running.values()), self.schedule.remaining(running))

"""Which step next, and on what: expected seconds, longest way first, within cores, memory and GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bakeoff.last_made import LastMade
from bakeoff.plan import Plan, Step
from bakeoff.resolve import Machine
from bakeoff.store import Store

# What a step takes at least, and how fast this is taken to compute, where no earlier run says better.
_OVERHEAD_SECONDS = 1.5
_WEIGHTS_A_SECOND = 1e9  # parameters x images x epochs
_TFLOP_A_SECOND = 0.05
_USUAL_PARAMETERS = 1_000_000
_USUAL_IMAGES = 50_000
_EVALUATED_SHARE = 0.1  # of what training takes
# Memory that must be free for a step to start beside others; a step alone always starts.
_MEMORY = {False: 4 * 2**30, True: 2**30}  # of a light stage


def expected_seconds(plan: Plan, store: Store) -> dict[tuple[str, str], float]:
    """Seconds that each step of the plan will probably take.

    From the last run of the same variant and stage where there was one, scaled by the work in the parameters of
    then and now; else from parameters x images x epochs.
    """
    last_made = LastMade(store.root)
    parameters = {row.variant: int(row.parameters.stage["published"].get("parameters") or 0) for row in plan.rows}
    expected = {}
    for step in plan.steps:
        variant = step.variants[0] if step.variants else ""
        work = _work(step.stage.name, step.parameters, parameters.get(variant, 0))
        expected[step.name] = _OVERHEAD_SECONDS + work
        manifest = store.complete_manifest(step.stage.name, last_made.key(variant, step.label) or "")
        if manifest and manifest.get("seconds"):
            then = _work(step.stage.name, manifest["parameters"], parameters.get(variant, 0))
            expected[step.name] = manifest["seconds"] * (_OVERHEAD_SECONDS + work) / (_OVERHEAD_SECONDS + then)
    return expected


def _work(stage: str, parameters: Mapping[str, object], published: int) -> float:
    """Seconds of arithmetic, roughly: good enough to put steps into an order."""
    number = {name: float(value) for name, value in parameters.items() if isinstance(value, int | float)}
    images = number.get("max_train_examples", _USUAL_IMAGES)
    each = images * (published or _USUAL_PARAMETERS) / _WEIGHTS_A_SECOND
    limit = number.get("max_training_tflop", float("inf")) / _TFLOP_A_SECOND
    if stage == "search":
        return min(each * number.get("search_trials", 1) * number.get("search_epochs", 1), limit)
    if stage == "train":
        return min(each * number.get("epochs", 1), limit)
    return each * _EVALUATED_SHARE if stage == "evaluate" else 0.0


def longest_way(steps: Sequence[Step], expected: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """For each step the seconds from its start to the end of the longest chain of steps that wait for it.

    `steps` stand with parents before children.
    """
    behind: dict[tuple[str, str], float] = {}
    ways: dict[tuple[str, str], float] = {}
    for step in reversed(steps):
        ways[step.name] = expected[step.name] + behind.get(step.name, 0.0)
        for parent in step.parents:
            behind[parent] = max(behind.get(parent, 0.0), ways[step.name])
    return ways


@dataclass
class Devices:
    """GPUs leased by id to the steps that ask for one; several small steps may share one."""

    ids: Sequence[str]
    _used: dict[str, float] = field(default_factory=dict)
    _leases: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    def room(self, share: float) -> str | None:
        """The id of the GPU with the most room, if `share` of it is free."""
        roomiest = min(self.ids, key=lambda each: self._used.get(each, 0.0), default=None)
        # Shares are decimal fractions: ten times 0.1 must fit.
        return roomiest if roomiest is not None and self._used.get(roomiest, 0.0) + share <= 1 + 1e-9 else None

    def lease(self, step: Step) -> str:
        """The id that a step computes on; nothing for a step that computes on the CPU."""
        device = self.room(step.gpu_share) if step.gpu_share else None
        if device is None:
            return ""
        self._used[device] = self._used.get(device, 0.0) + step.gpu_share
        self._leases[step.name] = device, step.gpu_share
        return device

    def release(self, step: Step) -> None:
        """End a step's lease, if it has one."""
        device, share = self._leases.pop(step.name, ("", 0.0))
        if device:
            self._used[device] -= share


@dataclass
class Schedule:
    """Chooses the steps to start: the one with the longest way first, and what fits beside it."""

    machine: Machine
    jobs: int
    devices: Devices
    expected: Mapping[tuple[str, str], float]
    way: Mapping[tuple[str, str], float]

    def startable(self, waiting: Iterable[Step], running: Sequence[Step]) -> list[Step]:
        """The steps to start now: parents done, a job free, and all running steps within cores, memory and GPUs.

        A step that needs more than is free waits while smaller ones go first: no core is idle meanwhile, and in
        the end it runs alone. A step alone may ask for more than there is.
        """
        unfinished = {step.name for step in [*waiting, *running]}
        ready = [step for step in waiting if not any(parent in unfinished for parent in step.parents)]
        chosen: list[Step] = []
        for step in sorted(ready, key=lambda step: -self.way[step.name]):
            if len(running) + len(chosen) < self.jobs and self._fits(step, [*running, *chosen]):
                chosen.append(step)
        return chosen

    def remaining(self, waiting: Sequence[Step], running: Sequence[tuple[Step, float, float]]) -> float:
        """Seconds to the end, at least: the longest way, or all work spread over the cores where that is more.

        `running`: steps, how many seconds each has been running, and which share of its work is done (0.0: unknown).
        """
        left = {step.name: self.expected[step.name] for step in waiting}
        for step, since, share in running:
            left[step.name] = since / share - since if share else max(self.expected[step.name] - since, 0.0)
        work, longest = 0.0, 0.0
        for step in [*waiting, *(step for step, _, _ in running)]:
            work += left[step.name] * min(step.threads, self.machine.cores)
            longest = max(longest, self.way[step.name] - self.expected[step.name] + left[step.name])
        return max(work / min(self.jobs, self.machine.cores), longest)

    def _fits(self, step: Step, beside: Sequence[Step]) -> bool:
        if not beside:
            return True
        if step.gpu_share and (any(other.gpu_share for other in beside) and not self._gpu_room(step, beside)):
            return False
        threads = sum(other.threads for other in beside) + step.threads
        return threads <= self.machine.cores and _free_memory() >= _MEMORY[step.stage.light or not step.stage.computes]

    def _gpu_room(self, step: Step, beside: Sequence[Step]) -> bool:
        """Room on a GPU, counting the steps that were chosen in this round and have no lease yet."""
        trial = Devices(self.devices.ids)
        return all(trial.lease(other) for other in [*beside, step] if other.gpu_share)


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)

"""Which step next: the longest way first, within jobs, cores, memory and GPUs. An event costs the same in any plan."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from bakeoff.executors import Needs
from bakeoff.plan.machine import Machine
from bakeoff.plan.resources import free_memory
from bakeoff.plan.steps import Name, Step
from bakeoff.run.devices import Devices
from bakeoff.run.estimates import Estimate
from bakeoff.run.pace import TELLING, Pace

_MEGABYTE = 2**20
_LOOK_SECONDS = 0.5
_GUESS_IS_OFF = 4.0  # by this factor, where a step takes longer than expected
_SOON_SECONDS = 60.0


def _kind(step: Step) -> tuple[str, ...]:
    """Steps of one kind do nearly the same work: the trials of a search."""
    return step.stage.name, *step.variants[:1]


class Demand(NamedTuple):
    """What a step takes while it runs. Few are different, so that steps of equal demand wait in one queue."""

    threads: int
    gpu_share: float
    megabytes: int


class Running(NamedTuple):
    """A running step: the seconds that it has been running, and those that its own progress says are left, if any."""

    step: Step
    since: float
    left: float | None


def critical_path(
    steps: Sequence[Step], seconds: Mapping[Name, float], known: Mapping[Name, float] | None = None
) -> dict[Name, float]:
    """For each step the seconds from its start to the end of the longest chain of steps that wait for it.

    `steps` stand with parents before children; `known` are the ways of some, which others wait for that are not here.
    """
    behind: dict[Name, float] = {}
    ways: dict[Name, float] = {}
    for step in reversed(steps):
        ways[step.name] = max(seconds[step.name] + behind.get(step.name, 0.0), (known or {}).get(step.name, 0.0))
        for parent in step.parents:
            behind[parent] = max(behind.get(parent, 0.0), ways[step.name])
    return ways


@dataclass
class Schedule:
    """The steps that are still to run, and the resources that the running ones hold."""

    machine: Machine
    jobs: int
    devices: Devices
    free: Callable[[], int] = free_memory  # bytes
    waiting: dict[Name, Step] = field(default_factory=dict)  # not begun, ready or not
    elsewhere: dict[Name, Step] = field(default_factory=dict)  # ready, and another run makes them
    way: dict[Name, float] = field(default_factory=dict)
    _estimates: dict[Name, Estimate] = field(default_factory=dict)
    _missing: dict[Name, int] = field(default_factory=dict)  # how many parents are not made yet
    _children: dict[Name, list[Step]] = field(default_factory=dict)
    _ready: dict[Demand, list[tuple[float, int, Step]]] = field(default_factory=dict)  # heaps, the longest way first
    _running: dict[Name, Demand] = field(default_factory=dict)
    _passed: dict[Name, float] = field(default_factory=dict)  # core seconds begun past a step that did not fit
    _threads: int = 0
    _megabytes: int = 0
    _capacity: int = 0  # bytes that all our steps together may take
    _free_bytes: int = 0
    _looked: float = 0.0
    _measured_work: float = 0.0  # core seconds of the waiting steps
    _guessed_work: dict[str, float] = field(default_factory=dict)  # by stage
    _pace: Pace = field(default_factory=Pace)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _alike: dict[tuple[str, ...], dict[Name, Step]] = field(default_factory=dict)  # kind -> its waiting steps
    _taken: dict[tuple[str, ...], list[float]] = field(default_factory=dict)  # kind -> seconds of those made

    def add(self, steps: Sequence[Step], estimates: Mapping[Name, Estimate]) -> None:
        """Steps to run, parents before children; a parent that is not to run counts as made.

        A step that waits already, and has more parents now, waits for these as well.
        """
        for name, found in estimates.items():
            self._estimates.setdefault(name, found)
        self.way |= critical_path(steps, {step.name: self._estimates[step.name].seconds for step in steps}, self.way)
        for step in steps:
            if step.name in self.waiting:
                self._wait_longer(step)
            elif step.name not in self._running:
                self._wait_for(step, [parent for parent in step.parents if self._unfinished(parent)])

    def start_next(self) -> Step | None:
        """The next step to start, its resources held from now on; None when nothing that is ready fits.

        A step that needs more than is free waits while smaller ones go first, until these have been given as much
        work as it has itself: from then on what becomes free is kept for it. A step alone may ask for more than
        there is.
        """
        if len(self._running) >= self.jobs:
            return None
        free, blocked = self._look_at_memory(), None
        for demand in sorted(self._ready, key=lambda demand: self._ready[demand][0]):
            step = self._ready[demand][0][2]
            lacking = self._lacking(demand, free)
            if lacking:
                blocked = blocked or (step, lacking)
            elif blocked and not self._may_pass(*blocked, step):
                return None
            else:
                return self._begin(demand)
        return None

    def needs(self, step: Step) -> Needs:
        """What a running step takes."""
        demand = self._running[step.name]
        return Needs(demand.threads, demand.megabytes * _MEGABYTE, demand.gpu_share)

    def finished(self, step: Step) -> None:
        """A running step is made: its resources are free, and what waited for it may be ready."""
        self._free(step)
        for child in self._children.pop(step.name, ()):
            if child.name in self._missing:  # else another of its parents has failed
                self._missing[child.name] -= 1
                if not self._missing[child.name]:
                    self._push(child)

    def learn(self, step: Step, seconds: float) -> None:
        """A step took so long: which tells of its stage, and of others alike (trials) from three of them on."""
        if step.stage.computes and not (step.stage.light or self._estimates[step.name].measured):
            self._pace.learn(step.stage.name, self._estimates[step.name].seconds, seconds)
        if not step.number:
            return
        alike = self._alike.setdefault(_kind(step), {})
        alike.pop(step.name, None)
        taken = self._taken.setdefault(_kind(step), [])
        taken.append(seconds)
        for other in alike.values() if len(taken) >= TELLING else ():
            before = self._estimates[other.name]
            self._count(other, -1)
            self._estimates[other.name] = before._replace(seconds=sum(taken) / len(taken), measured=True)
            self._count(other, 1)
            self.way[other.name] += self._estimates[other.name].seconds - before.seconds

    def failed(self, step: Step) -> list[Step]:
        """A running step cannot be made; returns the steps that wait for it, directly or not, which now never run."""
        self._free(step)
        dropped: dict[Name, Step] = {}
        reached = [step]
        while reached:
            for child in self._children.pop(reached.pop().name, ()):
                if child.name in self._missing:
                    dropped[child.name] = child
                    reached.append(child)
                    self._forget(child)
        return list(dropped.values())

    def made_elsewhere_until_released(self, step: Step) -> None:
        """Another run makes this step: it waits without a job, and `look_again` makes it ready once more."""
        self._free(step)
        self.elsewhere[step.name] = step
        self._count(step, 1)

    def look_again(self, step: Step) -> None:
        """The other run has let go of the step."""
        del self.elsewhere[step.name]
        self._count(step, -1)
        self._wait_for(step, [])

    def again(self, parent: Step, child: Step) -> None:
        """A running step found a parent's files damaged: the parent is to run, and after it the step once more."""
        self._free(child)
        if not self._unfinished(parent.name):
            self._estimates.setdefault(parent.name, self._estimates[child.name])
            self.way.setdefault(parent.name, self.way.get(child.name, 0.0))
            self._wait_for(parent, [each for each in parent.parents if self._unfinished(each)])
        self._wait_for(child, [parent.name])

    def remaining(self, running: Iterable[Running]) -> tuple[float, bool] | None:
        """Seconds to the end, and whether they are an upper bound only; None where nothing can be said yet.

        The longest way, or all work spread over the cores where that is more. Guesses count by the pace of the steps
        that this run has finished; nothing is said where they could make the time left wrong by more than two.
        """
        work = most = self._measured_work
        for stage, guessed in self._guessed_work.items():
            pace, off = self._pace.of(stage)
            work, most = work + pace * guessed, most + off * pace * guessed
        before = self._measured_work + sum(self._guessed_work.values())
        stretch = work / before if before > 0 else 1.0  # of the ways, which are sums of guesses
        longest, certain = 0.0, True
        for step, since, left in running:
            seconds, off = self._left(step, since, left)
            cores = min(step.threads, self.machine.cores)
            work, most = work + seconds * cores, most + off * seconds * cores
            behind = self.way.get(step.name, 0.0) - self._estimates.get(step.name, Estimate(0.0, 0)).seconds
            longest, certain = max(longest, stretch * behind + seconds), certain and off == 1
        longest = max([longest, *(stretch * self.way[heap[0][2].name] for heap in self._ready.values())])
        longest = max([longest, *(stretch * self.way[name] for name in self.elsewhere)])
        width = min(self.jobs, self.machine.cores)
        if most <= 2 * work:
            return max(work / width, longest), False
        bound = max(most / width, most / work * longest)
        return (_SOON_SECONDS, True) if certain and bound <= _SOON_SECONDS else None

    def _left(self, step: Step, since: float, left: float | None) -> tuple[float, float]:
        """Seconds to the end of a running step, and by which factor they may be off."""
        if left is not None:
            return left, 1.0
        estimate = self._estimates.get(step.name, Estimate(0.0, 0))
        pace, off = (1.0, 1.0) if estimate.measured else self._pace.of(step.stage.name)
        expected = pace * estimate.seconds
        if since > (1.5 if estimate.measured else 3.0) * expected:  # longer than expected: nobody knows how much
            return max(expected - since, since), _GUESS_IS_OFF
        return max(expected - since, 0.0), off

    def _look_at_memory(self) -> int:
        """Bytes that are free, asked now and then: what was begun since is reserved."""
        if not self._running or time.monotonic() - self._looked > _LOOK_SECONDS:
            self._free_bytes, self._looked = self.free(), time.monotonic()
            self._capacity = max(self._capacity, self._free_bytes) if self._running else self._free_bytes
        return self._free_bytes

    def _unfinished(self, name: Name) -> bool:
        return name in self.waiting or name in self._running or name in self.elsewhere

    def _wait_for(self, step: Step, parents: Sequence[Name]) -> None:
        self.waiting[step.name] = step
        if step.number:
            self._alike.setdefault(_kind(step), {})[step.name] = step
        self._count(step, 1)
        self._missing[step.name] = len(parents)
        for parent in parents:
            self._children.setdefault(parent, []).append(step)
        if not parents:
            self._push(step)

    def _wait_longer(self, step: Step) -> None:
        """Wait for parents that the step did not have when it began to wait; one of its older ones is not made yet."""
        for parent in step.parents:
            if self._unfinished(parent) and step not in self._children.get(parent, ()):
                self._children.setdefault(parent, []).append(step)
                self._missing[step.name] += 1

    def _count(self, step: Step, sign: int) -> None:
        """Add a step's work to that of the waiting ones, or take it away."""
        if self._estimates[step.name].measured:
            self._measured_work += sign * self._work(step)
        else:
            stage = step.stage.name
            self._guessed_work[stage] = self._guessed_work.get(stage, 0.0) + sign * self._work(step)

    def _work(self, step: Step) -> float:
        return self._estimates[step.name].seconds * min(step.threads, self.machine.cores)

    def _push(self, step: Step) -> None:
        megabytes = -(-self._estimates[step.name].memory // _MEGABYTE)
        rounded = 1 << (megabytes - 1).bit_length() if megabytes < 1024 else -(-megabytes // 512) * 512
        heap = self._ready.setdefault(Demand(step.threads, step.gpu_share, rounded), [])
        heappush(heap, (-self.way[step.name], next(self._order), step))

    def _begin(self, demand: Demand) -> Step:
        step = heappop(self._ready[demand])[2]
        if not self._ready[demand]:
            del self._ready[demand]
        self._forget(step)
        self._passed.pop(step.name, None)
        self._running[step.name] = demand
        self._threads += demand.threads
        self._megabytes += demand.megabytes
        self.devices.lease(step)
        return step

    def _forget(self, step: Step) -> None:
        del self.waiting[step.name], self._missing[step.name]
        if step.number:
            del self._alike[_kind(step)][step.name]
        self._count(step, -1)

    def _free(self, step: Step) -> None:
        demand = self._running.pop(step.name)
        self._threads -= demand.threads
        self._megabytes -= demand.megabytes
        self.devices.release(step)

    def _lacking(self, demand: Demand, free: int) -> str:
        """What a step of this demand cannot have now: "gpu", "cores" or "memory"; nothing when it fits."""
        if not self._running:
            return ""
        if demand.gpu_share and self.devices.room(demand.gpu_share) is None:
            return "gpu"
        if self._threads + demand.threads > self.machine.cores:
            return "cores"
        asked = demand.megabytes * _MEGABYTE
        held = self._megabytes * _MEGABYTE
        return "" if asked <= free and held + asked <= self._capacity else "memory"

    def _may_pass(self, blocked: Step, lacking: str, step: Step) -> bool:
        """Whether a step may begin before one that does not fit and stands before it; what it takes is written down."""
        if lacking == "gpu" and not step.gpu_share:
            return True
        passed = self._passed.get(blocked.name, 0.0)
        if passed >= self._work(blocked):
            return False
        self._passed[blocked.name] = passed + self._work(step)
        return True

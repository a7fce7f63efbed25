"""What --verify does: every digest of every step that is there; and, asked for, steps rerun and compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bakeoff.errors import RequestError
from bakeoff.plan.steps import COMPARE, Plan, Step
from bakeoff.run.runner import Runner
from bakeoff.store import MANIFEST, NOTEBOOK, Store, digest_file, digest_value, missing_or_cut
from bakeoff.store.equivalence import Verdict, compare
from bakeoff.store.scratch import scratch_folder

_ENOUGH = 3  # steps in a sample, so that one of them is a training
SEED = 0  # of the choice of steps: the same plan gives the same choice


@dataclass
class Verifier:
    """One check of a plan's steps in a store; says a line a step."""

    plan: Plan
    store: Store
    say: Callable[[str], None]

    def verify(self, sample: int = 0, runner: Callable[[Store], Runner] | None = None, seed: int = SEED) -> int:
        """Check all digests, then make `sample` steps again; 0 when nothing is off, else 1.

        `runner` gives what executes steps of a scratch store; `seed` decides which steps are drawn.
        """
        good, off, files = self._digests()
        if not good and not off:
            raise RequestError("nothing to verify: no step of this plan is in the store")
        self.say(f"{len(good)} steps and their {files} files are as recorded; {off} are not.")
        wrong = self.store.digests().wrong("sha256", digest_file)
        for path in wrong:
            self.say(f"OFF, {path} has another digest than the one remembered in {self.store.digests().path}")
        differ = self._again(choose(good, self.store, sample, seed), runner) if sample and runner else 0
        return 1 if off or wrong or differ else 0

    def _digests(self) -> tuple[list[Step], int, int]:
        """The steps that are as recorded, the number of those that are not, and the number of good files."""
        good, off, files = [], 0, 0
        for step in [*self.plan.steps, *self._compared()]:
            name = _name(step)
            if not (self.store.folder(*step.name) / MANIFEST).is_file():
                self.say(f"{name}: not made")
                continue
            found = list(faults(self.store, *step.name))
            if found:
                off += 1
                self.say("\n".join(f"{name}: OFF, {fault}" for fault in found))
            else:
                good.append(step)
                count = len((self.store.read_manifest(*step.name) or {})["files"])
                files += count
                self.say(f"{name}: {count} files as recorded")
        for row in self.plan.rows:
            for stage in row.unknown:
                self.say(f"{stage} {row.variant}: not looked at, since its search has found nothing yet")
        return good, off, files

    def _compared(self) -> list[Step]:
        """The comparisons in the store of these rows' evaluations; the text of their tables is a part of their keys."""
        known = {row.steps["evaluate"].result_key for row in self.plan.rows if "evaluate" in row.steps}
        found = []
        for path in sorted((self.store.root / COMPARE.name).glob(f"*/{MANIFEST}")):
            record = self.store.read_manifest(COMPARE.name, path.parent.name) or {}
            key_inputs = record.get("key_inputs", {})
            parents = set(key_inputs.get("parents", {}).values())
            if parents and parents <= known:
                key = str(record.get("result_key", path.parent.name))
                found.append(replace(self.plan.background, stage=COMPARE, key_inputs=key_inputs, result_key=key))
        return found

    def _again(self, chosen: Sequence[Step], runner: Callable[[Store], Runner]) -> int:
        """Make steps again in a scratch store; the number of those that differ."""
        first, tally = "", {"bits": 0, "numbers": 0, "no": 0}
        with scratch_folder() as folder:
            scratch = Store(folder.resolve())
            with runner(scratch) as running:
                for step in chosen:
                    verdict = self._made_again(step, scratch, running)
                    tally[verdict.same] += 1
                    differs = verdict.same == "no"
                    first = first or (step.stage.name if differs else "")
                    self.say(f"again {_name(step)}: {'DIFFERS, ' if differs else ''}{verdict.words}")
        counts = f"{tally['bits']} the same bits, {tally['numbers']} the same numbers, {tally['no']} differ"
        self.say(f"{len(chosen)} steps rerun: {counts}.{f' First stage that differs: {first}.' if first else ''}")
        return tally["no"]

    def _made_again(self, step: Step, scratch: Store, runner: Runner) -> Verdict:
        with _parents(step, self.store, scratch):
            try:
                if not runner.step(self.plan, step, "new"):
                    return Verdict("no", f"it could not rerun: {runner.failures[step.name]}")
                return compare(self.store.folder(*step.name), scratch.folder(*step.name), _files(self.store, step))
            finally:
                scratch.discard(scratch.folder(*step.name))


def faults(store: Store, stage: str, key: str) -> Iterator[str]:
    """What is not as a step's step.json says, each with the path of the file."""
    folder, record = store.folder(stage, key), store.read_manifest(stage, key)
    if record is None or not isinstance(record.get("files"), Mapping) or not record["files"]:
        yield f"{folder / MANIFEST} cannot be read, or is not as it was written"
        return
    if record.get("result_key") != key or digest_value(record.get("key_inputs")) != key:
        yield f"{folder / MANIFEST} does not say what the step's key was made of"
    for name, recorded in record["files"].items():
        if not isinstance(recorded, list) or len(recorded) != 2:
            yield f"{folder / MANIFEST} does not say what {name} is"
            continue
        path, (digest, size) = folder / name, recorded
        fault = missing_or_cut(path, size)
        if fault:
            yield fault
        elif digest_file(path) != digest:
            yield f"{path} has other bytes than those recorded"


def choose(good: Sequence[Step], store: Store, sample: int, seed: int = SEED) -> list[Step]:
    """`sample` steps whose parents are good as well, by lot.

    A third is drawn by what it costs (a step of s seconds has a weight of s), so that long ones come up, and if there
    are three or more, one of them is a training; the rest with a weight of 1 / (1 + s).
    """
    names = {step.name for step in good}
    made = [step for step in good if step.stage is not COMPARE and _files(store, step)]  # with something to compare
    whole = [step for step in made if names.issuperset(step.parents)]
    lots = random.Random(seed)
    trainings = [step for step in whole if step.stage.name == "train"]
    chosen = _draw(trainings, 1 if sample >= _ENOUGH else 0, lots, lambda step: _seconds(store, step))
    for count, weigh in (
        (sample // _ENOUGH, lambda step: _seconds(store, step)),
        (sample, lambda step: 1 / (1 + _seconds(store, step))),
    ):
        left = [step for step in whole if step not in chosen]
        chosen += _draw(left, count - len(chosen), lots, weigh)
    return [step for step in whole if step in chosen]


def _draw(steps: Sequence[Step], count: int, lots: random.Random, weigh: Callable[[Step], float]) -> list[Step]:
    """At most `count` of the steps, each with a chance that grows with its weight; none twice."""
    drawn = [(lots.random() ** (1 / max(weigh(step), 1e-9)), step) for step in steps]
    return [step for _, step in sorted(drawn, key=lambda pair: -pair[0])[: max(count, 0)]]


@contextmanager
def _parents(step: Step, store: Store, scratch: Store) -> Iterator[None]:
    """The step's parents in the scratch store, by reference, for as long as the step is made there."""
    links = {scratch.folder(stage, key): store.folder(stage, key) for stage, key in step.parents}
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve(), target_is_directory=True)
    try:
        yield
    finally:
        for link in links:
            link.unlink()


def _files(store: Store, step: Step) -> list[str]:
    """The step's files that can be compared: all but the executed notebook, which holds dates and durations."""
    record: Mapping[str, Any] = store.read_manifest(*step.name) or {"files": {}}
    return [name for name in record["files"] if name != NOTEBOOK]


def _seconds(store: Store, step: Step) -> float:
    return float((store.read_manifest(*step.name) or {}).get("seconds", 0))


def _name(step: Step) -> str:
    return f"{step.title} {', '.join(step.variants)}".strip()

"""What --verify does: every digest of every step that is there; and, asked for, steps made again and compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bakeoff.equivalence import Verdict, compare
from bakeoff.errors import RequestError
from bakeoff.plan import COMPARE, Plan, Step
from bakeoff.runner import Runner
from bakeoff.scratch import scratch_folder
from bakeoff.store import MANIFEST, NOTEBOOK, Store, digest_file, digest_value, missing_or_cut

SEED = 0  # of the choice of steps: the same plan gives the same choice


@dataclass
class Verifier:
    """One check of a plan's steps in a store; says a line a step."""

    plan: Plan
    store: Store
    say: Callable[[str], None]

    def verify(self, sample: int = 0, runner: Callable[[Store], Runner] | None = None) -> int:
        """Check all digests, then make `sample` steps again; 0 when nothing is off, else 1.

        `runner` gives what executes steps of a scratch store.
        """
        good, off, files = self._digests()
        if not good and not off:
            raise RequestError("nothing to verify: no step of this plan is in the store")
        self.say(f"{len(good)} steps and their {files} files are as recorded; {off} are not.")
        differ = self._again(good, sample, runner) if sample and runner else 0
        return 1 if off or differ else 0

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

    def _again(self, good: Sequence[Step], sample: int, runner: Callable[[Store], Runner]) -> int:
        """Make steps again in a scratch store; the number of those that differ."""
        chosen = choose(good, self.store, sample)
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
        self.say(f"{len(chosen)} steps made again: {counts}.{f' First stage that differs: {first}.' if first else ''}")
        return tally["no"]

    def _made_again(self, step: Step, scratch: Store, runner: Runner) -> Verdict:
        with _parents(step, self.store, scratch):
            try:
                if not runner.step(self.plan, step, "new"):
                    return Verdict("no", f"it could not be made again: {runner.failures[step.name]}")
                return compare(self.store.folder(*step.name), scratch.folder(*step.name), _files(self.store, step))
            finally:
                scratch.discard(scratch.folder(*step.name))


def faults(store: Store, stage: str, key: str) -> Iterator[str]:
    """What is not as a step's step.json says, each with the path of the file."""
    folder, record = store.folder(stage, key), store.read_manifest(stage, key)
    if record is None or not isinstance(record.get("files"), Mapping) or not record["files"]:
        yield f"{folder / MANIFEST} cannot be read"
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


def choose(good: Sequence[Step], store: Store, sample: int) -> list[Step]:
    """`sample` steps whose parents are good as well, by lot; a step of s seconds has a weight of 1 / (1 + s)."""
    names = {step.name for step in good}
    made = [step for step in good if step.stage is not COMPARE and _files(store, step)]  # with something to compare
    whole = [step for step in made if names.issuperset(step.parents)]
    lots = random.Random(SEED)
    drawn = {step.name: lots.random() ** (1 + _seconds(store, step)) for step in whole}
    winners = sorted(whole, key=lambda step: drawn[step.name], reverse=True)[:sample]
    return [step for step in whole if step in winners]


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
    return f"{step.stage.name} {', '.join(step.variants)}".strip()

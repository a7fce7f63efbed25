"""What --clean does: names what of the store no plan needs, and removes it when asked to. Follows no link."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakeoff.interactive import BY_HAND
from bakeoff.params.own_network import copies
from bakeoff.plan.code_digests import NOTEBOOKS, PROJECT
from bakeoff.plan.resolve import NOT_HERE
from bakeoff.plan.snapshot import FOLDER, current
from bakeoff.plan.steps import BACKGROUND, COMPARE, STAGES, Plan, parent_name
from bakeoff.plan.trials import FOLLOWING, asked
from bakeoff.store import MANIFEST, Store, digest_value, staging
from bakeoff.store.last_made import LastMade
from bakeoff.store.locks import is_held, try_lock

_KEY = re.compile(r"[0-9a-f]{32}")
_STAGES = (*STAGES, BACKGROUND.name, COMPARE.name)
_NOTEBOOKS = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
_DAY = 86400.0  # what somebody made by hand since may be open
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Item:
    """Something that can go: a folder or a file of the store, its size, and why nothing needs it."""

    path: Path
    size: int
    why: str
    finished: bool = False  # a whole step, which a run that is going on may still read


@dataclass
class Cleaner:
    """One look at a store for what the plans do not need."""

    plans: Sequence[Plan]
    comparing: Mapping[str, Any]  # what the key of a comparison would be made of now
    store: Store
    say: Callable[[str], None]
    _needed: set[Path] = field(default_factory=set)
    _asked: set[str] = field(default_factory=set)  # of steps that a search may still ask for, by what is known of them
    _absent: set[str] = field(default_factory=set)  # data sets that the plans want and that are not here
    _kept: dict[Path, int] = field(default_factory=dict)
    _spared: list[str] = field(default_factory=list)
    _own_networks: Mapping[str, bytes] = field(default_factory=dict)
    _may_follow: int = 0  # steps that are kept for what a search may find
    _last_made: dict[tuple[str, str], list[str]] | None = None  # step -> the variants that made it last

    def __post_init__(self) -> None:
        steps = [step for plan in self.plans for step in plan.steps]
        self._needed = {self.store.folder(*step.name) for step in steps}
        rows = [row for plan in self.plans for row in plan.rows]
        later = [row.later[stage] for row in rows for stage in row.unknown]
        later += [row.later["trial"] for row in rows if "trial" in row.later and "trial-1" not in row.steps]
        self._own_networks = copies(network for row in rows if (network := row.parameters.network))
        self._asked = {digest_value(asked(each.stage.name, each.key_inputs)) for each in later}
        self._needed |= {self.store.shared(step.key_inputs) for step in [*steps, *later] if step.stage.shares}
        here = {row.dataset.in_notebooks for row in rows if row.dataset.digest not in (row.dataset.name, NOT_HERE)}
        self._absent = {row.parameters.stage["dataset"] for row in rows} - here
        self._absent |= {"imagenet weights" for row in rows if row.weights == "random"}

    def clean(self, what: str, remove: bool) -> int:
        """Say what could go, largest first, and what is kept; with `remove`, remove it. 1 when something stayed."""
        items = sorted(self.items(), key=lambda item: (-item.size, str(item.path)))
        for item in items:
            self.say(f"{in_words(item.size):>10}  {item.path.relative_to(self.store.root)}  ({item.why})")
        self.say(f"Kept: {len(self._kept)} folders, {in_words(sum(self._kept.values()))}, that {what} need.")
        if self._spared:
            self.say("\n".join(self._spared))
        if self._may_follow:
            self.say(f"Kept: {self._may_follow} steps among them that a search which has not ended may ask for.")
        total = in_words(sum(item.size for item in items))
        if not items:
            self.say("Nothing else is in the store.")
            return 0
        if not remove:
            self.say(f"{len(items)} that nothing needs, {total}; the same command with --yes removes them.")
            return 0
        return self._remove(items)

    def _remove(self, items: Sequence[Item]) -> int:
        """Remove them; what a run that is going on may read stays."""
        running = bool(staging.running(self.store)) or any(map(is_held, (self.store.root / "locks").glob("*.lock")))
        spared = [item for item in items if item.finished and running]
        removed = [item for item in items if item not in spared and _gone(item, self.store)]
        self.say(f"Removed {len(removed)} of {len(items)}, {in_words(sum(item.size for item in removed))}.")
        if spared:
            self.say(f"{len(spared)} finished steps stay, since a run is going on that may read them; ask again later.")
        return 0 if len(removed) + len(spared) == len(items) else 1

    def items(self) -> Iterator[Item]:
        """Everything that could go."""
        for stage in _STAGES:
            for folder in _entries(self.store.root / stage):
                if _KEY.fullmatch(folder.name) and folder.is_dir():
                    yield from self._of_step(stage, folder)
        for folder in _entries(self.store.root / "shared"):
            if folder in self._needed:
                self._kept[folder] = _size(folder)
            elif folder.is_dir():
                yield Item(folder, _size(folder), "features for packages, settings or code that no plan has", True)
        snapshots = _entries(self.store.root / FOLDER)
        for folder in set(snapshots) - set(current(snapshots, PROJECT, self._own_networks)):
            yield Item(folder, _size(folder), "a copy, for earlier runs, of code that is another now", True)
        yield from self._of_unfinished()
        for folder in _entries(self.store.root / BY_HAND):
            if folder.name.rpartition("-")[0] in _NOTEBOOKS and time.time() - folder.stat().st_mtime > _DAY:
                yield Item(folder, _size(folder), "output of a notebook that was opened by hand")
        for path in _entries(self.store.root / "locks"):
            stage, key = _step_of(path, ".lock")
            needed = {*self._needed, *self._kept}
            if stage and self.store.folder(stage, key) not in needed and not is_held(path):
                yield Item(path, _size(path), "lock of a step that no plan needs and no run makes")

    def _of_unfinished(self) -> Iterator[Item]:
        """What executions have left that failed or were cut short."""
        for folder in staging.left_behind(self.store, everywhere=True):
            yield Item(folder, _size(folder), "left by a run that was stopped")
        for path in _entries(self.store.root / "failed"):
            if _step_of(path, ".ipynb")[0]:
                yield Item(path, _size(path), "left by an execution that failed")
        for folder in _entries(self.store.root / "checkpoints"):
            stage, key = _step_of(folder, "")
            step = self.store.folder(stage, key)
            if not stage or is_held(self.store.lock(stage, key)):
                continue
            if step in self._needed and self.store.read_manifest(stage, key) is None:
                self._kept[folder] = _size(folder)
                self._spared.append(f"Kept: {folder}, not finished; the next run goes on from it.")
            else:
                yield Item(folder, _size(folder), "checkpoint of a step that is finished or that no plan needs")

    def _of_step(self, stage: str, folder: Path) -> Iterator[Item]:
        """The step's folder when nothing needs it; of one that is needed, what an earlier version left in it."""
        record = self.store.read_manifest(stage, folder.name)
        if is_held(self.store.lock(stage, folder.name)):
            self._spared.append(f"Kept: {folder}, which a run is making.")
        elif record is None:
            yield Item(folder, _size(folder), "its step.json is not there or not as it was written")
        elif folder in self._needed or self._compares(stage, record):
            self._kept[folder] = _size(folder)
            names = record.get("files", {})
            left = (path for path in _entries(folder) if path.is_file() and path.name not in {*names, MANIFEST})
            yield from (Item(path, _size(path), "left by an execution that failed") for path in left)
        elif self._may_be_asked(stage, record):
            self._kept[folder] = _size(folder)
            self._may_follow += 1
        elif absent := self._made_with_absent(record):
            self._kept[folder] = _size(folder)
            self._spared.append(f"Kept: {folder}, made with {absent}, which cannot be found now.")
        else:
            made = self._made_for(stage, folder.name)
            yield Item(folder, _size(folder), f"no plan needs it; {made}{record.get('finished', '')}", True)

    def _may_be_asked(self, stage: str, record: Mapping[str, Any]) -> bool:
        """Whether a search may still draw or find the values that a step, and those before it, were made with."""
        if digest_value(asked(stage, record.get("key_inputs", {}))) not in self._asked:
            return False
        before = [each for each in record.get("inputs", {}).items() if each[0] in FOLLOWING]
        return all(self._may_be_asked(each[0], self.store.read_manifest(*each) or {}) for each in before)

    def _compares(self, stage: str, record: dict[str, Any]) -> bool:
        """Whether a comparison is one of evaluations that are needed, by code and packages as they are now."""
        key_inputs = record.get("key_inputs", {})
        same = all(key_inputs.get(name) == self.comparing[name] for name in ("code", "versions"))
        parents = key_inputs.get("parents", {}).values()
        wanted = all(self.store.folder("evaluate", key) in self._needed for key in parents)
        return stage == COMPARE.name and same and bool(parents) and wanted

    def _made_with_absent(self, record: dict[str, Any]) -> str | None:
        """The data set or weights of a step, or of one of its parents, that the plans want and cannot find."""
        key_inputs = record.get("key_inputs", {})
        if len(str(key_inputs.get("resolved", {}).get("weights", ""))) == 64 and "imagenet weights" in self._absent:
            return "imagenet weights"
        dataset = key_inputs.get("parameters", {}).get("dataset")
        if dataset in self._absent and key_inputs.get("resolved", {}).get("dataset") != dataset:
            return str(dataset)
        parents = [self.store.read_manifest(*parent_name(each)) for each in record.get("inputs", {}).items()]
        return next((found for each in parents if each and (found := self._made_with_absent(each))), None)

    def _made_for(self, stage: str, key: str) -> str:
        if self._last_made is None:
            self._last_made = {}
            for variant, label, each in LastMade(self.store.root).items():
                self._last_made.setdefault(parent_name((label, each[:32])), []).append(variant)
        names = self._last_made.get((stage, key), [])
        return f"last made for {', '.join(names)}, " if names else "made "


def in_words(size: int) -> str:
    """A number of bytes with a unit."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder of the store; nothing behind a link, and no link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.is_symlink())


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count as themselves."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum((Path(root) / name).lstat().st_size for root, _, names in os.walk(path) for name in names)


def _step_of(path: Path, suffix: str) -> tuple[str, str]:
    """Stage and key in the name `<stage>-<key><suffix>`; two empty texts for any other name."""
    stage, _, key = path.name.removesuffix(suffix).rpartition("-")
    known = stage in _STAGES and _KEY.fullmatch(key) and path.name.endswith(suffix)
    return (stage, key) if known else ("", "")


def _gone(item: Item, store: Store) -> bool:
    """Remove one item, and a step under its lock; False where a run has taken it since."""
    path = item.path
    if path.parent == store.staging:
        staging.remove(path)
        return not path.exists()
    stage, name = path.parent.name, path.name
    if stage == "locks":
        stage, name = _step_of(path, ".lock")
    if stage not in _STAGES or not path.is_dir():
        lock_path = path if path.suffix == ".lock" else None
    else:
        lock_path = store.lock(stage, name)
    lock = try_lock(lock_path) if lock_path else None
    if lock_path and lock is None:
        return False
    try:
        store.discard(path)
        if lock_path:
            lock_path.unlink(missing_ok=True)  # while it is held, so that nobody's is taken away
    finally:
        if lock:
            lock.release()
    return not path.exists()

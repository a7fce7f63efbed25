"""The live table in a terminal; plain lines where the output is not a terminal."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.plan.steps import STAGES, Plan, Row, Step
from bakeoff.store import Store

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

HISTORY = "history.csv"  # a row for each epoch, written as they come
_LONG_EPOCH = 60.0  # seconds; compilation takes less
_LINE_SECONDS = 30.0  # plain lines about one step, or about the run, come no faster than this
_LINE_SHARE = 0.05  # of the time so far: lines about a long run come less often


def how_far(step: Step, folder: Path) -> str:
    """How far a running step has come, from the rows that it has written: "epoch 3/10, 0.6200"; or nothing."""
    if step.stage.name == "train":
        rows = _rows(folder / HISTORY)
        accuracy = rows and (rows[-1].get("validation_accuracy") or rows[-1].get("train_accuracy"))
        return f"epoch {rows[-1]['epoch']}/{step.parameters['epochs']}, {float(accuracy):.3f}" if accuracy else ""
    return ""


def rows_written(step: Step, folder: Path) -> int:
    """How many epochs are written down already: those of an earlier run, where this one has not begun."""
    return len(_rows(folder / HISTORY)) if step.stage.name == "train" else 0


def seconds_left(step: Step, folder: Path, before: int = 0) -> float | None:
    """Seconds to the end of a running step, by the epochs that it has written down; None where they do not tell yet.

    `before` rows are those of an earlier run. The first epoch tells nothing while it may be compilation for the most
    part, and neither do the epochs of a frozen base while others will follow.
    """
    if step.stage.name != "train":
        return None
    path = folder / HISTORY
    rows = _rows(path)
    try:
        total, first = int(step.parameters["epochs"]), max(before, _frozen_epochs(step.parameters))
        seconds = [float(row["seconds"]) for row in rows[first:]]
        telling = seconds[1:] or [each for each in seconds if each >= _LONG_EPOCH]
        if not telling or not total:
            return None
        each, rest = sum(telling) / len(telling), max(total - len(rows), 0)
        return max(rest * each - max(time.time() - path.stat().st_mtime, 0.0), (rest - 1) * each, 0.0)
    except (KeyError, TypeError, ValueError, OSError):
        return None


def _frozen_epochs(parameters: Mapping[str, Any]) -> int:
    """Epochs that train the new layers alone; those that follow take several times as long."""
    return int(dict(parameters.get("trainer_options") or {}).get("head_epochs", 0))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except OSError:
        return []


def clock(seconds: float) -> str:
    """Seconds as people read them: 45 s, 3:20, 1:05:00."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def in_words(remaining: tuple[float, bool] | None) -> str:
    """The time left as `Schedule.remaining` gives it; nothing where nothing can be said."""
    if remaining is None:
        return ""
    seconds, at_most = remaining
    return f"less than {clock(seconds)} left" if at_most else f"about {clock(seconds)} left"


@dataclass
class Lines:
    """A line for each step that starts and ends, now and then one for a long step and one for the run. A `with`."""

    plan: Plan
    store: Store
    say: Callable[[str], None]
    begun: dict[tuple[str, str], float] = field(default_factory=dict)
    _said: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)  # of the run, the last time
    _over: int = 0  # steps that have ended, in one way or another

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, step: Step, reason: str) -> None:
        """A step runs."""
        self.begun[step.name] = time.monotonic()
        self._said[step.name] = time.monotonic(), ""
        self.say(f"[{len(self.begun)}/{len(self.plan.reasons)}] {title(step)} ({reason})")

    def finished(self, step: Step, seconds: float) -> None:
        """A step is done."""
        self._over += 1
        self.say(f"    {title(step)}: {seconds:.1f} s")

    def made_elsewhere(self, step: Step) -> None:
        """Another run has made a step that this one was going to make."""
        self._over += 1
        self.say(f"    {title(step)}: made by another run")

    def failed(self, step: Step, message: str) -> None:
        """A step failed."""
        self._over += 1
        self.say(f"    {title(step)} FAILED: {message}")

    def left_out(self, step: Step, message: str) -> None:
        """A step cannot run."""
        self._over += 1
        self.say(f"    {title(step)}: left out, {message}")

    def tick(self, running: Sequence[Step], remaining: tuple[float, bool] | None) -> None:
        """Called twice a second or so; `remaining`: what `Schedule.remaining` says."""
        for step in running:
            when, before = self._said[step.name]
            if time.monotonic() - when < _LINE_SECONDS:
                continue
            now = how_far(step, self.store.checkpoint(*step.name))
            if now and now != before:
                self._said[step.name] = time.monotonic(), now
                self.say(f"    {title(step)}: {now}")
        elapsed = time.monotonic() - self._start
        if remaining and time.monotonic() - self._told >= max(_LINE_SECONDS, _LINE_SHARE * elapsed):
            self._told = time.monotonic()
            self.say(f"{self._over} of {len(self.plan.reasons)} steps, {clock(elapsed)}, {in_words(remaining)}")


@dataclass
class LiveTable(Lines):
    """A table that changes in place: a row a variant, a cell a stage, epoch and accuracy as they come."""

    ended: dict[tuple[str, str], str] = field(default_factory=dict)
    _running: Sequence[Step] = ()
    _remaining: tuple[float, bool] | None = None
    _live: Any = None
    _open: list[Row] | None = None  # rows not known to be over
    _done: list[Row] = field(default_factory=list)
    _rows_of: dict[str, list[Row]] = field(default_factory=dict)

    def __enter__(self) -> Lines:
        from rich.live import Live

        self._live = Live(self._draw(), refresh_per_second=4, transient=True)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, step: Step, reason: str) -> None:
        """A step runs."""
        self.begun[step.name] = time.monotonic()

    def finished(self, step: Step, seconds: float) -> None:
        """A step is done."""
        self.ended[step.name] = f"[green]{clock(seconds)}[/]"

    def made_elsewhere(self, step: Step) -> None:
        """Another run has made a step that this one was going to make."""
        self.ended[step.name] = "[dim]elsewhere[/]"

    def failed(self, step: Step, message: str) -> None:
        """A step failed."""
        self.ended[step.name] = "[red]failed[/]"
        self.say(f"{title(step)} FAILED: {message}")

    def left_out(self, step: Step, message: str) -> None:
        """A step cannot run."""
        self.ended[step.name] = "[red]left out[/]"

    def tick(self, running: Sequence[Step], remaining: tuple[float, bool] | None) -> None:
        """Draw anew."""
        self._running, self._remaining = running, remaining
        self._live.update(self._draw())

    def _draw(self) -> RenderableType:
        from rich.console import Group

        done, all_steps = len(self.ended), len(self.plan.reasons)
        left = in_words(self._remaining) or "time left unknown"
        line = f"{done} of {all_steps} steps, {clock(time.monotonic() - self._start)}, {left}"
        return Group(self._table(), line)

    def _table(self) -> Table:
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        rows = self._shown(max(5, self._height() - 6))
        there = {step.stage.name for row in rows for step in row.steps.values()}
        stages = [stage for stage in STAGES if stage in there]
        table = Table("variant", *stages, box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            steps: dict[str, list[Step]] = {}
            for step in row.steps.values():
                steps.setdefault(step.stage.name, []).append(step)
            table.add_row(escape(row.folder_name), *(self._cell(steps.get(stage, [])) for stage in stages))
        return table

    def _shown(self, count: int) -> list[Row]:
        """What runs stands first, and what is finished last: a terminal shows some twenty lines."""
        if self._open is None:
            self._open = [row for row in self.plan.rows if not self._is_over(row)]
            for row in self.plan.rows:
                self._rows_of.setdefault(row.variant, []).append(row)
        found: dict[Row, None] = {}
        for step in self._running:
            rows = (row for variant in step.variants[:count] for row in self._rows_of[variant][:count])
            found |= dict.fromkeys(row for row in rows if row.steps.get(step.label) is step)
        still: list[Row] = []
        while self._open and len(still) < count:  # each row is found to be over once
            row = self._open.pop(0)
            (self._done if self._is_over(row) else still).append(row)
        self._open[:0] = still
        return [*found, *(row for row in [*still, *self._done[-count:]] if row not in found)][:count]

    def _is_over(self, row: Row) -> bool:
        return all(step.name in self.ended or step.name not in self.plan.reasons for step in row.steps.values())

    def _height(self) -> int:
        return int(self._live.console.height) if self._live else 25

    def _cell(self, steps: Sequence[Step]) -> str:
        """One stage of a row; of several steps, how many have ended."""
        if len(steps) > 1:
            return (
                f"{sum(step.name in self.ended or step.name not in self.plan.reasons for step in steps)}/{len(steps)}"
            )
        if not steps:
            return ""
        (step,) = steps
        if step.name not in self.plan.reasons:
            return "[dim]kept[/]"
        if step.name in self.ended:
            return self.ended[step.name]
        if step.name not in self.begun:
            return "[dim]·[/]"
        far = how_far(step, self.store.checkpoint(*step.name))
        return f"[bold]{far or clock(time.monotonic() - self.begun[step.name])}[/]"


def make_progress(plan: Plan, store: Store, say: Callable[[str], None]) -> Lines:
    """The live table for people at a terminal, lines for everything else."""
    if sys.stdout.isatty():
        from rich.console import Console

        if not Console().is_dumb_terminal:
            return LiveTable(plan, store, say)
    return Lines(plan, store, say)


def title(step: Step) -> str:
    """The stage and whom it is for: "train simple_cnn", "trial 3 gray_grid"."""
    more = f" and {len(step.variants) - 3} more" if len(step.variants) > 3 else ""
    return f"{step.title} {', '.join(step.variants[:3])}{more}".rstrip()

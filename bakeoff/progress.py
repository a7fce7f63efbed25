"""The live picture in the terminal; plain lines where the output is not a terminal."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.plan import STAGES, Plan, Step
from bakeoff.store import Store

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

HISTORY, TRIALS = "history.csv", "trials.csv"  # a row for each epoch, for each trial: written as they come
_LINE_SECONDS = 30.0  # plain lines about one step come no faster than this


def how_far(step: Step, folder: Path) -> str:
    """How far a running step has come, from the rows that it has written: "epoch 3/10, 0.6200"; or nothing."""
    if step.stage.name == "train":
        rows = _rows(folder / HISTORY)
        accuracy = rows and (rows[-1].get("validation_accuracy") or rows[-1].get("train_accuracy"))
        return f"epoch {rows[-1]['epoch']}/{step.parameters['epochs']}, {float(accuracy):.3f}" if accuracy else ""
    if step.stage.name == "search":
        count = len(_rows(folder / TRIALS))
        return f"trial {count}/{step.parameters['search_trials'] or '?'}" if count else ""
    return ""


def share_done(step: Step, folder: Path, before: float = 0.0) -> float:
    """Which share of a running step's work is done, by the rows that it has written; 0.0 where nothing says it.

    `before` is the share that was done when it began: a step that goes on with what an earlier run left counts anew.
    """
    share = _share_written(step, folder)
    return (share - before) / (1 - before) if before < share else 0.0


def _share_written(step: Step, folder: Path) -> float:
    if step.stage.name == "train" and (rows := _rows(folder / HISTORY)):
        return float(rows[-1]["epoch"]) / max(float(step.parameters["epochs"]), 1.0)
    if step.stage.name == "search" and step.parameters["search_trials"]:
        return len(_rows(folder / TRIALS)) / float(step.parameters["search_trials"])
    return 0.0


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


@dataclass
class Lines:
    """A line for each step that starts and ends, and now and then for one that takes long. Use it in a `with`."""

    plan: Plan
    store: Store
    say: Callable[[str], None]
    begun: dict[tuple[str, str], float] = field(default_factory=dict)
    _said: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, step: Step, reason: str) -> None:
        """A step runs."""
        self.begun[step.name] = time.monotonic()
        self._said[step.name] = time.monotonic(), ""
        self.say(f"[{len(self.begun)}/{len(self.plan.pending())}] {title(step)} ({reason})")

    def finished(self, step: Step, seconds: float) -> None:
        """A step is done."""
        self.say(f"    {title(step)}: {seconds:.1f} s")

    def made_elsewhere(self, step: Step) -> None:
        """Another run has made a step that this one was going to make."""
        self.say(f"    {title(step)}: made by another run")

    def failed(self, step: Step, message: str) -> None:
        """A step failed."""
        self.say(f"    {title(step)} FAILED: {message}")

    def left_out(self, step: Step, message: str) -> None:
        """A step cannot run."""
        self.say(f"    {title(step)}: left out, {message}")

    def tick(self, running: Sequence[Step], remaining: float) -> None:
        """Called twice a second or so; `remaining` seconds are expected to be left."""
        for step in running:
            when, before = self._said[step.name]
            if time.monotonic() - when < _LINE_SECONDS:
                continue
            now = how_far(step, self.store.folder(*step.name))
            if now and now != before:
                self._said[step.name] = time.monotonic(), now
                self.say(f"    {title(step)}: {now}; about {clock(remaining)} left")


@dataclass
class Picture(Lines):
    """A table that changes in place: a row a variant, a cell a stage, epoch and accuracy as they come."""

    ended: dict[tuple[str, str], str] = field(default_factory=dict)
    _running: Sequence[Step] = ()
    _remaining: float = 0.0
    _start: float = field(default_factory=time.monotonic)
    _live: Any = None

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

    def tick(self, running: Sequence[Step], remaining: float) -> None:
        """Draw anew."""
        self._running, self._remaining = running, remaining
        self._live.update(self._draw())

    def _draw(self) -> RenderableType:
        from rich.console import Group

        done, all_steps = len(self.ended), len(self.plan.pending())
        left = f", about {clock(self._remaining)} left" if self._remaining else ""
        line = f"{done} of {all_steps} steps, {clock(time.monotonic() - self._start)}{left}"
        return Group(self._table(), line)

    def _table(self) -> Table:
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table("variant", *STAGES, box=box.SIMPLE_HEAD, pad_edge=False)
        rows = [row for row in self.plan.rows if any(step.name in self.plan.reasons for step in row.steps.values())]
        running = {step.name for step in self._running}
        # What runs stands first, and what is finished last: a terminal shows some twenty lines.
        rows.sort(key=lambda row: (running.isdisjoint(step.name for step in row.steps.values()), self._over(row.steps)))
        for row in rows[: max(5, self._height() - 6)]:
            cells = (self._cell(row.steps.get(stage)) for stage in STAGES)
            table.add_row(escape(row.folder_name), *cells)
        return table

    def _over(self, steps: Mapping[str, Step]) -> bool:
        return all(step.name in self.ended or step.name not in self.plan.reasons for step in steps.values())

    def _height(self) -> int:
        return int(self._live.console.height) if self._live else 25

    def _cell(self, step: Step | None) -> str:
        if step is None:
            return ""
        if step.name not in self.plan.reasons:
            return "[dim]kept[/]"
        if step.name in self.ended:
            return self.ended[step.name]
        if step.name not in self.begun:
            return "[dim]·[/]"
        far = how_far(step, self.store.folder(*step.name))
        return f"[bold]{far or clock(time.monotonic() - self.begun[step.name])}[/]"


def make_progress(plan: Plan, store: Store, say: Callable[[str], None]) -> Lines:
    """The picture for people at a terminal, lines for everything else."""
    if sys.stdout.isatty():
        from rich.console import Console

        if not Console().is_dumb_terminal:
            return Picture(plan, store, say)
    return Lines(plan, store, say)


def title(step: Step) -> str:
    """The stage and whom it is for: "train simple_cnn"."""
    more = f" and {len(step.variants) - 3} more" if len(step.variants) > 3 else ""
    return f"{step.stage.name} {', '.join(step.variants[:3])}{more}".rstrip()

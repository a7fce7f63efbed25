"""How fast a run turns out to be: the seconds that finished steps took, by those that were guessed for them."""

from __future__ import annotations

from dataclasses import dataclass, field

TELLING = 3  # finished steps of a stage, from which on they tell what its others take
# By which factor a guess may be off: one that nothing tells of, and one at the pace of other stages.
_BLIND, _SCALED = 4.0, 2.0


@dataclass
class _Finished:
    steps: int = 0
    guessed: float = 0.0
    taken: float = 0.0


@dataclass
class Pace:
    """Of each stage and of all together, what a guessed second takes in this run."""

    _stages: dict[str, _Finished] = field(default_factory=dict)
    _all: _Finished = field(default_factory=_Finished)
    _told: bool = False  # by two steps of some stage: the others are off by less then

    def learn(self, stage: str, guessed: float, taken: float) -> None:
        """A step of a stage took `taken` seconds, for which `guessed` were expected."""
        own = self._stages.setdefault(stage, _Finished())
        for found in (self._all, own):
            found.steps, found.guessed, found.taken = found.steps + 1, found.guessed + guessed, found.taken + taken
        self._told = self._told or own.steps >= 2

    def of(self, stage: str) -> tuple[float, float]:
        """Seconds for a guessed second, and by which factor they may be off: 1 where the stage has told them."""
        own = self._stages.get(stage, _Finished())
        told = own.steps >= TELLING
        found = own if told else self._all
        pace = found.taken / found.guessed if self._told and found.guessed else 1.0
        return pace, 1.0 if told else _SCALED if self._told else _BLIND

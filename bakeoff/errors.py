"""What can go wrong, with the fields a message needs and the exit code the command ends with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class BakeoffError(Exception):
    """Base of every error that is the user's or a step's. Exit code 1: a variant failed; 2: the request was wrong."""

    exit_code = 2


@dataclass
class ParameterError(BakeoffError):
    """A parameter file, a profile or a --set that cannot be used: where, which name, why."""

    where: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{one_line(self.where)}: {shown(self.name)} {one_line(self.reason)}"


class RequestError(BakeoffError):
    """A command line, a data set or a machine that does not allow what was asked; nothing was started."""


class DataUnavailableError(RequestError):
    """The data set is neither prepared here nor to be downloaded."""


@dataclass
class StepError(BakeoffError):
    """A step that failed: which stage, which cell (counted as a reader counts the code cells, from 1), and why."""

    stage: str
    cell: int | None
    reason: str
    exit_code = 1

    def __str__(self) -> str:
        place = f"{self.stage}, code cell {self.cell}" if self.cell else self.stage
        return f"{place}: {self.reason}"


@dataclass
class DamagedInputError(StepError):
    """A step found that a file which it reads is not the recorded one; `damaged` is the step that wrote it."""

    damaged: tuple[str, str]


def one_line(text: str) -> str:
    """Text in one line: a line break or another character that cannot be printed stands as its escape."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shown(value: object) -> str:
    """A value as a message shows it: one line, never long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """The half sentence that follows an unknown name: the likeliest known one, or all of a short list."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return (
        f"known are: {one_line(', '.join(names))}" if len(names) <= 12 else "see params/base.yaml for the known names"
    )

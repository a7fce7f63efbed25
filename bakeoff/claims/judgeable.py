"""What --check-claims does: which rows of params/claims.csv can be judged, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from bakeoff.claims import FILES, Claim, Tolerance, read_claims, read_tolerances
from bakeoff.claims.checks import CHECKS
from bakeoff.errors import nearest, shown
from bakeoff.results import COLUMNS

_HISTORY = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds", "learning_rate")
# The columns that a check may name first.
_FIRST: Mapping[str, Sequence[str]] = {
    "result": (*COLUMNS, "binary_accuracy"),
    "copy": COLUMNS,
    "history": _HISTORY,
    "peak": _HISTORY,
    "flat": _HISTORY,
    "gain": ("test_accuracy",),
    "gap": ("train_accuracy",),
}
# They compare with the claim's number.
_OF_FIGURES = ("result", "copy", "history", "parameters", "layers", "ratio", "gain")


def check_claims(directory: Path, variants: Sequence[str], say: Callable[[str], None]) -> int:
    """Say of each row that cannot be judged why not, with its line; 1 when a row is wrong."""
    claims, tolerances = read_claims(directory), read_tolerances(directory)
    faults = [(line, "; ".join(_faults(claim, variants, tolerances))) for line, claim in enumerate(claims, start=2)]
    wrong = [(line, words) for line, words in faults if words]
    untold = [(line, _untold(claim)) for line, claim in enumerate(claims, start=2) if not claim.check]
    for words, lines in groupby(sorted([*wrong, *untold]), key=itemgetter(1)):
        numbers = [line for line, _ in lines]
        place = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        say(f"{FILES[0]}:{place}: {words}.")
    judged = len(claims) - len({line for line, _ in [*wrong, *untold]})
    say(f"{len(claims)} rows: {judged} can be judged, {len(untold)} have no check, {len(wrong)} are wrong.")
    return 1 if wrong else 0


def _untold(claim: Claim) -> str:
    return f"{claim.metric or claim.where} has no check: it would take {claim.needs or 'one'}"


def _faults(claim: Claim, variants: Sequence[str], tolerances: Mapping[str, Tolerance]) -> Iterator[str]:
    """What is wrong with a row, a half sentence each."""
    for name in claim.variants:
        if name not in variants:
            yield f"there is no variant {shown(name)}; {nearest(name, variants)}"
    for words, tolerance in claim.checks:
        if tolerance not in tolerances:
            yield f"there is no tolerance {shown(tolerance)}; {nearest(tolerance, tolerances)}"
        yield from _check_faults(words, claim)


def _check_faults(words: Sequence[str], claim: Claim) -> Iterator[str]:
    if not words or words[0] not in CHECKS:
        name = words[0] if words else ""
        yield f"there is no check {shown(name)}; {nearest(name, CHECKS)}"
        return
    known = _FIRST.get(words[0])
    if known and (len(words) < 2 or words[1] not in known):
        name = words[1] if len(words) > 1 else ""
        yield f"the check {words[0]} has no column {shown(name)}; {nearest(name, known)}"
    if words[0] in _OF_FIGURES and not claim.numbers:
        yield f"the check {words[0]} compares with a number, and the value is {shown(claim.value)}"
    if words[0] == "order" and ">" not in words:
        yield "the check order needs `A > B`, as in `order test_accuracy A > B`"

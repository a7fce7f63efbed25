"""What becomes of a claim: three outcomes where it was tested, by the interval of the difference and the tolerance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bakeoff.claims import Claim, Tolerance
from bakeoff.claims.measured import Bounds, Measured

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
UNDECIDED = "undecided"  # tested, but these data cannot tell
NOT_TESTED = "not tested"
STATUSES = (REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_TESTED)
_ROUNDING = 1e-9  # of floating-point numbers, so that a figure on the edge of the tolerance lies within it
_COUNTS = ("exact", "million")  # tolerances of figures that do not vary: there is nothing between right and wrong
_FAR = 2  # tolerances beyond which a figure without an interval is not reproduced
_DIGITS = {"exact": 0, "epochs": 0, "time": 2, "million": 2}


@dataclass(frozen=True)
class Outcome:
    """What became of a claim, or of one of its checks.

    `difference` is ours less the source's, `bounds` its 95 % interval (None: it has none), `tolerance` what is allowed.
    """

    status: str
    reason: str
    ours: str = ""
    claimed: str = ""  # where what is compared is not what the source prints
    difference: float | None = None
    tolerance: float | None = None
    bounds: Bounds | None = None


def figure(ours: Measured, stated: float, claim: Claim, tolerance: Tolerance) -> Outcome:
    """Ours beside the source's figure, which is fixed, and beside its other one where it contradicts itself."""
    judged = _against(ours, stated, tolerance)
    status, reason = judged.status, judged.reason
    if claim.against:
        status, reason = _which(judged, _against(ours, float(claim.against), tolerance), tolerance, stated, claim)
    return Outcome(status, reason, judged.ours, "", judged.difference, judged.tolerance, judged.bounds)


def _against(ours: Measured, stated: float, tolerance: Tolerance) -> Outcome:
    """One figure of a source. A time is judged as a factor, by its logarithm."""
    allowed = tolerance.amount * (abs(stated) if tolerance.name == "loss" else 1)
    apart, bounds, limit = ours.value - stated, None, allowed
    distance = apart
    if ours.bounds:
        bounds = (ours.bounds[0] - stated, ours.bounds[1] - stated)
    elif tolerance.name == "time":
        distance = math.log(ours.value / stated) if ours.value > 0 and stated > 0 else math.inf
        limit = math.log(allowed)
    status = _status(distance, bounds, limit, far=1 if tolerance.name in _COUNTS else _FAR)
    text = number_text(ours.value, tolerance)
    return Outcome(status, _reason(status, ours, stated, tolerance), text, "", apart, allowed, bounds)


def _status(distance: float, bounds: Bounds | None, allowed: float, far: float) -> str:
    """Within the tolerance, outside it, or neither: by the interval, else by one and `far` tolerances."""
    within = allowed + _ROUNDING
    if bounds is None:
        return REPRODUCED if abs(distance) <= within else NOT_REPRODUCED if abs(distance) > far * within else UNDECIDED
    if -within <= bounds[0] and bounds[1] <= within:
        return REPRODUCED
    return NOT_REPRODUCED if bounds[0] > within or bounds[1] < -within else UNDECIDED


def _reason(status: str, ours: Measured, stated: float, tolerance: Tolerance) -> str:
    """What the outcome rests on: the distance, the interval and what is allowed."""
    allowed = allowed_text(tolerance)
    if status == REPRODUCED and tolerance.name == "exact":
        return "the same"
    interval = f"its 95 % interval, {interval_text(ours.bounds, tolerance)} ({ours.over})" if ours.bounds else ""
    if status == REPRODUCED:
        return f"within {allowed}" + (f", and so is {interval}" if interval else "")
    apart = _apart_text(ours.value - stated, tolerance)
    if tolerance.name in _COUNTS:
        return apart if tolerance.name == "exact" else f"{apart}; {allowed} are allowed"
    if status == NOT_REPRODUCED:
        return f"{apart}; {interval}, lies outside the {allowed} allowed" if interval else _far(apart, allowed)
    if interval:
        decisive = abs(abs(ours.value - stated) - tolerance.amount * (abs(stated) if tolerance.name == "loss" else 1))
        width = f"{_width(100 * decisive)} points" if tolerance.name == "accuracy" else f"{decisive:.2g}"
        return f"undecided: {apart}; {interval}, reaches over the {allowed} allowed; one of ±{width} would decide"
    seeds = "; three seeds would give it an interval" if tolerance.name in ("accuracy", "loss") else ""
    return f"undecided: {apart}; more than the {allowed} allowed, less than twice that{seeds}"


def _far(apart: str, allowed: str) -> str:
    return f"{apart}, more than twice the {allowed} allowed"


def _which(one: Outcome, other: Outcome, tolerance: Tolerance, stated: float, claim: Claim) -> tuple[str, str]:
    """Which of the two values of a source that contradicts itself ours agrees with."""
    texts = [number_text(value, tolerance) for value in (stated, float(claim.against))]
    statuses = [one.status, other.status]
    both = f"{texts[0]} and {texts[1]}"
    if statuses == [REPRODUCED] * 2:
        return REPRODUCED, f"ours agrees with both of the source's values, {both}"
    if REPRODUCED in statuses:
        right = statuses.index(REPRODUCED)
        left = "not with" if statuses[1 - right] == NOT_REPRODUCED else "undecided about"
        return REPRODUCED, f"ours agrees with {texts[right]}, {left} {texts[1 - right]}; the source gives both"
    if UNDECIDED in statuses:
        about = both if statuses == [UNDECIDED] * 2 else texts[statuses.index(UNDECIDED)]
        return UNDECIDED, f"undecided whether ours agrees with {about}; the source gives {both}"
    return NOT_REPRODUCED, f"ours agrees with neither of the source's values, {both}"


def direction(found: Measured, allowed: float, ours: str, margin: float = 0.0, unit: str = "points") -> Outcome:
    """An order holds when its difference, less the margin claimed, is above the tolerance with its whole interval.

    It does not hold when that is below minus the tolerance; between the two it is undecided. `found`, `allowed` and
    `margin` are shares; the words give them as points or percent.
    """
    left = found.value - margin
    bounds = (found.bounds[0] - margin, found.bounds[1] - margin) if found.bounds else None
    low, high = bounds or (left, left)
    status = REPRODUCED if low > allowed else NOT_REPRODUCED if high < -allowed else UNDECIDED
    words = _direction_words(status, left, margin, unit)
    if bounds:
        words += f"; 95 % interval {100 * low:+.1f} to {100 * high:+.1f} ({found.over})"
    words += f"; {100 * allowed:g} {unit} decide nothing"
    if status == UNDECIDED:
        words += f"; {_decisive(abs(left) - allowed, bounds, unit)}"
    return Outcome(status, words, ours, "", left, allowed, bounds)


def _decisive(rest: float, bounds: Bounds | None, unit: str) -> str:
    """What would decide an order that is undecided: how narrow an interval, where any would."""
    if bounds is None:
        return "three seeds of each would give an interval"
    return f"an interval of ±{_width(100 * rest)} {unit} would" if rest > 0 else "at this distance no interval would"


def _width(points: float) -> str:
    """Half an interval: to a tenth, and where that is nothing, to its first digit."""
    return f"{points:.1f}" if points >= 0.05 else f"{points:.1g}"


def _direction_words(status: str, left: float, margin: float, unit: str) -> str:
    size = f"{abs(100 * left):.1f} {unit}"
    if status == UNDECIDED:
        return f"undecided: {size} {'from the margin claimed' if margin else 'apart'}"
    if status == REPRODUCED:
        return f"by {size}{f' more than the {100 * margin:.1f} claimed' if margin else ''}"
    return f"{size} less than the {100 * margin:.1f} claimed" if margin else f"the other way round, by {size}"


def together(parts: Sequence[Outcome]) -> Outcome:
    """Parts that must all hold: what they are of holds when each does, fails when one does, and else is the worst.

    The reason is that of the parts which decide it.
    """
    if len(parts) == 1:
        return parts[0]
    statuses = [part.status for part in parts]
    status = next(each for each in (NOT_REPRODUCED, NOT_TESTED, UNDECIDED, REPRODUCED) if each in statuses)
    decisive = [part for part in parts if part.status == status]
    first = max(decisive, key=_weight)
    ours = "; ".join(dict.fromkeys(part.ours for part in parts if part.ours))
    reason = "; ".join(dict.fromkeys(part.reason for part in decisive))
    if status == NOT_TESTED:  # nothing is compared: no difference stands beside it
        return Outcome(status, reason, ours)
    return Outcome(status, reason, ours, "", first.difference, first.tolerance, first.bounds)


def beside(parts: Sequence[Outcome], names: Sequence[str]) -> Outcome:
    """The same for the checks of a claim, by the names of what they look at: each is told of, whatever decides."""
    found = together(parts)
    if len(parts) == 1 or found.status == NOT_TESTED:
        return found
    told = [f"{name.replace('_', ' ')} {_told(part)}" for name, part in zip(names, parts, strict=True)]
    return replace(found, reason="; ".join(told))


def _told(part: Outcome) -> str:
    return part.reason if part.reason.startswith(f"{part.status}: ") else f"{part.status}: {part.reason}"


def _weight(part: Outcome) -> float:
    """How far a part is off, in tolerances."""
    return abs(part.difference or 0) / (part.tolerance or 1)


def agreeing(parts: Sequence[Outcome]) -> Outcome:
    """The outcome of trainings that differ in the seed alone: theirs when it is one, else undecided."""
    if len(parts) == 1:
        return parts[0]
    ours, first = "; ".join(part.ours for part in parts), parts[0]
    counts = Counter(part.status for part in parts)
    if len(counts) == 1:
        return Outcome(
            first.status, f"{first.reason} (and so with each seed)", ours, "", first.difference, first.tolerance
        )
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    return Outcome(
        UNDECIDED, f"undecided: the seeds do not agree ({words})", ours, "", first.difference, first.tolerance
    )


def number_text(value: float, tolerance: Tolerance) -> str:
    """A figure as the audit writes it: counts whole, shares and losses with four decimals, more where it has them."""
    digits = _DIGITS.get(tolerance.name)
    if digits is not None:
        return f"{value:.{digits}f}"
    whole, _, decimals = f"{value:.6f}".partition(".")
    return f"{whole}.{decimals[:4]}{decimals[4:].rstrip('0')}"


def interval_text(bounds: Bounds, tolerance: Tolerance) -> str:
    """An interval of a figure; a share in percent."""
    low, high = bounds
    if tolerance.name == "accuracy":
        return f"{100 * low:.1f} to {100 * high:.1f} %"
    digits = _DIGITS.get(tolerance.name, 3)
    return f"{low:.{digits}f} to {high:.{digits}f}"


def allowed_text(tolerance: Tolerance) -> str:
    """A tolerance in words."""
    amount = tolerance.amount
    words = {
        "accuracy": f"{100 * amount:g} points",
        "loss": f"{100 * amount:g} % of a loss",
        "time": f"factor of {amount:g}",
        "epochs": f"{amount:g} epochs",
        "million": f"{amount:g} million",
    }
    return words.get(tolerance.name, f"{amount:g}")


def _apart_text(apart: float, tolerance: Tolerance) -> str:
    way = "more" if apart > 0 else "less"
    if tolerance.name == "accuracy":
        return f"{100 * abs(apart):.1f} points {way} here"
    return f"{abs(apart):.{_DIGITS.get(tolerance.name, 4)}f} {way} here"

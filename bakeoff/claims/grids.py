"""The checks of claims about a whole grid of trials: which values win, and which point is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bakeoff.claims import Claim, Tolerance
from bakeoff.claims.evidence import Evidence, Run, UntestedError, number
from bakeoff.claims.measured import difference_of_best, mean_of
from bakeoff.claims.outcomes import Outcome, direction, together


def grid(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`grid NAME VALUE ... > VALUE ...`: each on the left beats each on the right, in pairs of equal points."""
    run, name = _whole_grid(claim, evidence), words[0]
    split = words.index(">")
    outcomes = []
    for better in words[1:split]:
        for worse in words[split + 1 :]:
            found = mean_of(_pairs(run, name, better, worse), "pairs of points")
            ours = f"{better} over {worse}: {100 * found.value:+.1f} points"
            outcomes.append(direction(found, tolerance.amount, ours))
    return together(outcomes)


def _whole_grid(claim: Claim, evidence: Evidence) -> Run:
    run = evidence.fit(claim.variant, claim.needs)[0]
    best = run.file("search", "best.json")
    if best["points_run"] < best["points_total"]:
        raise UntestedError(f"only {best['points_run']} of {best['points_total']} points of the grid ran")
    return run


def _pairs(run: Run, name: str, better: str, worse: str) -> list[float]:
    """Differences in test accuracy, on which the source judged, between points that are equal but for `name`."""
    others = [each for each in run.file("search", "best.json")["values"] if each != name]
    scores: dict[tuple[str, ...], dict[str, float]] = {}
    for trial in run.trials:
        scores.setdefault(tuple(trial[each] for each in others), {})[trial[name]] = _score(trial)
    pairs = [each[better] - each[worse] for each in scores.values() if better in each and worse in each]
    if not pairs:
        raise UntestedError(f"the grid has no points with {name} {better} and {worse}")
    return pairs


def _score(trial: Mapping[str, str]) -> float:
    return number(trial["test_accuracy"], f"point {trial['trial']} of the grid has no test accuracy")


def best(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`best NAME=VALUE ...`: the best point with these values beats the best point with other ones.

    Of many points the best is so partly by luck: the interval is for as many comparisons as there are pairs of a
    point with these values and one without. Unpaired, since a trial's predictions are not stored.
    """
    run, wanted = _whole_grid(claim, evidence), settings(words)
    inside = [trial for trial in run.trials if all(trial[name] == value for name, value in wanted.items())]
    outside = [trial for trial in run.trials if trial not in inside]
    if not inside or not outside:
        raise UntestedError("the grid has no point with these values, or no other one")
    theirs, other = max(inside, key=_score), max(outside, key=_score)
    shown = " ".join(f"{name}={other[name]}" for name in wanted)
    ours = f"{_score(theirs):.4f} at best; {_score(other):.4f} with {shown}"
    images = int(number(run.file("search", "best.json").get("test_images"), "the search scored no test image"))
    found = difference_of_best(_score(theirs), _score(other), images, len(inside) * len(outside))
    return direction(found, tolerance.amount, ours)


def settings(words: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE ...` as a mapping."""
    return dict(word.split("=") for word in words)

"""How a claim is judged: the checks that params/claims.csv names, each a function of the claim and the evidence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from bakeoff.claims import BEST, Claim, Tolerance, log_values
from bakeoff.claims.evidence import Evidence, Run, UntestedError, number

REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested"
BOUND = 1.96  # standard errors of a 95 % bound
FAR = 3  # standard errors that chance hardly ever exceeds
MILLION = 1_000_000
_DIGITS = {"exact": 0, "epochs": 0, "time": 2, "million": 2}
_COUNTS = {"trainable": "trainable_parameters", "fixed": "non_trainable_parameters"}


@dataclass(frozen=True)
class Outcome:
    """What became of a claim, or of one of its checks."""

    status: str
    reason: str
    ours: str = ""
    claimed: str = ""  # where what is compared is not what the source prints
    difference: float | None = None
    tolerance: float | None = None


def figure(ours: float, stated: float, claim: Claim, tolerance: Tolerance, chance: float = 0.0) -> Outcome:
    """Ours beside the source's figure, and beside its other one where it contradicts itself.

    `chance` is what the number of test images allows; the larger of it and the tolerance counts.
    """
    allowed = max(tolerance.amount * (abs(stated) if tolerance.name == "loss" else 1), chance)
    apart = ours - stated

    def outcome(status: str, reason: str) -> Outcome:
        return Outcome(status, reason, _text(ours, tolerance), "", apart, allowed)

    near = _near(ours, stated, allowed, tolerance)
    if claim.against:
        return outcome(*_which(ours, (stated, float(claim.against)), allowed, tolerance))
    if near:
        return outcome(REPRODUCED, "within the tolerance" if allowed else "the same")
    if tolerance.name == "time":
        return outcome(NOT_REPRODUCED, f"more than a factor of {allowed:g} apart")
    direction = "more" if apart > 0 else "less"
    words = f"{_text(abs(apart), tolerance)} {direction} here; {_text(allowed, tolerance)} is allowed"
    return outcome(NOT_REPRODUCED, words)


def _near(ours: float, stated: float, allowed: float, tolerance: Tolerance) -> bool:
    if tolerance.name == "time":
        return ours > 0 and stated > 0 and abs(math.log(ours / stated)) <= math.log(allowed)
    return abs(ours - stated) <= allowed


def _which(ours: float, theirs: tuple[float, float], allowed: float, tolerance: Tolerance) -> tuple[str, str]:
    """Which of the two values of a source that contradicts itself ours agrees with."""
    stated, other = (_text(value, tolerance) for value in theirs)
    near = [_near(ours, value, allowed, tolerance) for value in theirs]
    if all(near):
        return REPRODUCED, f"ours agrees with both of the source's values, {stated} and {other}"
    if any(near):
        right, wrong = (stated, other) if near[0] else (other, stated)
        return REPRODUCED, f"ours agrees with {right}, not with {wrong}; the source gives both"
    return NOT_REPRODUCED, f"ours agrees with neither of the source's values, {stated} and {other}"


def direction(difference: float, allowed: float, ours: str, margin: float = 0.0, unit: str = "points") -> Outcome:
    """An order holds when its difference, less the margin claimed, exceeds what chance gives.

    It fails when it falls short by more than chance; between the two it is undecided, and so not tested.
    `difference`, `allowed` and `margin` are shares; the words give them as points or percent.
    """
    left = difference - margin
    size, chance = f"{abs(100 * left):.1f} {unit}", f"{100 * allowed:.1f}"
    status, words = REPRODUCED, f"by {size}{f' more than the {100 * margin:.1f} claimed' if margin else ''}"
    if abs(left) <= allowed:
        words = f"undecided: {size} {'from the margin claimed' if margin else 'apart'}, and chance gives {chance}"
        return Outcome(NOT_TESTED, words, ours, "", left, allowed)
    if left < 0:
        status = NOT_REPRODUCED
        words = f"{size} less than the {100 * margin:.1f} claimed" if margin else f"the other way round, by {size}"
    return Outcome(status, f"{words}; chance gives {chance}", ours, "", left, allowed)


def _text(value: float, tolerance: Tolerance) -> str:
    return f"{value:.{_DIGITS.get(tolerance.name, 4)}f}"


def _variance(run: Run, accuracy: float) -> float:
    """Of a test accuracy, by the number of test images alone."""
    return accuracy * (1 - accuracy) / max(run.number("test_images"), 1)


def _mean(runs: Sequence[Run], column: str) -> float:
    """The mean over replicates; epoch_seconds comes from the histories."""
    if column == "epoch_seconds":
        return fmean(run.at("seconds", epoch) for run in runs for epoch in run.history)
    return fmean(run.number(column) for run in runs)


# The checks. Each takes its words after the name, the claim, the evidence and the tolerance.


def result(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`result COLUMN [VARIANT]`: a figure of results.csv."""
    runs = evidence.fit(words[1] if len(words) > 1 else claim.variant, claim.needs)
    ours = _mean(runs, words[0])
    chance = FAR * math.sqrt(_variance(runs[0], ours)) if words[0] == "test_accuracy" else 0.0
    outcome = figure(ours, claim.numbers[0], claim, tolerance, chance)
    if outcome.status == NOT_REPRODUCED and words[0] == "test_accuracy":
        return replace(outcome, reason=outcome.reason + _out_of_reach(runs, claim.numbers[0], outcome.tolerance or 0.0))
    return outcome


def _out_of_reach(runs: Sequence[Run], stated: float, allowed: float) -> str:
    """Words for an accuracy that no epoch came near, be it on the images trained on; nothing where one did."""
    columns = ("train_accuracy", "validation_accuracy")
    seen = [float(row[name]) for run in runs for row in run.history.values() for name in columns if row.get(name)]
    if not seen or max(seen) + allowed >= stated:
        return ""
    return (
        f"; implausible for this network: no epoch came nearer than {max(seen):.4f}, on training or validation images"
    )


def history(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`history COLUMN`: a figure of history.csv at the claim's epoch, or at the last one."""
    runs = evidence.fit(claim.variant, claim.needs)
    ours = fmean(run.at(words[0], int(claim.epoch or 0)) for run in runs)
    return figure(ours, claim.numbers[0], claim, tolerance)


def parameters(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`parameters whole|trainable|fixed|base ...`: counts, in the order of the claim's numbers."""
    run = evidence.fit(claim.variant, claim.needs)[0]
    if "best point" in claim.needs:
        _require_best_point(run, evidence)
    unit = MILLION if tolerance.name == "million" else 1
    pairs = zip(words, claim.numbers, strict=True)
    outcomes = [figure(_count(run, word) / unit, stated, claim, tolerance) for word, stated in pairs]
    worst = max(outcomes, key=lambda each: abs(each.difference or 0))
    shown = " / ".join(each.ours for each in outcomes)
    return Outcome(worst.status, worst.reason, shown, "", worst.difference, worst.tolerance)


def _count(run: Run, which: str) -> float:
    if which == "whole":
        return run.number("parameters")
    network = run.file("build", "network.json")
    if which != "base":
        return network[_COUNTS[which]]
    bases = [layer["parameters"] for layer in network["layers"] if layer["contains"]]
    return number(max(bases, default=None), f"the network of {run.row['variant']} has no base")


def _require_best_point(run: Run, evidence: Evidence) -> None:
    """A source counts the parameters of the network that its own search found."""
    (found,) = [each for each in evidence.claims if each.variant == run.row["variant"] and each.metric == BEST]
    options = run.file("build", "network.json")["options"]
    if any(str(options.get(name)) != value for name, value in _settings(found.value.split()).items()):
        raise UntestedError(f"{found.variant}: our search chose other values, and so another network")


def _settings(words: Sequence[str]) -> dict[str, str]:
    return dict(word.split("=") for word in words)


def layers(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`layers KIND`: how many layers of a kind the network has."""
    network = evidence.fit(claim.variant, claim.needs)[0].file("build", "network.json")
    return figure(Counter(layer["kind"] for layer in network["layers"])[words[0]], claim.numbers[0], claim, tolerance)


def ratio(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`ratio SECONDS VARIANT THEIRS`: the claim's time as a share of the variant's, for which the source has THEIRS."""
    column, other, theirs = words
    runs = [evidence.fit(name, claim.needs) for name in (claim.variant, other)]
    _require_one_machine([run for each in runs for run in each])
    stated = fmean(log_values(claim.log).values()) if claim.log else claim.numbers[0]
    ours = _mean(runs[0], column) / _mean(runs[1], column)
    outcome = figure(ours, stated / float(theirs), claim, tolerance)
    claimed = f"{stated / float(theirs):.2f} times {other}"
    return Outcome(outcome.status, outcome.reason, outcome.ours, claimed, outcome.difference, outcome.tolerance)


def _require_one_machine(runs: Sequence[Run]) -> None:
    machines = [run.file("train", "step.json")["machine"] for run in runs]
    if any(machine != machines[0] for machine in machines):
        raise UntestedError("they were trained on different machines, so their times do not compare")


def order(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`order COLUMN VARIANT > VARIANT ... [+ MARGIN]`: the first exceeds each other one, by the margin."""
    column, first, _, *rest = words
    margin = float(rest[-1]) if "+" in rest else 0.0
    others = rest[: rest.index("+")] if "+" in rest else rest
    runs = {name: evidence.fit(name, claim.needs) for name in (first, *others)}
    values = {name: _mean(each, column) for name, each in runs.items()}
    strongest = max(others, key=lambda name: values[name])
    timed = column.endswith("seconds")
    ours = ", ".join(f"{name} {f'{value:.1f} s' if timed else f'{value:.4f}'}" for name, value in values.items())
    if timed:
        _require_one_machine([run for each in runs.values() for run in each])
        share = (values[first] - values[strongest]) / min(values[first], values[strongest])
        return direction(share, tolerance.amount, ours, unit="% of the time")
    spread = math.sqrt(sum(_variance(runs[name][0], values[name]) for name in (first, strongest)))
    return direction(values[first] - values[strongest], max(tolerance.amount, BOUND * spread), ours, margin)


def gain(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`gain COLUMN VARIANT VARIANT`: by how much the first exceeds the second."""
    runs = [evidence.fit(name, claim.needs) for name in words[1:]]
    values = [_mean(each, words[0]) for each in runs]
    spread = math.sqrt(sum(_variance(each[0], value) for each, value in zip(runs, values, strict=True)))
    return figure(values[0] - values[1], claim.numbers[0], claim, tolerance, FAR * spread)


def gap(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`gap train_accuracy VARIANT`: overfitting is a training accuracy well above the test accuracy."""
    runs = evidence.fit(words[1], claim.needs)
    train, test = _mean(runs, words[0]), _mean(runs, "test_accuracy")
    ours = f"training {train:.4f}, test {test:.4f} in {words[1]}"
    size = f"{100 * (train - test):+.1f} points, and overfitting begins at {100 * tolerance.amount:.0f}"
    status = REPRODUCED if train - test > tolerance.amount else NOT_REPRODUCED
    return Outcome(status, f"training less test accuracy is {size}", ours, "", train - test, tolerance.amount)


def peak(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`peak COLUMN`: the epoch at which a figure of history.csv is highest."""
    run = evidence.fit(claim.variant, claim.needs)[0]
    values = {epoch: run.at(words[0], epoch) for epoch in run.history or (1,)}
    return figure(max(values, key=lambda epoch: values[epoch]), claim.numbers[0], claim, tolerance)


def flat(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`flat COLUMN EPOCH`: after that epoch a figure of history.csv gains next to nothing (mean of the last two)."""
    run, epoch = evidence.fit(claim.variant, claim.needs)[0], int(words[1])
    last = max(run.history, default=0)
    if last < epoch + 2:
        raise UntestedError(f"our training of {claim.variant} ends at epoch {last}")
    start, end = run.at(words[0], epoch), fmean((run.at(words[0], last - 1), run.at(words[0], last)))
    status = REPRODUCED if end - start <= tolerance.amount else NOT_REPRODUCED
    reason = f"{100 * (end - start):+.1f} points after it; up to {100 * tolerance.amount:.0f} is flat"
    return Outcome(status, reason, f"{start:.4f}, then {end:.4f}", "", end - start, tolerance.amount)


def grid(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`grid NAME VALUE ... > VALUE ...`: each on the left beats each on the right, in pairs of equal points."""
    run, name = _whole_grid(claim, evidence), words[0]
    split = words.index(">")
    outcomes = []
    for better in words[1:split]:
        for worse in words[split + 1 :]:
            pairs = _pairs(run, name, better, worse)
            chance = BOUND * stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else 1.0
            ours = f"{better} over {worse}: {100 * fmean(pairs):+.1f} points in {len(pairs)} pairs"
            outcomes.append(direction(fmean(pairs), max(tolerance.amount, chance), ours))
    weakest = min(outcomes, key=lambda each: each.difference or 0)
    ours = "; ".join(each.ours for each in outcomes)
    return Outcome(weakest.status, weakest.reason, ours, "", weakest.difference, weakest.tolerance)


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
    """`best NAME=VALUE ...`: the best point with these values beats the best point with other ones."""
    run, wanted = _whole_grid(claim, evidence), _settings(words)
    inside = [trial for trial in run.trials if all(trial[name] == value for name, value in wanted.items())]
    outside = [trial for trial in run.trials if trial not in inside]
    if not inside or not outside:
        raise UntestedError("the grid has no point with these values, or no other one")
    theirs, other = max(inside, key=_score), max(outside, key=_score)
    shown = " ".join(f"{name}={other[name]}" for name in wanted)
    ours = f"{_score(theirs):.4f} at best; {_score(other):.4f} with {shown}"
    spread = math.sqrt(sum(_variance(run, _score(each)) for each in (theirs, other)))
    return direction(_score(theirs) - _score(other), max(tolerance.amount, BOUND * spread), ours)


Check = Callable[[Sequence[str], Claim, Evidence, Tolerance], Outcome]
CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (result, history, parameters, layers, ratio, order, gain, gap, peak, flat, grid, best)
}

"""How a claim is judged: the checks that params/claims.csv names, each a function of the claim and the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

from bakeoff.claims import BEST, Claim, Tolerance, log_values
from bakeoff.claims.evidence import Evidence, Run, UntestedError, number
from bakeoff.claims.grids import best, grid, settings
from bakeoff.claims.measured import (
    Measured,
    accuracy_difference,
    binary_accuracy,
    first_predicted,
    over_seeds,
    overfitting_steps,
    seconds_difference,
    test_accuracy,
    test_loss,
)
from bakeoff.claims.outcomes import (
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    Outcome,
    agreeing,
    direction,
    figure,
    together,
)
from bakeoff.claims.times import compared_seconds, over_epochs

MILLION = 1_000_000
_COUNTS = {"trainable": "trainable_parameters", "fixed": "non_trainable_parameters"}
_WITH_INTERVALS = {"test_accuracy": test_accuracy, "test_loss": test_loss, "binary_accuracy": binary_accuracy}

# The checks. Each takes its words after the name, the claim, the evidence and the tolerance.


def result(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`result COLUMN [VARIANT]`: a figure of results.csv."""
    runs = evidence.fit(words[1] if len(words) > 1 else claim.variant, claim.needs)
    if words[0] not in _WITH_INTERVALS:
        return figure(over_seeds([run.number(words[0]) for run in runs]), claim.numbers[0], claim, tolerance)
    outcome = figure(_WITH_INTERVALS[words[0]](runs), claim.numbers[0], claim, tolerance)
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
    """`history COLUMN`: a figure of history.csv at the claim's epoch, or at the last one; of a log the whole curve."""
    runs = evidence.fit(claim.variant, claim.needs)
    if claim.log:
        return _curve(words[0], claim, runs, tolerance)
    return figure(_at(runs, words[0], int(claim.epoch or 0)), claim.numbers[0], claim, tolerance)


def _at(runs: Sequence[Run], column: str, epoch: int) -> Measured:
    return over_seeds([run.at(column, epoch) for run in runs])


def _curve(column: str, claim: Claim, runs: Sequence[Run], tolerance: Tolerance) -> Outcome:
    """A log holds when each epoch does, and fails when one does; the farthest epoch is named, ours is the last one."""
    printed = log_values(claim.log)
    last = max(printed)
    ours = figure(_at(runs, column, last), printed[last], claim, tolerance).ours
    there = [epoch for epoch in printed if all(run.history.get(epoch, {}).get(column) for run in runs)]
    outcomes = {epoch: figure(_at(runs, column, epoch), printed[epoch], claim, tolerance) for epoch in there}
    found = together(list(outcomes.values()))
    if len(there) < len(printed) and found.status != NOT_REPRODUCED:
        raise UntestedError(f"our training of {claim.variant} shows {len(there)} of the log's {len(printed)} epochs")
    farthest = max(there, key=lambda epoch: abs(outcomes[epoch].difference or 0) / (outcomes[epoch].tolerance or 1))
    worst = outcomes[farthest]
    where = f"farthest at epoch {farthest}, {worst.ours} against {printed[farthest]:g}"
    reason = f"of {len(there)} epoch{'s' if len(there) > 1 else ''} {where}: {worst.reason}"
    return replace(worst, status=found.status, reason=reason, ours=ours)


def parameters(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`parameters whole|trainable|fixed|base ...`: counts, in the order of the claim's numbers."""
    run = evidence.fit(claim.variant, claim.needs)[0]
    if "best point" in claim.needs:
        run = _at_best_point(run, evidence)
    unit = MILLION if tolerance.name == "million" else 1
    pairs = zip(words, claim.numbers, strict=True)
    outcomes = [figure(Measured(_count(run, word) / unit), stated, claim, tolerance) for word, stated in pairs]
    found = together(outcomes)
    whose = "" if run.row["variant"] == claim.variant else f", with the source's values ({run.row['variant']})"
    return replace(found, reason=found.reason + whose, ours=" / ".join(each.ours for each in outcomes))


def _count(run: Run, which: str) -> float:
    if which == "whole":
        return run.number("parameters")
    network = run.file("build", "network.json")
    if which != "base":
        return network[_COUNTS[which]]
    bases = [layer["parameters"] for layer in network["layers"] if layer["contains"]]
    return number(max(bases, default=None), f"the network of {run.row['variant']} has no base")


def _at_best_point(run: Run, evidence: Evidence) -> Run:
    """A source counts the parameters of the network that its own search found: that one, be it of a hypothesis."""
    (found,) = [each for each in evidence.claims if each.variant == run.row["variant"] and each.metric == BEST]
    wanted = settings(found.value.split())
    others = [evidence.runs[name][0] for name in evidence.hypotheses(found.variant)]
    for each in (run, *(other for other in others if other.row["status"] == "ok")):
        options = each.file("build", "network.json")["options"]
        if all(str(options.get(name)) == value for name, value in wanted.items()):
            return each
    raise UntestedError(f"{found.variant}: our search chose other values, and so another network")


def layers(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`layers KIND`: how many layers of a kind the network has."""
    network = evidence.fit(claim.variant, claim.needs)[0].file("build", "network.json")
    layers_of_kind = Counter(layer["kind"] for layer in network["layers"])[words[0]]
    return figure(Measured(layers_of_kind), claim.numbers[0], claim, tolerance)


def copy(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`copy COLUMN VARIANT`: two numbers of images, of which a copy of the data may lack some and has none too many."""
    there = evidence.fit(words[1], claim.needs)[0].number(words[0])
    stated = claim.numbers[0], float(claim.against)
    possible, ruled_out = [each for each in stated if each >= there], [each for each in stated if each < there]
    if not ruled_out:
        raise UntestedError(
            f"our copy of the data holds {there:.0f} {words[0].replace('_', ' ')}, which rules out neither"
        )
    told = (
        f"a copy may lack images and has none too many, so that ours rules out {' and '.join(map(_whole, ruled_out))}"
    )
    agrees = f"; it can be {_whole(possible[0])}; the source gives both" if possible else ""
    return Outcome(REPRODUCED if possible else NOT_REPRODUCED, told + agrees, _whole(there))


def _whole(figure: float) -> str:
    return f"{figure:.0f}"


def ratio(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`ratio SECONDS VARIANT THEIRS`: the claim's time as a share of the variant's, for which the source has THEIRS."""
    column, other, theirs = words
    seconds, note = compared_seconds(column, (claim.variant, other), claim, evidence)
    stated = fmean(log_values(claim.log).values()) if claim.log else claim.numbers[0]
    ours = fmean(seconds[claim.variant]) / fmean(seconds[other])
    outcome = figure(Measured(ours), stated / float(theirs), claim, tolerance)
    claimed = f"{stated / float(theirs):.2f} times {other}"
    return replace(outcome, claimed=claimed, reason=outcome.reason + note)


def order(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`order COLUMN VARIANT > VARIANT ... [+ MARGIN]`: the first exceeds each other one, by the margin."""
    column, first, _, *rest = words
    margin = float(rest[-1]) if "+" in rest else 0.0
    others = rest[: rest.index("+")] if "+" in rest else rest
    if column.endswith("seconds"):
        return _order_of_seconds(column, first, others, claim, evidence, tolerance)
    runs = {name: evidence.fit(name, claim.needs) for name in (first, *others)}
    ours = ", ".join(f"{name} {fmean(run.number(column) for run in each):.4f}" for name, each in runs.items())
    found = [accuracy_difference(runs[first], runs[name]) for name in others]
    return together([direction(each, tolerance.amount, ours, margin) for each in found])


def _order_of_seconds(
    column: str, first: str, others: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance
) -> Outcome:
    seconds, note = compared_seconds(column, (first, *others), claim, evidence)
    ours = ", ".join(f"{name} {fmean(each):.1f} s" for name, each in seconds.items())
    what = "trainings"
    if all(len(each) == 1 for each in seconds.values()):  # then their epochs tell how much the seconds vary
        runs = {name: evidence.fit(name, claim.needs)[0] for name in seconds}
        seconds, what = {name: over_epochs(runs[name], *each) for name, each in seconds.items()}, "epochs"
    apart = [seconds_difference(seconds[first], seconds[name], what) for name in others]
    found = [direction(each, tolerance.amount, ours, unit="% of the time") for each in apart]
    outcome = together(found)
    return replace(outcome, reason=outcome.reason + note)


def gain(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`gain test_accuracy VARIANT VARIANT`: by how much the first exceeds the second."""
    first, second = (evidence.fit(name, claim.needs) for name in words[1:])
    return figure(accuracy_difference(first, second), claim.numbers[0], claim, tolerance)


def gap(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`gap train_accuracy VARIANT`: overfitting is a training accuracy well above the test accuracy."""
    runs = evidence.fit(words[1], claim.needs)
    steps, least = min(run.number("optimizer_steps") for run in runs), overfitting_steps()
    if steps < least:
        raise UntestedError(f"{words[1]}: {steps:.0f} optimizer steps, and below {least} no gap tells of overfitting")
    train, test = fmean(run.number(words[0]) for run in runs), test_accuracy(runs)
    ours = f"training {train:.4f}, test {test.value:.4f} in {words[1]}"
    low, high = (train - each for each in reversed(test.bounds or (test.value, test.value)))
    begins = Measured(train - test.value - tolerance.amount, (low - tolerance.amount, high - tolerance.amount))
    found = direction(begins, 0.0, ours)
    size = f"training less test accuracy is {100 * (train - test.value):+.1f} points"
    reason = f"{size}, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}; overfitting begins at "
    reason = ("undecided: " if found.status == UNDECIDED else "") + f"{reason}{100 * tolerance.amount:g}"
    return Outcome(found.status, reason, ours, "", train - test.value, tolerance.amount, (low, high))


def predicts(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`predicts CLASS ...`: what is predicted of the first test images, which are of these classes, with every seed."""

    def of(run: Run) -> Outcome:
        labels, predicted = first_predicted(run, len(words))
        if labels != [int(word) for word in words]:
            raise UntestedError(f"the first test images of our run of {claim.variant} are others")
        ours = " ".join(map(str, predicted))
        same = sum(f"{one}" == other for one, other in zip(predicted, claim.value.split(), strict=True))
        status = REPRODUCED if same == len(words) else NOT_REPRODUCED
        return Outcome(status, f"{same} of {len(words)} the same", ours, "", same - len(words), tolerance.amount)

    return agreeing([of(run) for run in evidence.fit(claim.variant, claim.needs)])


def peak(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`peak COLUMN`: the epoch at which a figure of history.csv is highest, with every seed."""

    def of(run: Run) -> Outcome:
        values = {epoch: run.at(words[0], epoch) for epoch in run.history or (1,)}
        highest = max(values, key=lambda epoch: values[epoch])
        return figure(Measured(highest), claim.numbers[0], claim, tolerance)

    return agreeing([of(run) for run in evidence.fit(claim.variant, claim.needs)])


def flat(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: Tolerance) -> Outcome:
    """`flat COLUMN EPOCH`: after that epoch a figure of history.csv goes nowhere, neither up nor down, with every seed.

    Judged by the mean of two neighbouring epochs that is farthest from the figure at that epoch.
    """
    column, after = words[0], int(words[1])

    def of(run: Run) -> Outcome:
        last = max(run.history, default=0)
        if last < after + 2:
            raise UntestedError(f"our training of {claim.variant} ends at epoch {last}")
        values = {epoch: run.at(column, epoch) for epoch in range(after, last + 1)}
        means = {two: fmean(values[each] for each in two) for two in pairwise(range(after + 1, last + 1))}
        two = max(means, key=lambda each: abs(means[each] - values[after]))
        outcome = figure(Measured(means[two] - values[after]), 0.0, claim, tolerance)
        where = f"{100 * (means[two] - values[after]):+.1f} points at epochs {two[0]} and {two[1]}"
        reason = f"{where}; up to {100 * tolerance.amount:g} either way is flat"
        undecided = "undecided: " if outcome.status == UNDECIDED else ""
        return replace(outcome, reason=undecided + reason, ours=f"{values[after]:.4f}, then {means[two]:.4f}")

    return agreeing([of(run) for run in evidence.fit(claim.variant, claim.needs)])


Check = Callable[[Sequence[str], Claim, Evidence, Tolerance], Outcome]
CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (result, history, parameters, layers, copy, ratio, order, gain, gap, predicts, peak, flat, grid, best)
}

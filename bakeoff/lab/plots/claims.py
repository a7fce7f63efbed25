"""The audit of the sources' claims in tables, sentences and one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bakeoff.lab.claims import CONCLUSIONS, NOT_REPRODUCED, NOT_TESTED, REPRODUCED, UNDECIDED, logs, of_kind
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import percent, points

LONGEST_REASON = 110  # characters in a table
LONGEST_SENTENCE = 260  # in a list
CURVES = {"train_accuracy": ("training", COLORS[0]), "validation_accuracy": ("validation", COLORS[1])}
_HOLDS = {
    REPRODUCED: "**It holds here**",
    NOT_REPRODUCED: "**It does not hold here**",
    UNDECIDED: "**These data cannot tell**",
    NOT_TESTED: "Not tested",
}
# How a reason begins -> why a claim is not tested, for the sentence that counts
_WHY = {"it would take": "can be tested by no run of these variants"}


def counts(audit: pd.DataFrame) -> str:
    """How many claims there are and what became of them, and why those not tested are not."""
    if audit.empty:
        return "**No source makes a claim about these variants.**"
    number = audit["status"].value_counts()
    number = number.reindex([REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_TESTED], fill_value=0)
    claims = "the only claim" if len(audit) == 1 else f"{len(audit)} claims"
    *first, last = (_are(int(many), status) for status, many in number.items())
    parts = f"{', '.join(first)}, and {last}"
    judged = (
        "" if number[[REPRODUCED, NOT_REPRODUCED]].sum() else " So this run says nothing for or against any source."
    )
    return f"**Of {claims} about these variants {parts}.**{judged}{_why_untested(audit)}"


def _are(number: int, status: str) -> str:
    return f"{number} {'is' if number == 1 else 'are'} {status}"


def _why_untested(audit: pd.DataFrame) -> str:
    reasons = audit.loc[audit["status"] == NOT_TESTED, "reason"]
    if reasons.empty:
        return ""
    kinds = reasons.map(_kind_of_reason).value_counts(sort=False)
    listed = [f"{number} {words}" for words, number in kinds.items()]
    return f" Of those not tested, {'; '.join(listed)}."


def _kind_of_reason(reason: str) -> str:
    for start, words in _WHY.items():
        if reason.startswith(start):
            return words
    if "is not part of this run" in reason:
        return "would need a variant that is not part of this run"
    return "would need a finished run on the source's data, with its whole schedule and its weights"


def parameter_words(audit: pd.DataFrame) -> str:
    """The numbers of parameters in a sentence: a network is the source's only if it has as many as the source says."""
    every = of_kind(audit, "parameters")
    rows = every[every["source"] != ""]  # what the catalogue says of itself is no source's number
    if rows.empty:
        return "No source prints a number of parameters of these variants."
    status = rows["status"]
    tested = rows[status != NOT_TESTED]
    if tested.empty:
        return f"None of the {len(rows)} numbers of parameters can be compared in this run."
    wrong = tested[tested["status"] == NOT_REPRODUCED]
    equal = "all" if wrong.empty else f"{len(tested) - len(wrong)}"
    left = f"; {len(rows) - len(tested)} more are not tested" if len(rows) > len(tested) else ""
    text = f"Of {len(tested)} numbers of parameters that were compared, {equal} are exactly the source's{left}."
    return text + "".join(
        f" `{row['variant']}`: {row['ours']} here, {row['claimed']} there." for _, row in wrong.iterrows()
    )


def figures(audit: pd.DataFrame, source: str) -> pd.DataFrame:
    """Every figure that a source prints beside ours; a training log stands with its last epoch."""
    rows = of_kind(audit, "number")
    return pd.DataFrame(
        [
            {
                "variant": row["variant"],
                "figure": _figure(row),
                "source": _value(row["claimed"], row["metric"]),
                "here": _here(row),
                "difference": _difference(row),
                "95 % interval": _interval(row),
                "allowed": _allowed(row),
                "reading": _reading(row),
            }
            for _, row in rows[rows["source"] == source].iterrows()
        ]
    )


def contradictions(audit: pd.DataFrame) -> pd.DataFrame:
    """Where a source says two things: both, ours, and which of them ours agrees with."""
    return pd.DataFrame(
        [
            {
                "variant": row["variant"] or f"({row['source']})",
                "figure": _figure(row),
                "the source says": _value(row["claimed"], row["metric"]),
                "and also": f"{row['against']} times" if _is_ratio(row) else _value(row["against"], row["metric"]),
                "note": row["note"],
                "here": _here(row),
                "reading": _reading(row),
            }
            for _, row in of_kind(audit, "contradiction").iterrows()
        ]
    )


def examples(audit: pd.DataFrame) -> pd.DataFrame:
    """Single pictures and predictions that a source shows, and why no run can repeat them."""
    rows = of_kind(audit, "example")
    columns = {"variant": "variant", "where": "where", "metric": "what", "claimed": "the source shows"}
    return rows[list(columns)].rename(columns=columns).assign(reading=[_reading(row) for _, row in rows.iterrows()])


def conclusions(audit: pd.DataFrame) -> str:
    """Every conclusion of the sources in a list, under a sentence that counts them."""
    rows = of_kind(audit, *CONCLUSIONS)
    if rows.empty:
        return "No source draws a conclusion about these variants."
    number = rows["status"].value_counts()
    held, failed, open_ = (int(number.get(each, 0)) for each in (REPRODUCED, NOT_REPRODUCED, UNDECIDED))
    drawn = "1 conclusion" if len(rows) == 1 else f"{len(rows)} conclusions"
    tested, left = "none is tested", len(rows) - held - failed - open_
    if held + failed + open_:
        tested = f"{_holds(held)} here, {_holds(failed, 'does not hold', 'do not hold')}"
        tested += f", {_are(open_, 'undecided')}" if open_ else ""
        tested += f", {_are(left, 'not tested')}" if left else ""
    items = [_item(group) for _, group in rows.groupby(_same_outcome(rows), sort=False)]
    return "\n".join([f"Of {drawn} about these variants, {tested}.", "", *items])


def _same_outcome(rows: pd.DataFrame) -> pd.Series:
    """Conclusions about one variant that are not tested for the same reason are one item."""
    alone = (rows["status"] != NOT_TESTED) | (rows["ours"] != "") | (rows["variant"] == "")
    return (rows["variant"] + rows["reason"]).where(~alone, rows.index.astype(str))


def _item(group: pd.DataFrame) -> str:
    """One item: who concludes what, whether it holds here, by what, and what to know beside it."""
    row = group.iloc[0]
    origin = f"`{row['source']}`" if row["source"] else "The project's own hypothesis"
    about = f", `{row['variant']}`" if row["variant"] else ""
    says = "; ".join(f"*{each['metric']}*{_in_brackets(each['claimed'])}" for _, each in group.iterrows())
    ours = f" Here: {row['ours']}." if row["ours"] else ""
    note = f" Note: {row['note']}." if row["note"] else ""
    reason = _short(_reason(row).removeprefix("undecided: "), LONGEST_SENTENCE)
    return f"- {origin}{about}: {says}. {_HOLDS[row['status']]}: {reason}.{ours}{note}"


def _in_brackets(text: str) -> str:
    return f" (`{text}`)" if text else ""


def _holds(number: int, one: str = "holds", more: str = "hold") -> str:
    return f"{number} {one if number == 1 else more}"


def _figure(row: pd.Series) -> str:
    epoch = f", epoch {row['epoch']}" if row["epoch"] else ""
    return f"{row['metric'].replace('_', ' ')}{epoch} ({row['where']})"


def _value(text: str, metric: str) -> str:
    """A share as percent where the figure is an accuracy; anything else as it stands."""
    try:
        number = float(text)
    except ValueError:
        return text
    return percent(number) if "accuracy" in metric and 0 <= number <= 1 else text


def _is_ratio(row: pd.Series) -> bool:
    return " times " in row["claimed"]


def _here(row: pd.Series) -> str:
    if _is_ratio(row) and row["ours"]:
        return f"{row['ours']} times"
    return _value(row["ours"], row["metric"])


def _difference(row: pd.Series) -> str:
    if math.isnan(row["difference"]) or _is_ratio(row):
        return ""
    if "accuracy" not in row["metric"]:
        return f"{row['difference']:+.4g}"
    try:  # of the two figures as they are printed beside it
        return f"{points(float(row['ours']), float(row['claimed']), sign=True)} points"
    except ValueError:
        return f"{100 * row['difference']:+.1f} points"


def _interval(row: pd.Series) -> str:
    """The interval of the difference; a figure of a single training has none."""
    if math.isnan(row["low"]) or _is_ratio(row):
        return ""
    if "accuracy" in row["metric"]:
        return f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f} points"
    return f"{row['low']:+.3g} to {row['high']:+.3g}"


def _allowed(row: pd.Series) -> str:
    if math.isnan(row["tolerance"]):
        return ""
    if _is_ratio(row):
        return f"a factor of {row['tolerance']:g}"
    return f"{100 * row['tolerance']:.1f} points" if "accuracy" in row["metric"] else f"{row['tolerance']:.3g}"


def _reading(row: pd.Series) -> str:
    """The outcome; with its reason where that is more than the columns beside it say."""
    farthest = row["log"] != "" and row["status"] != REPRODUCED  # the columns are those of one epoch: which one
    if row["kind"] != "contradiction" and row["status"] != NOT_TESTED and not farthest:
        return str(row["status"])
    reason = _reason(row).removeprefix(f"{row['status']}: ").removeprefix(f"{row['status']} ")
    return _short(row["reason"] if row["status"] == REPRODUCED else f"{row['status']}: {reason}")


def _reason(row: pd.Series) -> str:
    """The reason without the name of the variant that the row is about."""
    return str(row["reason"]).removeprefix(f"{row['variant']}: ")


def _short(text: str, longest: int = LONGEST_REASON) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def drawn_logs(audit: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The training logs of the sources that hold an accuracy."""
    return {variant: log for variant, log in logs(audit).items() if any(name in log for name in CURVES)}


def log_curves(audit: pd.DataFrame, histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy by epoch, a panel a variant: what the source's log prints dashed, ours solid."""
    printed = drawn_logs(audit)
    if not printed:
        raise ValueError("no source prints a training log of these variants")
    columns = min(3, len(printed))
    lines = math.ceil(len(printed) / columns)
    size = (max(2.9 * columns, 4.4), 2.5 * lines + 0.7)
    figure, grid = plt.subplots(lines, columns, figsize=size, sharey=True, squeeze=False)
    for axes, (variant, log) in zip(grid.flat, printed.items(), strict=False):
        _draw(axes, log, "--", "source")
        _draw(axes, histories.get(variant, pd.DataFrame()), "-", "here")
        axes.set_title(f"{variant}{'' if _is_tested(audit, variant) else ' (not tested)'}", fontsize=8)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    for axes in grid.flat[len(printed) :]:
        axes.axis("off")
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    lines_by_label = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend(handles=list(lines_by_label.values()), loc="outside lower center", ncols=len(lines_by_label))
    return figure


def _draw(axes: Axes, frame: pd.DataFrame, line: str, whose: str) -> None:
    """The accuracies of a log (epochs as its index) or of a history (epochs as a column)."""
    epochs = frame.get("epoch", frame.index)
    for name, (label, color) in CURVES.items():
        if name in frame and frame[name].notna().any():
            marker = "." if len(frame) == 1 else ""
            axes.plot(epochs, frame[name], line, color=color, linewidth=1.2, marker=marker, label=f"{label}, {whose}")


def _is_tested(audit: pd.DataFrame, variant: str) -> bool:
    rows = audit[(audit["variant"] == variant) & (audit["log"] != "") & audit["metric"].isin(CURVES)]
    return bool((rows["status"] != NOT_TESTED).any())


def log_words(audit: pd.DataFrame, histories: Mapping[str, pd.DataFrame]) -> str:
    """Where each log ends, and where ours does, in words."""
    sentences = []
    for variant, log in drawn_logs(audit).items():
        ends = [f"{label} {percent(log[name].dropna().iloc[-1])}" for name, (label, _) in CURVES.items() if name in log]
        ours = _end(histories.get(variant, pd.DataFrame()))
        tested = "" if _is_tested(audit, variant) else ", which is not the source's training and tests nothing"
        here = f"here after {ours}{tested}" if ours else "there is no training of it here"
        sentences.append(f"{variant}: the source ends at {' and '.join(ends)} after epoch {log.index[-1]}, {here}.")
    return " ".join(sentences)


def _end(history: pd.DataFrame) -> str:
    names = [name for name in CURVES if name in history and np.isfinite(history[name].iloc[-1])]
    ends = " and ".join(f"{CURVES[name][0]} {percent(history[name].iloc[-1])}" for name in names)
    return f"epoch {int(history['epoch'].iloc[-1])} at {ends}" if names else ""

"""The audit of the sources' claims: the table of what was tested, and a sentence on the numbers of parameters."""

from __future__ import annotations

import pandas as pd

from bakeoff.lab.claims import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, UNDECIDED, of_kind
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import percent

LONGEST_REASON = 450  # characters in a table
STATUS_COLORS = {REPRODUCED: COLORS[2], NOT_REPRODUCED: COLORS[1], UNDECIDED: COLORS[5], NOT_TESTED: "#D0D0D0"}


def tested(audit: pd.DataFrame, *kinds: str) -> pd.DataFrame:
    """The claims of these kinds that were tested: what the source says, ours, the outcome and what it rests on."""
    rows = of_kind(audit, *kinds)
    rows = rows[rows["status"] != NOT_TESTED]
    return pd.DataFrame(
        [
            {
                "variant": row["variant"] or row["source"],
                "claim": _claim(row),
                "the source": _stated(row),
                "here": _here(row),
                "outcome": row["status"],
                "because": _because(row),
            }
            for _, row in rows.iterrows()
        ]
    )


def _claim(row: pd.Series) -> str:
    epoch = f", epoch {row['epoch']}" if row["epoch"] else ""
    note = f"; {row['note']}" if row["note"] else ""
    return f"{row['metric'].replace('_', ' ')}{epoch} ({row['where']}{note})"


def _stated(row: pd.Series) -> str:
    """What the source says; both values where it contradicts itself."""
    return " and ".join(_value(row[name], row["metric"]) for name in ("claimed", "against") if row[name])


def _here(row: pd.Series) -> str:
    if " times " in row["claimed"] and row["ours"]:
        return f"{row['ours']} times"
    return _value(row["ours"], row["metric"])


def _value(text: str, metric: str) -> str:
    """A share as percent where the figure is an accuracy; anything else as it stands."""
    try:
        number = float(text)
    except ValueError:
        return text
    return percent(number) if "accuracy" in metric and 0 <= number <= 1 else text


def _because(row: pd.Series) -> str:
    """The reason, without what stands in the columns beside it."""
    reason = str(row["reason"]).removeprefix(f"{row['variant']}: ").removeprefix(f"{row['status']}: ")
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…"


def parameter_words(audit: pd.DataFrame) -> str:
    """The numbers of parameters in a sentence: a network is the source's only if it has as many as the source says."""
    every = of_kind(audit, "parameters")
    rows = every[every["source"] != ""]  # what the catalogue says of itself is no source's number
    if rows.empty:
        return "No source prints a number of parameters of these variants."
    compared = rows[rows["status"] != NOT_TESTED]
    if compared.empty:
        return f"None of the {len(rows)} numbers of parameters can be compared in this run."
    wrong = compared[compared["status"] == NOT_REPRODUCED]
    equal = "all" if wrong.empty else f"{len(compared) - len(wrong)}"
    left = f"; {len(rows) - len(compared)} more are not tested" if len(rows) > len(compared) else ""
    text = f"Of {len(compared)} numbers of parameters that were compared, {equal} are exactly the source's{left}."
    return text + "".join(
        f" `{row['variant']}`: {row['ours']} here, {row['claimed']} there." for _, row in wrong.iterrows()
    )

"""Read the audit of the sources' claims: claims.csv, a row a claim, with what became of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_TESTED = "reproduced", "not reproduced", "undecided", "not tested"
STATUSES = (REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_TESTED)
NUMBERS = ("difference", "low", "high", "tolerance")
COLUMNS = (
    *("source", "variant", "kind", "where", "metric", "epoch", "claimed", "against", "ours", "difference"),
    *("low", "high", "tolerance", "status", "reason", "note", "log"),
)
CONCLUSIONS = ("ordering", "conclusion", "hypothesis", "argument")


def read(path: str | Path) -> pd.DataFrame:
    """The audit, all as text but NUMBERS; NaN there where nothing was compared, or a figure has no interval.

    Without what hypotheses make of a claim: they count as none, and stand in the chapter of their variant.
    Raises ValueError where a column is missing or a status is none of STATUSES.
    """
    audit = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in COLUMNS if name not in audit]
    if missing:
        raise ValueError(f"claims.csv lacks {', '.join(missing)}; rebuild the report")
    unknown = sorted(set(audit["status"]) - set(STATUSES))
    if unknown:
        raise ValueError(f"claims.csv has the status {unknown[0]!r}; known are {', '.join(STATUSES)}")
    if "hypothesis" in audit:
        audit = audit[audit["hypothesis"] == ""].reset_index(drop=True)
    for name in NUMBERS:
        audit[name] = pd.to_numeric(audit[name], errors="coerce")
    return audit


def of_kind(audit: pd.DataFrame, *kinds: str) -> pd.DataFrame:
    """The claims of these kinds, in the order of the audit."""
    return audit[audit["kind"].isin(kinds)].reset_index(drop=True)


def logs(audit: pd.DataFrame) -> pd.DataFrame:
    """What the sources printed by epoch: `variant`, `epoch` and a column a figure; NaN where one is not printed."""
    rows = [
        {"variant": row["variant"], "epoch": int(epoch), row["metric"]: float(value)}
        for _, row in audit[audit["log"] != ""].iterrows()
        for epoch, value in (pair.split(":") for pair in row["log"].split())
    ]
    frame = pd.DataFrame(rows, columns=["variant", "epoch"] if not rows else None)
    return frame.groupby(["variant", "epoch"], as_index=False, sort=False).first()


def why_not_tested(audit: pd.DataFrame) -> pd.DataFrame:
    """How many claims are not tested, by what a test of them would take."""
    reasons = audit.loc[audit["status"] == NOT_TESTED, "reason"]
    return reasons.map(_kind_of_reason).value_counts().rename_axis("a test would take").reset_index(name="claims")


def _kind_of_reason(reason: str) -> str:
    if reason.startswith("it would take"):
        return "what no run of these variants has (see appendix B)"
    if "is not part of this run" in reason:
        return "a variant that is not part of this run"
    return "a finished run on the source's data, with its whole schedule and its weights"

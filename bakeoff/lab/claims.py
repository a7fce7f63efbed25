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
        raise ValueError(f"claims.csv lacks {', '.join(missing)}; make the report again")
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


def sources(audit: pd.DataFrame) -> list[str]:
    """The sources that print figures, in the order of the audit."""
    return [source for source in dict.fromkeys(of_kind(audit, "number")["source"]) if source]


def logs(audit: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Variant -> what its source printed by epoch (rows), a column a figure; NaN where an epoch is not printed."""
    series: dict[str, dict[str, pd.Series]] = {}
    for _, row in audit[audit["log"] != ""].iterrows():
        pairs = dict(pair.split(":") for pair in row["log"].split())
        values = pd.Series({int(epoch): float(value) for epoch, value in pairs.items()})
        series.setdefault(row["variant"], {})[row["metric"]] = values
    return {variant: pd.DataFrame(columns).sort_index() for variant, columns in series.items()}

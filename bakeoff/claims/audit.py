"""The audit: every claim of the sources beside what finished steps measured. A pure function of both."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from bakeoff.claims import Claim, whole_logs
from bakeoff.claims.checks import CHECKS
from bakeoff.claims.evidence import Evidence, UntestedError
from bakeoff.claims.outcomes import NOT_TESTED, STATUSES, Outcome, beside

COLUMNS = (
    *("source", "variant", "kind", "where", "metric", "epoch", "claimed", "against", "ours", "difference"),
    *("low", "high", "tolerance", "status", "reason", "note", "log", "hypothesis"),
)


@dataclass(frozen=True)
class Finding:
    """One claim and what became of it.

    about: of a claim as a hypothesis has it (see `hypothesis_of` in base.yaml), the variant that the source tells of;
    the claim's own is then the hypothesis. Such findings stand under the claim's, and do not count as claims.
    """

    claim: Claim
    outcome: Outcome
    about: str = ""

    @property
    def variant(self) -> str:
        """The variant that the source tells of."""
        return self.about or self.claim.variant

    @property
    def row(self) -> dict[str, Any]:
        """The finding by the names of COLUMNS."""
        claim, outcome = self.claim, self.outcome
        shared = {name: getattr(claim, name, "") for name in COLUMNS}
        low, high = outcome.bounds or (None, None)
        numbers = {"difference": outcome.difference, "low": low, "high": high, "tolerance": outcome.tolerance}
        measured = {name: _rounded(value) for name, value in numbers.items()}
        judged = {"ours": outcome.ours, "status": outcome.status, "reason": outcome.reason}
        where = f"{claim.where}, by {claim.variant}" if self.about else claim.where
        told = {"variant": self.variant, "where": where, "hypothesis": claim.variant if self.about else ""}
        return shared | measured | judged | told | {"claimed": outcome.claimed or claim.value}


def audit(evidence: Evidence) -> list[Finding]:
    """A finding for each claim that is about a variant of the evidence, or about its source."""
    sources = {str(run.row["source"]) for runs in evidence.runs.values() for run in runs}
    concerned = [
        claim
        for claim in whole_logs(evidence.claims)
        if any(name in evidence.runs for name in claim.variants) or (not claim.variants and claim.source in sources)
    ]
    return [finding for claim in concerned for finding in _findings(claim, evidence)]


def _findings(claim: Claim, evidence: Evidence) -> Iterator[Finding]:
    """What became of a claim and, where a training of its variant judges it, how each hypothesis does."""
    yield Finding(claim, _judge(claim, evidence))
    names = [word for words, _ in claim.checks for word in words]
    for name in evidence.hypotheses(claim.variant) if claim.kind == "number" and claim.variant not in names else ():
        own = replace(claim, variant=name)
        yield Finding(own, _judge(own, evidence), claim.variant)


def _judge(claim: Claim, evidence: Evidence) -> Outcome:
    if not claim.check:
        return Outcome(NOT_TESTED, f"it would take {claim.needs}")
    parts = []
    for words, tolerance in claim.checks:
        try:
            found = CHECKS[words[0]](words[1:], claim, evidence, evidence.tolerances[tolerance])
        except UntestedError as error:
            found = replace(_shown(words, claim, evidence, tolerance), status=NOT_TESTED, reason=str(error))
        parts.append(found)
    return beside(parts, [words[1] for words, _ in claim.checks])


def _shown(words: Sequence[str], claim: Claim, evidence: Evidence, tolerance: str) -> Outcome:
    """What we have for a claim that nothing here may judge, without a difference: it is shown, not compared."""
    try:
        lenient = replace(evidence, lenient=True)
        outcome = CHECKS[words[0]](words[1:], claim, lenient, evidence.tolerances[tolerance])
    except UntestedError:
        return Outcome(NOT_TESTED, "")
    return Outcome(NOT_TESTED, "", outcome.ours, outcome.claimed)


def to_csv(findings: Sequence[Finding]) -> str:
    """The audit as CSV text: the same bytes for the same findings."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(finding.row for finding in findings)
    return buffer.getvalue()


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings have each status."""
    counts = Counter(finding.outcome.status for finding in findings if not finding.about)
    return {status: counts[status] for status in STATUSES}


def describe(findings: Sequence[Finding]) -> list[str]:
    """The audit for the terminal: a heading a variant, a line a claim, the counts at the end."""
    lines = []
    for heading, group in groupby(sorted(findings, key=_heading), key=_heading):
        lines += [heading, *(f"    {_line(finding.row)}" for finding in group)]
    counts = count(findings)
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    number = sum(counts.values())
    return [*lines, f"{number} claim{'s' if number != 1 else ''}: {words}."]


def _heading(finding: Finding) -> str:
    claim, variant = finding.claim, finding.variant
    source = claim.source or "the catalogue's own"
    return f"{variant} ({source})" if variant else f"{source} as a whole"


def _line(row: Mapping[str, Any]) -> str:
    epoch = f" of epoch {row['epoch']}" if row["epoch"] else ""
    claimed = f": {_short(row['claimed'])}" if row["claimed"] else ""
    other = f" (elsewhere {row['against']})" if row["against"] else ""
    ours = f"; ours {row['ours']}" if row["ours"] else ""
    return f"{row['status']}: {_short(row['metric'])}{epoch}, {row['where']}{claimed}{other}{ours}. {row['reason']}."


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rounded(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"

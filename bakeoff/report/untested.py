"""The appendix of the claims that this run does not test, and of the tolerances of those that it could."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from bakeoff.claims import read_tolerances
from bakeoff.claims.audit import Finding
from bakeoff.claims.outcomes import NOT_TESTED
from bakeoff.params import DIRECTORY
from bakeoff.report import cells

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger

Fields = tuple[str, str, str, str]


def appendix(merger: Merger, findings: Sequence[Finding]) -> None:
    """Untested claims, a table a source, and the tolerances with their reasons; nothing where there is no claim."""
    if not findings:
        return
    merger.heading(2, "Untested claims, and the tolerances")
    untested = [each for each in findings if each.outcome.status == NOT_TESTED and not each.about]
    for source, group in groupby(sorted(untested, key=_source), key=_source):
        caption = f"{source}: claims that were not tested, and why."
        head = ("variant", "what the source states", "ours", "not tested, because")
        fields = [tuple(map(escape, row)) for row in _rows(group)]
        merger.outputs([cells.table(head, fields, caption)], links=True)
    merger.heading(3, "Tolerances")
    used = {name for finding in findings for _, name in finding.claim.checks}
    rows = [
        (escape(each.name.replace("_", " ")), f"{each.amount:g}", escape(each.reason))
        for name, each in read_tolerances(DIRECTORY).items()
        if name in used
    ]
    merger.outputs([cells.table(("of", "amount", "reason"), rows, "By how much ours may differ, and why.")])


def _source(finding: Finding) -> str:
    return finding.claim.source or "This project"


def _rows(findings: Iterable[Finding]) -> list[Fields]:
    """A row for all claims about one variant that are not tested for the same reason."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        variant = finding.claim.variant
        reason = finding.outcome.reason.removeprefix(f"{variant}: ")
        found.setdefault((variant, reason), []).append(finding)
    return [
        (variant, "; ".join(map(_stated, group)), "; ".join(filter(None, map(_ours, group))), reason)
        for (variant, reason), group in found.items()
    ]


def _stated(finding: Finding) -> str:
    row = finding.row
    epoch = f", epoch {row['epoch']}" if row["epoch"] else ""
    values = " and ".join(str(row[name]) for name in ("claimed", "against") if row[name])
    return f"{str(row['metric']).replace('_', ' ')}{epoch} ({row['where']}){f': {values}' if values else ''}"


def _ours(finding: Finding) -> str:
    row = finding.row
    return f"{str(row['metric']).replace('_', ' ')} {row['ours']}" if row["ours"] else ""

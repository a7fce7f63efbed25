"""The conclusion, computed: winner with its interval, cost, claims that fell, limits, and what to take from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from nbformat.notebooknode import NotebookNode

from bakeoff.claims.audit import Finding
from bakeoff.lab.ranking import is_cut
from bakeoff.plan.resolve import SYNTHETIC
from bakeoff.report import cells
from bakeoff.report.standing import Standing

_MOST_FALLEN = 12


def conclusion(
    standing: Standing, table: Sequence[Mapping[str, Any]], findings: Sequence[Finding]
) -> tuple[list[str], list[str]]:
    """Paragraphs, and the claims that were not reproduced as list items; all HTML. No winner of fewer than two."""
    paragraphs = [*_winner(standing, table), *_cost(standing), *claims(findings), *_limits(table)]
    return [*paragraphs, *_advice(standing, table)], list(_fallen(findings))


def models(standing: Standing, table: Sequence[Mapping[str, Any]]) -> NotebookNode:
    """One table of all models, ranked ones first: what each has reached and cost, and why it is picked or not."""
    first: dict[str, Mapping[str, Any]] = {}
    for row in table:
        first.setdefault(str(row["variant"]), row)
    ranked = [name for name in standing.ranked if name in first]
    names = [*ranked, *(name for name in first if name not in ranked)]
    rows = [_model(name, first[name], standing) for name in names]
    head = ("variant", "source", "rank", "test accuracy", "parameters", "training", "picked, or why not")
    return cells.table(head, rows, "All models, and why this run picks one or not.")


def _model(name: str, row: Mapping[str, Any], standing: Standing) -> list[str]:
    found = standing.of(name)
    accuracy = found.get("test accuracy") or (
        f"{100 * float(row['test_accuracy']):.1f} %" if row["test_accuracy"] else ""
    )
    seconds = found.get("training") or (f"{float(row['train_seconds']):.0f} s" if row["train_seconds"] else "")
    parameters = f"{int(float(row['parameters'])):,}".replace(",", "\u00a0") if row["parameters"] else ""
    shown = [str(row["source"] or "this project"), found.get("rank", ""), accuracy, parameters, seconds]
    return [escape(each) for each in (name, *shown, _reason(name, row, standing))]


def _reason(name: str, row: Mapping[str, Any], standing: Standing) -> str:
    """Why a model is the pick of this run, or is not."""
    ranked = list(standing.ranked)
    if name not in ranked:
        reason = standing.unranked.get(name, "").partition(";")[0]
        return f"not ranked: {reason}" if row["status"] == "ok" else str(row["status"])
    if name == ranked[0]:
        return (
            f"picked: the highest accuracy of {len(ranked)}" if len(ranked) > 1 else "the only one that can be ranked"
        )
    if set(standing.of(name).get("group", "")) & set(standing.of(ranked[0]).get("group", "")):
        return "not significantly different from the picked one"
    behind = standing.of(name).get("points behind the first", "").partition(" (")[0]
    return f"{behind} points behind" if behind else "a lower accuracy"


def _winner(standing: Standing, table: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = list(standing.ranked)
    if len(names) < 2:
        yield f"<strong>No winner.</strong> {len(names)} of {_variants(table)} variants can be ranked; two are needed."
        return
    first = standing.of(names[0])
    on = "On synthetic images, " if any(row["dataset"] == SYNTHETIC for row in table) else ""
    yield f"<strong>{on}{_code(names[0])} leads {len(names)} ranked variants</strong> with {_accuracy(first)}."
    group = set(first.get("group", ""))
    equal = [name for name in names[1:] if group & set(standing.of(name).get("group", ""))]
    if equal:
        yield f"Not significantly different from it on these images: {', '.join(map(_code, equal))}."
    else:
        second = standing.of(names[1])
        yield f"It differs significantly from every other; {_code(names[1])} follows with {_accuracy(second)}."


def _accuracy(row: Mapping[str, str]) -> str:
    return escape(row.get("test accuracy", ""))


def _cost(standing: Standing) -> Iterator[str]:
    costs = ("training", "parameters", "ms an image")
    for name in list(standing.ranked)[:1] if len(standing.ranked) > 1 else ():
        row = standing.of(name)
        words = [f"{row[cost]} {'of training' if cost == 'training' else cost}" for cost in costs if row.get(cost)]
        yield f"It costs {escape(', '.join(words))}." if words else ""


def claims(findings: Sequence[Finding]) -> Iterator[str]:
    """How many claims of the sources were reproduced, and how many not."""
    counts = Counter(finding.outcome.status for finding in findings if not finding.about)
    if counts:
        words = ", ".join(f"{number} {escape(status)}" for status, number in sorted(counts.items()))
        yield f"Of {counts.total()} claims of the sources: {words}."


def _fallen(findings: Sequence[Finding]) -> Iterator[str]:
    claimed = [finding for finding in findings if not finding.about]
    rows = [finding.row for finding in claimed if finding.outcome.status == "not reproduced"]
    for row in rows[:_MOST_FALLEN]:
        about = f"{_code(row['variant'])}: " if row["variant"] else ""
        yield f"{about}{escape(str(row['metric']))} {escape(str(row['claimed']))}, here {escape(str(row['ours']))}."
    if len(rows) > _MOST_FALLEN:
        yield f"{len(rows) - _MOST_FALLEN} more, in the sources' tables."


def _limits(table: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    finished = [row for row in table if row["status"] == "ok"]
    random = sum(row["weights"] == "random" for row in finished)
    limited = sum(is_cut(row["limited"]) for row in finished)
    single = all(int(row["replicate"] or 0) == 0 for row in table)
    limits = [
        f"{limited} of {len(finished)} trainings with overrides of the published schedule" if limited else "",
        f"{random} on random weights" if random else "",
        "one seed each" if single and finished else "",
        f"{len(table) - len(finished)} not finished" if len(finished) < len(table) else "",
    ]
    words = "; ".join(filter(None, limits))
    yield f"Limits: {words}." if words else ""


def _advice(standing: Standing, table: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(standing.ranked) < 2 or any(is_cut(row["limited"]) for row in table):
        yield "Run the profile <code>full</code>, with at least three seeds, before choosing a network by this table."
        return
    yield f"Take {_code(next(iter(standing.ranked)))}, or the cheapest variant of its group where cost matters."


def _variants(table: Sequence[Mapping[str, Any]]) -> int:
    return len({row["variant"] for row in table})


def _code(name: str) -> str:
    return f"<code>{escape(name)}</code>"

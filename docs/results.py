"""Writes docs/results.md and the README's table from finished reports: `python -m docs.results REPORT_FOLDER ...`.

Every figure and name comes from the folders' own files (results.csv, claims.csv, provenance.json) and the catalogue.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.claims.outcomes import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, STATUSES, UNDECIDED
from bakeoff.params import load_parameters

PAGE = Path(__file__).resolve().with_suffix(".md")
README = PAGE.parent.parent / "README.md"
MARKS = ("<!-- results: written by docs/results.py -->", "<!-- end of results -->")
HEAD = """# Results on record

Written by `make results`; nothing here is typed by hand. Seconds are those of the machine named, and compare only
within a run. An interval is Wilson's at 95 %, for the test images alone: another seed moves a figure, too.
"""
_LONGEST = 90  # characters of a claim's text in a table

Row = Mapping[str, str]


@dataclass(frozen=True)
class Finished:
    """What a report's folder says of itself."""

    rows: Sequence[Row]
    claims: Sequence[Row]
    graph: Sequence[Mapping[str, Any]]
    note: str = ""  # what to know of these figures, in words

    @property
    def root(self) -> Mapping[str, Any]:
        """The crate's entity for the whole report."""
        return next(each for each in self.graph if each["@id"] == "./")

    @property
    def profile(self) -> str:
        """The profile that it was made under."""
        return str(re.findall(r"under the profile (\w+)", self.root["description"])[0])

    @property
    def command(self) -> str:
        """What makes the same rows, but for `--set` and the places of data and weights."""
        names = ",".join(dict.fromkeys(row["variant"] for row in self.rows))
        return f"python pipeline.py --profile {self.profile} --variants {names}"

    @property
    def made(self) -> str:
        """Machine, versions, revision and date."""
        train = next(
            each for each in self.graph if each["@type"] == "CreateAction" and each["name"].startswith("train")
        )
        machine = re.findall(r" on (.*)\.$", train["description"])[0]
        (bakeoff,) = (each for each in self.graph if each.get("name") == "Bakeoff")
        versions = {
            each["name"]: each["softwareVersion"] for each in self.graph if each["@id"].startswith("https://pypi")
        }
        known = ", ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras", "numpy") if name in versions)
        revision = bakeoff["softwareVersion"][:12]
        return f"Computed on {machine}; {known}; revision {revision}; finished {self.root['datePublished'][:10]}."


def read(folder: Path) -> Finished:
    """A report's own files; ends with a sentence when one is missing."""
    try:
        texts = [(folder / f"{name}.csv").read_text(encoding="utf-8") for name in ("results", "claims")]
        tables = [list(csv.DictReader(io.StringIO(text))) for text in texts]
        graph = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["@graph"]
        note = folder / "note.md"  # beside figures on record whose report is no longer there
        return Finished(*tables, graph, note.read_text(encoding="utf-8") if note.exists() else "")
    except OSError as error:
        sys.exit(f"{error.filename} is not there; {folder} must be the folder of a finished report.")


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Best test accuracy first; rows without one last."""
    return sorted(rows, key=lambda row: -float(row["test_accuracy"] or -1))


def section(finished: Finished) -> list[str]:
    """A report as a section of docs/results.md."""
    first = finished.rows[0]
    limits = Counter(row["limited"] for row in finished.rows if row["limited"])
    lines = [f"## {first['dataset']}, profile {finished.profile}", "", f"    {finished.command}", "", finished.made]
    lines += [f"Accuracies on {first['test_images']} test images; seed {first['seed']}.", ""]
    lines += [finished.note] if finished.note else []
    lines += [f"- Limited ({count} of {len(finished.rows)} rows): {words}." for words, count in limits.items()]
    lines += [""] if limits else []
    return [*lines, *table([_result(row) for row in ranked(finished.rows)]), "", *_audit(finished.claims)]


def _result(row: Row) -> dict[str, str]:
    """What the tables show of a row; its names are the tables' columns."""
    return {
        "variant": row["variant"],
        "weights": row["weights"] if row["weights"] != "none" else "",
        "images": row["train_images"],
        "epochs": row["epochs"],
        "training": _three(row["train_accuracy"]),
        "validation": _three(row["validation_accuracy"]),
        "test": _three(row["test_accuracy"]),
        "95 % interval": f"{_three(row['accuracy_low'])} to {_three(row['accuracy_high'])}" * bool(row["accuracy_low"]),
        "the source": _three(row["published_test_accuracy"]),
        "seconds": f"{float(row['train_seconds']):.0f}" if row["train_seconds"] else row["status"],
    }


def _audit(claims: Sequence[Row]) -> list[str]:
    lines = ["### What the sources claim", "", _counted(claims), ""]
    for status in (REPRODUCED, NOT_REPRODUCED, UNDECIDED):
        rows = [_claim(claim) for claim in claims if claim["status"] == status]
        lines += [f"**{status.capitalize()}:**", "", *table(rows), ""] if rows else []
    untested = Counter(claim["reason"] for claim in claims if claim["status"] == NOT_TESTED)
    lines += ["**Not tested, and why:**", ""]
    return [*lines, *(f"- {reason} ({count})" for reason, count in untested.most_common()), ""]


def _claim(claim: Row) -> dict[str, str]:
    epoch = f", epoch {claim['epoch']}" if claim["epoch"] else ""
    return {
        "variant": claim["variant"] or claim["source"],
        "claim": f"{claim['metric']}{epoch} ({claim['where']})",
        "the source": _short(claim["claimed"] + (f" (elsewhere {claim['against']})" if claim["against"] else "")),
        "ours": claim["ours"],
        "why": claim["reason"],
    }


def _counted(claims: Sequence[Row]) -> str:
    counts = Counter(claim["status"] for claim in claims)
    return f"{len(claims)} claims about these variants: {', '.join(f'{counts[each]} {each}' for each in STATUSES)}."


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _three(number: str) -> str:
    return f"{float(number):.3f}" if number else ""


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table of rows with the same names; there must be one."""
    cells = ([text.replace("|", "\\|").replace("\n", " ") for text in row.values()] for row in rows)
    return [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}", *(f"| {' | '.join(row)} |" for row in cells)]


def missing(reports: Sequence[Finished]) -> list[str]:
    """The catalogue's variants that no report has, with what they need."""
    there = {row["variant"] for finished in reports for row in finished.rows}
    lines = ["## Not on record", ""]
    for each in load_parameters(None, "full", ()):
        if each.variant not in there:
            wanted = each.stage["weights"] == "imagenet"
            needs = (
                f"needs the ImageNet weights {Path(each.run['weights_file']).name}" if wanted else "needs no weights"
            )
            lines.append(f"- {each.variant} ({each.stage['epochs']} epochs): {needs}.")
    return [
        *lines,
        "",
        "`python pipeline.py --profile full --variants NAME` makes each where data and weights are.",
        "",
    ]


def short_form(finished: Finished) -> list[str]:
    """What the README shows: the ranked test accuracies and the counts of the audit."""
    columns = ("variant", "test", "95 % interval", "the source", "seconds")
    rows = [{name: row[name] for name in columns} for row in map(_result, ranked(finished.rows))]
    first = finished.rows[0]
    about = f"Accuracy on {first['test_images']} test images of {first['dataset']}, profile `{finished.profile}`."
    made = [
        about,
        finished.made,
        _counted(finished.claims),
        "All of it: [docs/results.md](docs/results.md).",
    ]
    return [*table(rows), "", *made]


def main(folders: Sequence[Path], page: Path = PAGE, readme: Path = README) -> None:
    """Write both files; the first report is the README's."""
    reports = [read(folder) for folder in folders]
    lines = [line for finished in reports for line in section(finished)]
    page.write_text("\n".join([HEAD, *lines, *missing(reports)]), encoding="utf-8")
    text = readme.read_text(encoding="utf-8")
    begin, end = (text.index(mark) for mark in MARKS)
    shown = "\n".join(["", *short_form(reports[0]), ""])
    readme.write_text(text[: begin + len(MARKS[0])] + shown + text[end:], encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Which reports? make results REPORTS=reports/full-selection")
    main([Path(name) for name in sys.argv[1:]])

"""Writes docs/results.md and the README's table from the trainings on record: `python -m docs.results`.

Every figure and name comes from docs/records, the catalogue and the claims of the sources, by the audit's own means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from bakeoff.claims import read_claims, read_tolerances
from bakeoff.claims.audit import Finding, audit
from bakeoff.claims.evidence import Evidence, Run, UntestedError
from bakeoff.claims.measured import compare_accuracies, test_accuracy
from bakeoff.claims.outcomes import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, STATUSES, UNDECIDED
from bakeoff.params import DIRECTORY, load_parameters
from docs import networks, speedrun
from docs.records import RECORDS, Record, Row, read_records

PAGE = Path(__file__).resolve().with_suffix(".md")
README = PAGE.parent.parent / "README.md"
MARKS = ("<!-- results: written by docs/results.py -->", "<!-- end of results -->")
HEAD = """# Results on record

Written by `make results` from `docs/records`, which finished runs wrote. A row is the mean over trainings that are
equal but for the seed. Its interval is at 95 %: Wilson's for the test images, from three seeds on joined with that of
the seeds. Seconds are by the clock, whatever else the machine did, and compare only between trainings on equal
machines, threads and versions; accuracies of two variants only where one backend trained both.
"""
_LONGEST = 90  # characters of a claim's text in a table


@dataclass(frozen=True)
class Trainings:
    """The trainings of a variant on record that differ in the seed alone."""

    records: Sequence[Record]

    @property
    def row(self) -> Row:
        """The first one's row, for what they have in common."""
        return self.records[0].row

    @property
    def runs(self) -> list[Run]:
        """They as the audit reads them."""
        return [record.run for record in self.records]

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.row["variant"]

    @property
    def hypothesis(self) -> str:
        """The variant that these trainings are a hypothesis about; empty for most."""
        return self.row.get("hypothesis_of", "")

    @property
    def finished(self) -> str:
        """When the last of them was finished."""
        return max(str(record.about["finished"]) for record in self.records)

    @property
    def revision(self) -> str:
        """The revision that they were trained with."""
        return ", ".join(dict.fromkeys(str(record.about["revision"])[:12] for record in self.records))

    @cached_property
    def accuracy(self) -> float:
        """The mean test accuracy; below every other one where a training has none."""
        values = [record.row["test_accuracy"] for record in self.records]
        return fmean(map(float, values)) if all(values) else -1.0

    def mean(self, column: str, digits: int = 3) -> str:
        """The mean of a column of results.csv; empty where one of them has none."""
        values = [record.row.get(column, "") for record in self.records]
        return f"{fmean(map(float, values)):.{digits}f}" if all(values) else ""

    @property
    def interval(self) -> str:
        """The test accuracy's interval."""
        bounds = test_accuracy(self.runs).bounds if self.accuracy >= 0 else None
        return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else ""

    @property
    def made(self) -> str:
        """Machine, versions, revision and data of the first."""
        about = self.records[0].about
        machine, settings, data = about["machine"], about["settings"], about["data"]
        threads = f", {settings['threads']} threads" if settings.get("threads") else ""
        versions = ", ".join(f"{name} {text}" for name, text in sorted(about["versions"].items()))
        digest = f" ({data['dataset'][:12]})" if "dataset" in data else ""
        where = ", ".join([machine.get("gpu") or machine["device"], f"{machine['cores']} cores"])
        note = f", {about['note']}" if "note" in about else ""
        return f"Revision {self.revision}, on {where}{threads}; {versions}; data {data['name']}{digest}{note}"


def grouped(records: Sequence[Record]) -> list[Trainings]:
    """The records as means over seeds, best first."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.row["variant"], record.recipe), []).append(record)
    return sorted(map(Trainings, found.values()), key=lambda each: -each.accuracy)


def newest(groups: Sequence[Trainings]) -> dict[str, Trainings]:
    """Variant -> the trainings that it is judged by, in the order of `groups`."""
    last: dict[str, Trainings] = {}
    for each in sorted(groups, key=lambda each: each.finished):
        last[each.variant] = each
    return {each.variant: each for each in groups if each is last[each.variant]}


def audited(groups: Mapping[str, Trainings]) -> list[Row]:
    """What becomes of the sources' claims by these trainings, as rows."""
    return [found.row for found in findings(groups)]


def findings(groups: Mapping[str, Trainings]) -> list[Finding]:
    """What the audit finds in these trainings, and in networks that need none."""
    runs = {name: each.runs for name, each in groups.items()}
    built = {name: [run] for name, run in networks.runs(runs).items() if name not in runs}
    return audit(Evidence(runs | built, read_claims(DIRECTORY), read_tolerances(DIRECTORY)))


def result(trainings: Trainings) -> dict[str, str]:
    """What the tables show of a variant; its names are the tables' columns."""
    row = trainings.row
    return {
        "variant": trainings.variant,
        "seeds": str(len(trainings.records)),
        "weights": row["weights"] if row["weights"] != "none" else "",
        "images": row["train_images"],
        "epochs": row["epochs"],
        "training": trainings.mean("train_accuracy"),
        "validation": trainings.mean("validation_accuracy"),
        "test": trainings.mean("test_accuracy"),
        "95 % interval": trainings.interval,
        "test images": row["test_images"],
        "the source": _three(row["published_test_accuracy"]),
        "seconds": trainings.mean("train_seconds", 0),
        "backend": row["backend"],
        "revision": trainings.revision,
    }


def differences(groups: Sequence[Trainings]) -> list[dict[str, str]]:
    """Each variant against the next one of the ranking that was trained on the same backend."""
    ranked = [each for each in groups if each.accuracy >= 0]
    backends = dict.fromkeys(each.row["backend"] for each in ranked)
    return [row for name in backends for row in _differences([each for each in ranked if each.row["backend"] == name])]


def _differences(groups: Sequence[Trainings]) -> Iterator[dict[str, str]]:
    for first, second in pairwise(groups):
        try:
            found = compare_accuracies(first.runs, second.runs)
        except UntestedError:
            continue
        yield {
            "variant": first.variant,
            "the next": second.variant,
            "difference in points": f"{100 * found.difference:+.1f}",
            "95 % interval": f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
            "p value": f"{found.p_value:.2g}" if found.p_value else "below 1e-300",
            "test": found.test,
        }


def _origins(groups: Sequence[Trainings]) -> list[str]:
    """Where the figures come from, a line for all trainings that were made with the same means."""
    found: dict[str, list[Trainings]] = {}
    for each in groups:
        found.setdefault(each.made, []).append(each)
    return [*(f"- {made}: {_names(of)}; finished {_days(of)}." for made, of in found.items()), ""]


def _tradeoff(there: Mapping[str, Trainings]) -> list[str]:
    """Accuracy against minutes of speedrun_cnn, where it is on record."""
    if speedrun.VARIANT not in there:
        return []
    trainings = there[speedrun.VARIANT]
    machine = trainings.records[0].about["machine"]
    about = speedrun.ABOUT.format(count=len(trainings.runs), machine=machine.get("gpu") or machine["device"])
    figure = f"![Accuracy of speedrun_cnn against minutes]({speedrun.FIGURE.name})"
    rows = table(speedrun.rows(trainings.runs))
    return ["## What each minute brings speedrun_cnn", "", about, "", *rows, "", figure, ""]


def _names(groups: Sequence[Trainings]) -> str:
    return ", ".join(sorted(dict.fromkeys(each.variant for each in groups)))


def _days(groups: Sequence[Trainings]) -> str:
    days = sorted({str(record.about["finished"])[:10] for each in groups for record in each.records})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _audit(claims: Sequence[Row]) -> list[str]:
    lines = ["## What the sources claim", "", counted(claims), ""]
    for status in (REPRODUCED, NOT_REPRODUCED, UNDECIDED):
        rows = [_claim(claim) for claim in _with_hypotheses(claims, status)]
        lines += [f"**{status.capitalize()}:**", "", *table(rows), ""] if rows else []
    untested = Counter(claim["reason"] for claim in _of_sources(claims) if claim["status"] == NOT_TESTED)
    lines += ["**Not tested, and why:**", ""]
    return [*lines, *(f"- {reason} ({count})" for reason, count in untested.most_common()), ""]


def _of_sources(claims: Sequence[Row]) -> list[Row]:
    """The claims themselves, without what hypotheses make of them."""
    return [claim for claim in claims if not claim.get("hypothesis")]


def _with_hypotheses(claims: Sequence[Row], status: str) -> Iterator[Row]:
    """The claims with this outcome, each with how the hypotheses about it do that were tested."""
    shown = False
    for claim in claims:
        shown = shown if claim.get("hypothesis") else claim["status"] == status
        if shown and not (claim.get("hypothesis") and claim["status"] == NOT_TESTED):
            yield claim


def _claim(claim: Row) -> dict[str, str]:
    epoch = f", epoch {claim['epoch']}" if claim["epoch"] else ""
    told = claim["reason"] if claim["reason"].startswith(claim["status"]) else f"{claim['status']}: {claim['reason']}"
    if claim.get("hypothesis"):
        names = {"variant": f"if {claim['hypothesis']}", "claim": "", "the source": ""}
        return names | {"ours": claim["ours"], "why": told}
    return {
        "variant": claim["variant"] or claim["source"],
        "claim": f"{claim['metric']}{epoch} ({claim['where']})",
        "the source": _short(claim["claimed"] + (f" (elsewhere {claim['against']})" if claim["against"] else "")),
        "ours": claim["ours"],
        "why": claim["reason"],
    }


def counted(claims: Sequence[Row]) -> str:
    """How many claims have each outcome."""
    counts = Counter(claim["status"] for claim in _of_sources(claims))
    words = ", ".join(f"{counts[each]} {each}" for each in STATUSES)
    return (
        f"{counts.total()} claims about these variants, {counts.total() - counts[NOT_TESTED]} of them tested: {words}."
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _three(number: str) -> str:
    return f"{float(number):.3f}" if number else ""


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table of rows with the same names; there must be one."""
    cells = ([text.replace("|", "\\|").replace("\n", " ") for text in row.values()] for row in rows)
    return [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}", *(f"| {' | '.join(row)} |" for row in cells)]


def missing(there: Mapping[str, Trainings]) -> list[str]:
    """The catalogue's variants that are not on record, with what they need."""
    lines = ["## Not on record", ""]
    for each in load_parameters(None, "full", ()):
        if each.variant not in there:
            wanted = each.stage["weights"] == "imagenet"
            needs = (
                f"needs the ImageNet weights {Path(each.run['weights_file']).name}" if wanted else "needs no weights"
            )
            lines.append(f"- {each.variant} ({each.stage['epochs']} epochs): {needs}.")
    command = "python pipeline.py --profile full --variants NAME"
    return [*lines, "", f"`{command}` makes each where data and weights are, `make record` puts it on record.", ""]


def page(groups: Sequence[Trainings]) -> str:
    """docs/results.md."""
    judging = newest(groups)
    ranked = [each for each in groups if not each.hypothesis]
    pairs = differences([each for each in judging.values() if not each.hypothesis])
    lines = [HEAD, "## Test accuracy", "", *table([result(each) for each in ranked]), "", *_origins(groups)]
    if pairs:
        about = "On equal test images by each image; p values for each pair alone, not corrected for their number."
        lines += ["## Each variant and the next", "", about, "", *table(pairs), ""]
    return "\n".join([*lines, *_audit(audited(judging)), *_tradeoff(judging), *missing(judging)])


def short_form(groups: Sequence[Trainings]) -> list[str]:
    """What the README shows: the ranked test accuracies and the counts of the audit."""
    judging = newest(groups)
    columns = ("variant", "seeds", "test", "95 % interval", "test images", "the source", "seconds")
    shown = [result(each) for each in judging.values() if not each.hypothesis]
    about = "Mean accuracy over the seeds on test images of CIFAR-10, profile `full`. "
    rows = [{name: row[name] for name in columns} for row in shown]
    where = "All of it, with machines and versions: [docs/results.md](docs/results.md); as a page with figures: "
    where += "[docs/report.html](docs/report.html)."
    more = f"{counted(audited(judging))} {where}"
    return [*table(rows), "", about + more]


def main(records: Path = RECORDS, target: Path = PAGE, readme: Path = README) -> None:
    """Write both files."""
    groups = grouped(read_records(records))
    target.write_text(page(groups), encoding="utf-8")
    if fastest := newest(groups).get(speedrun.VARIANT):
        speedrun.draw(fastest.runs, target.with_name(speedrun.FIGURE.name))
    text = readme.read_text(encoding="utf-8")
    begin, end = (text.index(mark) for mark in MARKS)
    shown = "\n".join(["", *short_form(groups), ""])
    readme.write_text(text[: begin + len(MARKS[0])] + shown + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()

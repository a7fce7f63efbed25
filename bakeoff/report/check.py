"""What --check-report does: a report folder checked by the digests in its own crate, with no store and no network."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bakeoff.errors import RequestError
from bakeoff.report.crate import COPY, METADATA
from bakeoff.report.pages import PAGES
from bakeoff.store import digest_file

_PAGE, _TABLE, _STAMP = "report.html", "results.csv", ".built.json"
_LEFT_BEHIND = re.compile(
    r"(^|/)(\.DS_Store|\._[^/]*|\.ipynb_checkpoints/.*|Thumbs\.db|desktop\.ini|\.directory)$", re.I
)
_OWN = {METADATA, COPY, _STAMP}  # files that hold no digest of themselves; the last is the builder's note to itself


def check_report(folder: Path, say: Callable[[str], None]) -> int:
    """Say what of the report in `folder` is off, a line each; 1 when anything is. RequestError when it is no report.

    Files that systems and programs leave in folders that were looked at are named, and not held against it.
    """
    named = _named(folder)
    others = list(_strangers(folder, named))
    left = [name for name in others if _LEFT_BEHIND.search(name)]
    if left:
        say(f"Not of the report, and left there by other programs: {', '.join(left)}.")
    strangers = [f"{name} is not named in {METADATA}" for name in others if name not in left]
    faults = [*_crate(folder, named), *strangers, *_table(folder)]
    say("\n".join(faults) if faults else f"{folder}: {len(named)} files are as recorded, and no other is there.")
    return 1 if faults else 0


def _named(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Path -> entity of every file that the crate names; RequestError where no crate can be read."""
    for name in (METADATA, COPY):
        try:
            graph = loads((folder / name).read_text(encoding="utf-8"))["@graph"]
            return {unquote(each["@id"]): each for each in graph if "File" in each["@type"]}
        except (OSError, JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            continue
    raise RequestError(f"{folder} is no report: it has no {METADATA} or {COPY} that can be read")


def _crate(folder: Path, named: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The files that the crate names and that are not as it says."""
    both = [folder / METADATA, folder / COPY]
    if not all(path.is_file() for path in both) or both[0].read_bytes() != both[1].read_bytes():
        yield f"{METADATA} and {COPY} are not the same bytes"
    for needed in (_PAGE, _TABLE):
        if needed not in named:
            yield f"{needed} is not named in {METADATA}"
    for name, entity in named.items():
        path = folder / name
        if not _inside(folder, name):
            yield f"{name} is named in {METADATA} and lies outside the folder, or behind a link"
        elif not path.is_file():
            yield f"{name} is gone"
        elif name not in _OWN and digest_file(path) != entity.get("sha256"):
            recorded = "other bytes than those recorded" if entity.get("sha256") else "no recorded digest"
            yield f"{name} has {recorded}"


def _inside(folder: Path, name: str) -> bool:
    """Whether a path stays in the folder and leads over no link."""
    path = Path(name)
    parts = [folder / Path(*path.parts[: count + 1]) for count in range(len(path.parts))]
    return not path.is_absolute() and ".." not in path.parts and not any(part.is_symlink() for part in parts)


def _strangers(folder: Path, named: Mapping[str, Any]) -> Iterator[str]:
    """The files that the crate does not name."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (path.is_file() or path.is_symlink()) and name not in named and name not in _OWN:
            yield name


def _table(folder: Path) -> Iterator[str]:
    """Where results.csv and the rows of report.html do not say the same."""
    try:
        with (folder / _TABLE).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        page = (folder / _PAGE).read_text(encoding="utf-8")
        wanted = _accuracies(rows)
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError):
        yield f"{_TABLE} or {_PAGE} cannot be read"
        return
    pages = [page, *(each.read_text(encoding="utf-8") for each in sorted((folder / PAGES).glob("*.html")))]
    sections = {name for text in pages for name in re.findall(r'<h3[^>]* id="variant-([^"]+)"', text)}
    ids = _section_ids(rows)
    for name, identifier in ids.items():
        # A variant's later seeds stand in the section of its first one.
        if identifier not in sections and ids.get(name.partition(" (seed ")[0], identifier) not in sections:
            yield f"{_PAGE} has no section of {name}, a row of {_TABLE}"
    for name in sorted(sections - set(ids.values())):
        yield f"{_TABLE} has no row of {name}, a section of {_PAGE}"
    shown = _shown(page)
    for name, accuracies in wanted.items():
        if accuracies and name not in shown:
            yield f"{_PAGE} shows no test accuracy of {name}, which has one in {_TABLE}"
        elif accuracies and all(abs(shown[name] - 100 * each) > 0.0501 for each in accuracies):  # one decimal
            yield f"{name}: test accuracy {shown[name]} % in {_PAGE}, {100 * accuracies[0]:.2f} % in {_TABLE}"


def _section_ids(rows: list[dict[str, str]]) -> dict[str, str]:
    """Row -> what follows "variant-" in the id of its section; a row is its variant, and its seed in a replicate."""
    ids: dict[str, str] = {}
    for row in rows:
        label = row["variant"] if row.get("replicate") in (None, "", "0") else f"{row['variant']} (seed {row['seed']})"
        base = identifier = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        number = 1
        while identifier in ids.values():  # Ann and ann, a_b and a__b
            number += 1
            identifier = f"{base}-{number}"
        ids[label] = identifier
    return ids


def _accuracies(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Variant -> the test accuracies that may stand behind its name; none where it has none.

    The ranking gives the mean of its finished rows, the table of unranked rows that of its first seed.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        values = found.setdefault(row["variant"], [])
        if row["status"] == "ok" and row["test_accuracy"]:
            values.append(float(row["test_accuracy"]))
    return {name: [sum(values) / len(values), values[0]] if values else [] for name, values in found.items()}


def _shown(page: str) -> dict[str, float]:
    """Variant -> test accuracy in per cent, of the page's tables that have these two columns."""
    from bs4 import BeautifulSoup

    found: dict[str, float] = {}
    for table in BeautifulSoup(page, "html.parser").find_all("table"):
        rows = [[cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
        if not rows or not {"variant", "test accuracy"} <= set(rows[0]):
            continue
        columns = {name: number for number, name in enumerate(rows[0])}
        for row in rows[1:]:
            number = re.match(r"\d+(\.\d+)?", row[columns["test accuracy"]]) if len(row) == len(rows[0]) else None
            if number:
                found.setdefault(row[columns["variant"]], float(number[0]))
    return found

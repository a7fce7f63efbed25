"""Executed notebooks to one report: HTML, PDF, results.csv, provenance.json and the notebooks beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.claims.audit import Finding, to_csv
from bakeoff.errors import RequestError
from bakeoff.plan.machine import package_version
from bakeoff.plan.own_images import KINDS
from bakeoff.plan.steps import Name, Plan, Step
from bakeoff.report import crate
from bakeoff.report.facts import banner, facts, missing_images
from bakeoff.report.masks import masked_notebook
from bakeoff.report.pages import Pages
from bakeoff.results import stage_folders, without_other_trials
from bakeoff.store import NOTEBOOK, Store, digest_file, digest_value, unique_name, write_atomically

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger

_HERE = Path(__file__).parent
PAGE, PDF, STAMP = "report.html", "report.pdf", ".built.json"
# What writes the report; fonts come from matplotlib.
_WRITERS = ("nbconvert", "typst", "pypandoc-binary", "pillow", "matplotlib")


def refuse_unless_plain(name: str) -> None:
    """Raise RequestError for a report's name that leads elsewhere: what lies there would be written over."""
    if Path(name).name != name or name in ("", ".."):
        raise RequestError(f"--report-name: {name!r} is no plain folder name; leave out slashes and dots")


@dataclass(frozen=True)
class Report:
    """What a report is made of: the plan's rows, their table, and the step that compared them."""

    folder: Path
    profile: str
    plan: Plan
    table: Sequence[Mapping[str, Any]]
    table_text: str
    compare: Step
    findings: Callable[[], Sequence[Finding]]  # what became of the sources' claims, worked out when it is asked for
    failures: Mapping[Name, str] = field(default_factory=dict)  # of this run's steps, why
    author: str = ""

    def __post_init__(self) -> None:
        refuse_unless_plain(self.folder.name)

    def build(self, store: Store, say: Callable[[str], None], pdf: bool = True) -> bool:
        """Write what is missing of the report; False when nothing it is made of has changed since.

        report.html comes first, and what keeps report.pdf from being made is said and costs nothing else.
        """
        key = self._key(store)
        stamp = self._stamp()
        pages = Pages(self.folder, self.plan.rows, self.table, store, self.findings)
        built = stamp.get("key") != key or not self._is_there(PAGE, stamp.get("digest"))
        if built or not pages.are_there(stamp["pages"] or {}):
            told = facts(self.plan, self.profile, store)
            signed = told | {"author": self.author}
            del told["date"]  # a page of a variant says what it says, whatever was run since
            merged = self._write_page(store, signed)
            before = stamp["pages"] or {}
            stamp = {"key": key, "digest": digest_file(self.folder / PAGE), "pdf": None, "crate": None, "facts": signed}
            stamp["pages"] = pages.write(self._title(), told, _code(), PAGE, merged, before)
            built = True
        before = stamp["pdf"]
        if not self._is_there(PDF, before):
            (self.folder / PDF).unlink(missing_ok=True)
            stamp["pdf"] = self._write_pdf(store, say, stamp["facts"]) if pdf else None
            built = built or stamp["pdf"] is not None
        crates = (crate.METADATA, crate.COPY)
        if built or stamp["pdf"] != before or not all(self._is_there(name, stamp["crate"]) for name in crates):
            stamp["crate"] = self._write_crate(store, stamp["facts"])
            built = True
        if built:
            write_atomically(self.folder / STAMP, json.dumps(stamp))
        return built

    def _write_page(self, store: Store, told: Mapping[str, Any]) -> Merger:
        """report.html and what lies beside it; what is left of an earlier report goes away. Returns its cells."""
        from bakeoff.report.html import to_html

        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (STAMP, PDF):
            (self.folder / name).unlink(missing_ok=True)
        write_atomically(self.folder / "results.csv", self.table_text)
        write_atomically(self.folder / "claims.csv", to_csv(self.findings()))
        self._copy_notebooks(store)
        merged = self._merged(store)
        write_atomically(self.folder / PAGE, to_html(merged, self._title(), self._banner(store), told))
        return merged

    def _write_crate(self, store: Store, told: Mapping[str, Any]) -> str:
        """Where everything in the folder comes from, under both names; returns the digest."""
        made = crate.Crate(self.folder, self.plan, store, self.compare, told, self.failures)
        text = made.text(self._title(), self._banner(store))
        for name in (crate.METADATA, crate.COPY):
            write_atomically(self.folder / name, text)
        return digest_file(self.folder / crate.METADATA)

    def _write_pdf(self, store: Store, say: Callable[[str], None], told: Mapping[str, Any]) -> str | None:
        """report.pdf's digest; None when it could not be made."""
        temporary = self.folder / f".{PDF}.{unique_name()}.partial"
        try:
            from bakeoff.report.pdf import make_pdf

            temporary.write_bytes(make_pdf(self._title(), self._banner(store), self._merged(store).cells, told))
            temporary.replace(self.folder / PDF)
            return digest_file(self.folder / PDF)
        except Exception as error:  # Whatever it is, the HTML is there, and the run was what it was.
            reason = str(error).strip() or type(error).__name__
            say(f"{PDF} could not be made: {' '.join(reason.split())[:300].rstrip('.')}; {PAGE} is complete.")
            return None
        finally:
            temporary.unlink(missing_ok=True)

    def _merged(self, store: Store) -> Merger:
        from bakeoff.report.merge import merge

        return merge(self.compare, self.plan.background, self.plan.rows, self.table, store, self.findings())

    def _banner(self, store: Store) -> list[str]:
        return banner(self.table, missing_images(self.plan, store))

    def _title(self) -> str:
        return f"Model bake-off: {', '.join(sorted({_plain(row.dataset.name) for row in self.plan.rows}))}"

    def _stamp(self) -> dict[str, Any]:
        """What an earlier call recorded: the key, digests of report.html, report.pdf and crate, what the page tells."""
        names = ("key", "digest", "pdf", "crate", "facts", "pages")
        try:
            stamp = json.loads((self.folder / STAMP).read_text(encoding="utf-8"))
            return {name: stamp.get(name) for name in names}
        except (OSError, ValueError, AttributeError):
            return dict.fromkeys(names)

    def _is_there(self, name: str, digest: str | None) -> bool:
        path = self.folder / name
        return digest is not None and path.is_file() and digest_file(path) == digest

    def _key(self, store: Store) -> str:
        """Digest of all that the report shows: page keys, table, failures, and the code and template that make it."""
        pages = [step.page_key for step in [*self.plan.steps, self.compare] if store.complete_manifest(*step.name)]
        told = [self.table_text, self.profile, self.author, sorted(self.failures.items())]
        return digest_value([pages, *told, _code()])

    def _copy_notebooks(self, store: Store) -> None:
        """notebooks/<variant>/<stage>.ipynb beside the report, masked; copies of earlier reports go away."""
        target = self.folder / "notebooks"
        shutil.rmtree(target, ignore_errors=True)
        for row in self.plan.rows:
            name = row.folder_name
            folders = stage_folders(row, store)
            for stage in without_other_trials(folders):
                folder = folders[stage]
                (target / name).mkdir(parents=True, exist_ok=True)
                text = (Path(folder) / NOTEBOOK).read_text(encoding="utf-8")
                masked = masked_notebook(text, store.root)
                (target / name / f"{stage}.ipynb").write_text(masked, encoding="utf-8", newline="\n")


def _plain(name: str) -> str:
    """A data set's name; of images of one's own, without their kind."""
    kind, colon, own = name.partition(":")
    return own if colon and kind in KINDS else name


def _code() -> list[Any]:
    """What tells versions of the code, the template and the packages that write a report from each other."""
    files = [path for path in sorted(_HERE.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return [[(path.name, path.stat().st_mtime_ns) for path in files], [package_version(each) for each in _WRITERS]]

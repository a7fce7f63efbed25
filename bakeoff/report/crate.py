"""Where a report comes from, as an RO-Crate 1.1 that follows the Process Run Crate profile: plain dicts, no library.

A step is a CreateAction: its notebook is the instrument; parameters, settings, data and the parents' files are its
object; its files, each with a digest, are the result. Files that lie beside the report are data entities of the crate.
Files that stay in the store are described by digest only, with an @id that begins with "#".
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.steps import Name, Plan, Row, Step
from bakeoff.report.masks import Mask
from bakeoff.report.pages import PAGES
from bakeoff.store import NOTEBOOK, Store, digest_file, digest_value

METADATA = "ro-crate-metadata.json"  # the name that the standard asks for
COPY = "provenance.json"  # the same bytes under the name that a reader of the report looks for
_ROCRATE = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = [f"{_ROCRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
_LICENSE = "https://spdx.org/licenses/Apache-2.0"
_KINDS = {
    ".ipynb": "application/x-ipynb+json",
    ".csv": "text/csv",
    ".npz": "application/zip",
    ".keras": "application/zip",
}
_BESIDE = {
    "report.html": "The report as one page",
    "report.pdf": "The report to print",
    "results.csv": "The table of results: a row a variant and replicate",
    "claims.csv": "What the sources claim beside what was measured",
}

# papermill's own metadata stand behind all cells, and these two names at their end.
_TAIL_BYTES = 2000
_START = re.compile(rb'"start_time": "([^"]{1,40})",\s*"version": "[^"]*"\s*\}\s*\},\s*"nbformat"')

Entity = dict[str, Any]
Software = Mapping[str, Any]  # the revision, and package -> version
_UNKNOWN: Software = {"revision": "unknown", "packages": {}}  # of what was made before steps recorded it


@dataclass
class Crate:
    """The entities of one report's crate, in the order in which they were found, each once."""

    folder: Path
    plan: Plan
    store: Store
    compare: Step
    facts: Mapping[str, Any]
    failures: Mapping[Name, str] = field(default_factory=dict)
    _graph: dict[str, Entity] = field(default_factory=dict)
    _rows: dict[Step, list[Row]] = field(default_factory=dict)  # whose a step is
    _values: dict[tuple[str, str, str], str] = field(default_factory=dict)  # kind, name and value -> entity
    _manifests: dict[Name, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._digests = self.store.digests()
        for row in self.plan.rows:
            for step in row.steps.values():
                self._rows.setdefault(step, []).append(row)

    def text(self, title: str, banner: Sequence[str]) -> str:
        """The crate as JSON."""
        made = [step for step in [*self.plan.steps, self.compare] if self._manifest(step.name)["files"]]
        notebooks = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob("notebooks/*/*.ipynb"))
        pages = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob(f"{PAGES}/*.html"))
        paths = [name for name in _BESIDE if (self.folder / name).is_file()] + pages + notebooks
        files = [self._file(path) for path in paths]
        actions = [self._step(step) for step in made]
        actions += [self._page(step) for step in made if "page" in self._manifest(step.name)]
        actions += [self._failure(step) for step in [*self.plan.steps, self.compare] if self._has_failed(step)]
        actions.append(self._writing(made))
        root = {
            "@id": "./",
            "@type": "Dataset",
            "conformsTo": _ref(_PROFILE),
            "name": title,
            "description": " ".join([f"A bake-off of image classifiers under the profile {self._profile}.", *banner]),
            "datePublished": self._newest(made),  # and not now, so that the bytes are a function of the store
            **({"author": self._author()} if self.facts.get("author") else {}),
            "license": _ref(_LICENSE),
            "hasPart": [*files, self._copy()],
            "mentions": actions,
        }
        descriptor = {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": _ref(_ROCRATE),
            "about": _ref("./"),
        }
        self._add(_PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
        self._add(_LICENSE, "CreativeWork", name="Apache License 2.0", identifier="Apache-2.0")
        graph = [descriptor, root, *map(_single, self._graph.values())]
        lines = ",\n".join(json.dumps(entity, ensure_ascii=False) for entity in graph)
        return f'{{"@context": {json.dumps(_CONTEXT)}, "@graph": [\n{lines}\n]}}\n'

    def _author(self) -> dict[str, str]:
        return self._add("#author", "Person", name=str(self.facts["author"]))

    @property
    def _profile(self) -> str:
        return str(self.facts["profile"])

    def _add(self, name: str, kind: str, /, **properties: Any) -> dict[str, str]:
        """A reference to the entity `name`, which is made when it is not there; empty properties are left out."""
        if name not in self._graph:
            kept = {key: value for key, value in properties.items() if value not in (None, "", [])}
            self._graph[name] = {"@id": name, "@type": kind, **kept}
        return _ref(name)

    def _manifest(self, name: Name) -> dict[str, Any]:
        """What is told of a step, read once; its parameters are those of the plan."""
        if name not in self._manifests:
            manifest = self.store.complete_manifest(*name) or {"files": {}}
            self._manifests[name] = {key: manifest[key] for key in manifest if key not in ("parameters", "key_inputs")}
        return self._manifests[name]

    def _newest(self, made: Sequence[Step]) -> str:
        """When the last of the steps was finished; where every step failed, when the page was written."""
        manifests = (self._manifest(step.name) for step in made)
        finished = [_moment(each.get("page", each)["finished"]) for each in manifests]
        return max(finished) if finished else _modified(self.folder / "report.html")

    # What lies in the folder

    def _file(self, path: str) -> dict[str, str]:
        """A file of the report."""
        full = self.folder / path
        place = Path(path)
        words = f"The executed notebook of {place.stem}, {place.parent.name}, folders masked"
        described = _BESIDE.get(path, f"The report's page of {place.stem}" if place.suffix == ".html" else words)
        return self._add(
            quote(path),
            "File",
            name=path,
            description=described,
            encodingFormat=_kind(path),
            contentSize=str(full.stat().st_size),
            sha256=self._digests.recall(full, "sha256", digest_file),
        )

    def _copy(self) -> dict[str, str]:
        """This crate under its other name; it cannot hold its own digest."""
        words = f"The same bytes as {METADATA}"
        return self._add(COPY, "File", name=COPY, description=words, encodingFormat="application/json")

    # What was done

    def _step(self, step: Step) -> dict[str, str]:
        """One execution of a notebook."""
        manifest = self._manifest(step.name)
        machine, software = manifest["machine"], manifest.get("software")
        measured = machine.get("measured") or {}
        computed = measured.get("kind") or measured.get("device") or machine["device"]
        return self._add(
            f"#{step.stage.name}/{step.result_key}",
            "CreateAction",
            name=_title(step),
            description=f"papermill executed {step.stage.notebook}.ipynb with these parameters on {computed}, "
            f"{machine['cores']} cores.",
            identifier=[f"result key {step.result_key}", f"page key {manifest['page_key']}"],
            instrument=self._notebook(step, software),
            object=[*self._used(step), *self._shared(step, manifest)],
            result=self._results(step, manifest),
            # The notebook of a page that was rebuilt says when that began, not the work.
            startTime=None if "page" in manifest else _started(self.store.folder(*step.name) / NOTEBOOK),
            endTime=_moment(manifest["finished"]),
            actionStatus="http://schema.org/CompletedActionStatus",
            resourceUsage=[self._value("seconds", manifest["seconds"], "usage", unitCode="SEC")],
        )

    def _page(self, step: Step) -> dict[str, str]:
        """A later execution that drew a step's page anew, from the results that were there."""
        manifest = self._manifest(step.name)
        now, files = manifest["page"], manifest["files"]
        return self._add(
            f"#{step.stage.name}/{step.result_key}/page",
            "CreateAction",
            name=f"page of {_title(step)}",
            description=f"papermill executed {step.stage.notebook}.ipynb once more for its page alone.",
            instrument=self._notebook(step, now.get("software")),
            object=[self._stored(*step.name, name, *files[name]) for name in files if name != NOTEBOOK],
            result=self._notebooks(step, manifest),
            endTime=_moment(now["finished"]),
            actionStatus="http://schema.org/CompletedActionStatus",
        )

    def _has_failed(self, step: Step) -> bool:
        """Whether a step was executed in this run and failed; what waited for it was not executed."""
        waited = any(parent in self.failures for parent in step.parents)
        return step.name in self.failures and not waited and self.store.complete_manifest(*step.name) is None

    def _failure(self, step: Step) -> dict[str, str]:
        """An execution that failed, and why; its time is that of the notebook which it left, where it left one."""
        left = self.store.failed(*step.name)
        return self._add(
            f"#{step.stage.name}/{step.result_key}",
            "CreateAction",
            name=_title(step),
            description=f"papermill executed {step.stage.notebook}.ipynb with these parameters, and it failed.",
            identifier=f"result key {step.result_key}",
            instrument=self._notebook(step, self.facts["writer"]),  # of the run that writes this report
            object=self._used(step),
            endTime=_modified(left) if left.is_file() else None,
            actionStatus="http://schema.org/FailedActionStatus",
            error=Mask(self.store.root)(self.failures[step.name]),
        )

    def _writing(self, made: Sequence[Step]) -> dict[str, str]:
        """The writing of the report from the executed notebooks."""
        notebooks = [each for step in made for each in self._notebooks(step, self._manifest(step.name))]
        return self._add(
            "#report",
            "CreateAction",
            name="report",
            description="Bakeoff merged the executed notebooks into the report.",
            instrument=self._software(self.facts["writer"], lock=True),
            object=notebooks,
            result=[_ref(name) for name, each in self._graph.items() if name in _BESIDE or _is_page(each)],
            endTime=self._newest(made),
            actionStatus="http://schema.org/CompletedActionStatus",
        )

    def _results(self, step: Step, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
        files = manifest["files"]
        stored = [self._stored(*step.name, name, *files[name]) for name in files if name != NOTEBOOK]
        return [*stored, *self._notebooks(step, manifest)]

    def _notebooks(self, step: Step, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
        """The executed notebook: its copies beside the report, or what the store holds of it."""
        rows = self._rows.get(step, ())
        copies = [quote(f"notebooks/{row.folder_name}/{step.label}.ipynb") for row in rows]
        there = [_ref(name) for name in copies if name in self._graph]
        return there or [self._stored(*step.name, NOTEBOOK, *manifest["files"][NOTEBOOK])]

    def _stored(self, stage: str, key: str, name: str, digest: str, size: int) -> dict[str, str]:
        """A file that stays in the store."""
        entity = f"#{stage}/{key}/{quote(name)}"
        if entity in self._graph:
            return _ref(entity)
        return self._add(
            entity,
            "CreativeWork",
            name=name,
            description=f"Written by {stage}, kept in the store and not in this folder.",
            encodingFormat=_kind(name),
            contentSize=str(size),
            sha256=digest,
        )

    # What it was done with

    def _used(self, step: Step) -> list[dict[str, str]]:
        """Parameters, settings, data, and the files of the parents."""
        used = [*self._parameters(step), *self._data(step)]
        for stage, key in step.parents:
            files = self._manifest((stage, key))["files"]
            used += [self._stored(stage, key, name, *files[name]) for name in files if name != NOTEBOOK]
        return used

    def _shared(self, step: Step, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
        """The features that a training used and others may use as well, as its training.json names them."""
        if not step.stage.shares or "training.json" not in manifest["files"]:
            return []
        summary = json.loads((self.store.folder(*step.name) / "training.json").read_bytes())
        place = self.store.shared(step.key_inputs).name
        words = "Features that a frozen base computed, kept in the store for all trainings that need the same."
        return [
            self._add(f"#shared/{place}/{quote(name)}", "CreativeWork", name=name, description=words, sha256=digest)
            for name, digest in summary.get("feature_files", {}).items()
        ]

    def _parameters(self, step: Step) -> list[dict[str, str]]:
        pairs = [*step.parameters.items(), *step.key_inputs["settings"].items()]
        return [self._value(name, value, "parameter") for name, value in dict(pairs).items()]

    def _value(self, name: str, value: Any, kind: str, **more: Any) -> dict[str, str]:
        known = self._values.get((kind, name, repr(value)))
        if known:
            return _ref(known)
        plain = value if isinstance(value, bool | int | float | str) else json.dumps(value, default=list)
        entity = f"#{kind}/{name}/{digest_value(value)[:16]}"
        self._add(entity, "PropertyValue", name=name, **more)
        self._graph[entity]["value"] = plain  # an empty text is a value, too
        self._values[kind, name, repr(value)] = entity
        return _ref(entity)

    def _data(self, step: Step) -> list[dict[str, str]]:
        """The data set and the weights that the step read, with the digests of their files."""
        row = next(iter(self._rows.get(step, ())), None)
        if row is None:
            return []
        resolved = step.key_inputs["resolved"].items()
        return [self._source(row, kind, digest) for kind, digest in resolved if kind == "dataset" or len(digest) == 64]

    def _source(self, row: Row, kind: str, digest: str) -> dict[str, str]:
        name = row.dataset.name if kind == "dataset" else row.weights_file
        known = len(digest) == 64
        return self._add(
            f"#{kind}/{quote(name)}/{digest[:16]}",
            "CreativeWork",
            name=name,
            description=("The data set" if kind == "dataset" else "The weights of a base trained on ImageNet")
            + ("" if known else ", drawn by Bakeoff's own code"),
            sha256=digest if known and kind == "weights" else None,
            identifier=f"sha256 of the names and digests of its files: {digest}"
            if kind == "dataset" and known
            else None,
        )

    def _notebook(self, step: Step, software: Software | None) -> dict[str, str]:
        """The notebook that a step executed, with the revision and the packages that the step itself recorded.

        Its version is the digest of the code that decides numbers.
        """
        software = software or _UNKNOWN
        code, versions = dict(step.key_inputs["code"]), step.key_inputs["versions"]
        name = f"#notebook/{step.stage.notebook}/{digest_value([code, versions, software])[:16]}"
        if name in self._graph:
            return _ref(name)
        modules = [self._module(each, digest, software) for each, digest in code.items() if each != "notebook"]
        packages = [self._package(each, version) for each, version in versions.items()]
        return self._add(
            name,
            "SoftwareSourceCode",
            name=f"notebooks/{step.stage.notebook}.ipynb",
            description=f"The notebook of the stage {step.stage.name}",
            programmingLanguage="Python",
            version=code["notebook"],
            url=self._address(f"notebooks/{step.stage.notebook}.ipynb", software),
            isPartOf=self._software(software),
            softwareRequirements=[*modules, *packages],
        )

    def _module(self, name: str, digest: str, software: Software) -> dict[str, str]:
        """A module that decides numbers; the digest leaves out comments and docstrings."""
        path = Path(*name.split("."))
        file = path / "__init__.py" if (PROJECT / path).is_dir() else path.with_suffix(".py")
        url = self._address(file.as_posix(), software)
        return self._add(
            f"#code/{name}/{digest_value([digest, url])[:16]}", "SoftwareSourceCode", name=name, version=digest, url=url
        )

    def _package(self, name: str, version: str) -> dict[str, str]:
        url = f"https://pypi.org/project/{quote(name)}/{quote(version)}/"
        url = f"https://docs.python.org/{quote(version)}/" if name == "python" else url
        return self._add(url, "SoftwareApplication", name=name, softwareVersion=version, url=url)

    def _software(self, software: Software, lock: bool = False) -> dict[str, str]:
        """Bakeoff itself: revision, whether files differed from it, and the packages that were there.

        `lock`: with the digest of requirements.lock, which is known of the report's own software.
        """
        revision, file = str(software["revision"]), PROJECT / "requirements.lock"
        clean = "unknown" if revision == "unknown" else str("+changes" not in revision).lower()
        packages = [self._package(name, version) for name, version in software["packages"].items()]
        if lock and file.is_file():
            about = {"description": "Every package with its hashes", "sha256": digest_file(file)}
            packages.append(self._add("#requirements.lock", "CreativeWork", name=file.name, **about))
        return self._add(
            f"#bakeoff/{digest_value([software, lock])[:16]}",
            "SoftwareApplication",
            name="Bakeoff",
            softwareVersion=revision,
            url=self._url(""),
            license=_ref(_LICENSE),
            softwareRequirements=packages,
            additionalProperty=self._value("no file differed from the revision", clean, "checkout"),
        )

    def _address(self, path: str, software: Software) -> str:
        """Where a file of this revision can be read; nothing where files differed from it, or nobody knows."""
        revision = str(software["revision"])
        known = revision != "unknown" and "+changes" not in revision
        return self._url(f"blob/{revision}/{path}") if known else ""

    def _url(self, path: str) -> str:
        """An address below the project's; empty where nothing says what that is."""
        repository = _repository()
        return f"{repository}/{path}".rstrip("/") if repository else ""


def _title(step: Step) -> str:
    return f"{step.title} of {', '.join(step.variants)}" if step.variants else step.stage.name


def _is_page(entity: Entity) -> bool:
    return entity["@type"] == "File" and str(entity["name"]).startswith(f"{PAGES}/")


@cache
def _repository() -> str:
    """The project's address; empty where nothing says it."""
    try:
        urls = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
        return str(urls["Repository"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return ""


def _single(entity: Entity) -> Entity:
    """The entity with lists of one element as that element, as the standard advises."""
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in entity.items()}


def _moment(text: str) -> str:
    """A date and time to the second, in the one form that the profile's checker takes."""
    return datetime.fromisoformat(text).replace(microsecond=0).isoformat()


def _modified(path: Path) -> str:
    """When a file was written last."""
    return _moment(datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat())


def _ref(name: str) -> dict[str, str]:
    return {"@id": name}


def _kind(name: str) -> str:
    return _KINDS.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _started(path: Path) -> str | None:
    """When papermill began with an executed notebook: nearly always among its last bytes."""
    try:
        with path.open("rb") as stream:
            stream.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
            found = _START.findall(stream.read())
        if found:
            return _moment(found[-1].decode())
        papermill = json.loads(path.read_text(encoding="utf-8"))["metadata"]["papermill"]
        return _moment(papermill["start_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""Which code decides a step's numbers, and which only its page: digests of notebooks and lab modules."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError
from bakeoff.params import options
from bakeoff.params.own_network import OwnNetwork, is_own
from bakeoff.plan.python_source import Statement, statements, without_magics
from bakeoff.store import digest_value
from bakeoff.store.digests import DigestCache

PROJECT = Path(__file__).parents[2]
NOTEBOOKS = PROJECT / "notebooks"
LAB = "bakeoff.lab"
PAGE = "page"  # the tag of a cell that decides no number
_MODELS = f"{LAB}.models"
_SHOWN = (f"{LAB}.plots", f"{LAB}.display")  # figures, tables and sentences: never in a result key


@dataclass(frozen=True)
class Notebook:
    """What a stage's notebook declares, computes and shows."""

    parameters: tuple[str, ...]  # names that its `parameters` cell declares, without inputs and output
    computing: str  # digest of the code that decides numbers
    showing: str  # digest of everything else a reader sees
    modules: tuple[str, ...]  # what its computing cells import of the lab: "module" or "module:name"
    shown_modules: tuple[str, ...]  # what all of its cells import of it


@dataclass
class Code:
    """Digests of the project's code, worked out once a file version."""

    digests: DigestCache
    project: Path = PROJECT
    _known: dict[str, list[dict[str, Any]] | None] = field(default_factory=dict)  # module -> statements; None: no file
    _found: dict[tuple[frozenset[str], bool], dict[str, tuple[str, str]]] = field(default_factory=dict)

    def notebook(self, name: str) -> Notebook:
        """The notebook notebooks/<name>.ipynb; RequestError when its tags are wrong or a cell is no Python."""
        facts = self.digests.recall(self.project / "notebooks" / f"{name}.ipynb", "notebook-3", _read_notebook)
        if facts["fault"]:
            raise RequestError(f"notebooks/{name}.ipynb: {facts['fault']}")
        modules, shown = tuple(facts["modules"]), tuple(facts["shown_modules"])
        return Notebook(tuple(facts["parameters"]), facts["computing"], facts["showing"], modules, shown)

    def computing(
        self, notebook: Notebook, parameters: Mapping[str, Any], network: OwnNetwork | None = None
    ) -> dict[str, str]:
        """Lab module -> digest of its code, for all that decides numbers.

        Of the builders and trainers, which are looked up by name, only those that `parameters` name; of the files of
        networks only the functions, classes and constants that are reached, as "module:name". A `network` from
        outside the package counts with all of its files.
        """
        own = {network.name: network.digest()} if network and "builder" in parameters else {}
        return self.modules(*notebook.modules, *_named(parameters)) | own

    def modules(self, *roots: str) -> dict[str, str]:
        """Lab module -> digest of its code, for these modules and all that they import to compute."""
        return {name: digest for name, (digest, _) in self._reached(roots, shown=False).items()}

    def showing(
        self, notebook: Notebook, parameters: Mapping[str, Any], network: OwnNetwork | None = None
    ) -> dict[str, str]:
        """Lab module -> digest, for the figures, tables and sentences, and for the text of the network."""
        roots = [*notebook.modules, *_named(parameters)]
        computing = self._reached(roots, shown=False)
        shown = {name: digest for name, (digest, _) in self._reached(notebook.shown_modules, shown=True).items()}
        pages = {name: digest for name, digest in shown.items() if name not in computing}
        for root in _named(parameters):
            file = root.partition(":")[0]
            pages |= {name: text for name, (_, text) in computing.items() if name.startswith(f"{file}:")}
        return pages | ({network.name: network.text_digest()} if network and "builder" in parameters else {})

    def _statements(self, module: str) -> list[dict[str, Any]] | None:
        """The statements of a module, asked of the disk once; None where there is no such file."""
        if module not in self._known:
            path = self.project.joinpath(*module.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            known = path.is_file()
            work = partial(_read_module, module=module)
            self._known[module] = self.digests.recall(path, f"module-3-{module}", work) if known else None
        return self._known[module]

    def _reached(self, roots: Iterable[str], shown: bool) -> dict[str, tuple[str, str]]:
        """Digests of tokens and of text of all lab code that the roots import, directly or not; shown code if asked.

        A module counts as a whole under its name; a file of networks by what is reached of it, as "module:name".
        """
        question = frozenset(roots), shown
        if question not in self._found:
            self._found[question] = self._walk(*question)
        return self._found[question]

    def _walk(self, roots: Iterable[str], shown: bool) -> dict[str, tuple[str, str]]:
        waiting = sorted(roots)
        seen: set[str] = set()
        found: dict[str, tuple[str, str]] = {}
        while waiting:
            target = waiting.pop()
            if target in seen or not _in_lab(target) or (_is_shown(target) and not shown):
                continue
            seen.add(target)
            module, name = self._resolved(target)
            all_statements = self._statements(module)
            if all_statements is None:
                continue
            waiting += _parents(module)
            if name and _is_network_file(module):
                reached = _needed(all_statements, name)
                found |= _by_name(module, reached)
            else:
                reached = all_statements
                found[module] = (_joined(reached, "digest"), _joined(reached, "text"))
            waiting += [each for statement in reached for each in statement["imports"]]
        return dict(sorted(found.items()))

    def _resolved(self, target: str) -> tuple[str, str]:
        """Module and name of "module:name": the name is empty where it is a module itself, or every name."""
        module, _, name = target.partition(":")
        if name and self._statements(f"{module}.{name}") is not None:
            return f"{module}.{name}", ""
        return module, "" if name == "*" else name


def read_parameter_names(path: Path) -> list[str]:
    """The names that a notebook's `parameters` cell declares, without inputs and output."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [name for cell in cells if _tagged(cell, "parameters") for name in _declared(_source(cell))]


def _named(parameters: Mapping[str, Any]) -> list[str]:
    """The package's network that parameters name, as what would import it."""
    builder = parameters.get("builder", ":")
    return [] if is_own(builder) else [f"{_MODELS}.{options.builders()[builder]}:{builder}"]


def _read_notebook(path: Path) -> dict[str, Any]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if not _tagged(cell, "colab")]  # where a project lies is in no key
    code = [cell for cell in cells if cell["cell_type"] == "code" and not _tagged(cell, "parameters")]
    read, fault = [], ""
    for number, cell in enumerate(code, start=1):
        try:
            read.append(statements(without_magics(_source(cell))))
        except (SyntaxError, ValueError) as error:
            fault = fault or f"code cell {number} is no Python ({error}); mend it, or tag it colab to leave it out"
            read.append([])
    plots = {name for cell in read for each in cell for name in each.assigns if _all_shown(each)}
    computing = [
        [] if _tagged(cell, PAGE) else [each for each in read_cell if not _only_shows(each, plots)]
        for cell, read_cell in zip(code, read, strict=True)
    ]
    pages = [each for cell, read_cell in zip(code, read, strict=True) if _tagged(cell, PAGE) for each in read_cell]
    untagged = [
        each for cell, read_cell in zip(code, read, strict=True) if not _tagged(cell, PAGE) for each in read_cell
    ]
    return {
        "parameters": read_parameter_names(path),
        "computing": digest_value([[each.digest for each in cell] for cell in computing if cell]),
        "showing": digest_value([_source(cell) for cell in cells] + [_tags(cell) for cell in cells]),
        "modules": _lab_imports(untagged),
        "shown_modules": _lab_imports([*untagged, *pages]),
        "fault": fault or _wrongly_tagged(pages, [each for cell in computing for each in cell]),
    }


def _wrongly_tagged(pages: Sequence[Statement], computing: Sequence[Statement]) -> str:
    """Why a cell cannot have the tag `page`: code that computes reads a name that it assigns."""
    assigned = {name for each in pages for name in each.assigns}
    read = sorted(assigned & {name for each in computing for name in each.reads})
    if not read:
        return ""
    return (
        f"a cell with the tag {PAGE} assigns {', '.join(read)}, which a cell without the tag reads: take the tag away, "
        "since such a cell decides numbers, or give the name in the page's cell another one"
    )


def _read_module(path: Path, module: str) -> list[dict[str, Any]]:
    """The statements of a module of the project."""
    package = path.name == "__init__.py"
    return [each.record() for each in statements(path.read_text(encoding="utf-8"), module, package)]


def _needed(all_statements: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The statements that `name` is made of, in order: its own, those of the names that these read, and so on.

    What binds no name (a call, a registration) counts for every name, and so does `from __future__`.
    """
    binders: dict[str, list[int]] = {}
    for number, each in enumerate(all_statements):
        for bound in each["assigns"] if not _is_general(each) else ("",):
            binders.setdefault(bound, []).append(number)
    waiting, asked, chosen = ["", name], set[str](), set[int]()
    while waiting:
        wanted = waiting.pop()
        if wanted not in asked:
            asked.add(wanted)
            chosen |= set(binders.get(wanted, []))
            waiting += [read for number in binders.get(wanted, []) for read in all_statements[number]["reads"]]
    return [all_statements[number] for number in sorted(chosen)]


def _is_general(statement: Mapping[str, Any]) -> bool:
    return not statement["assigns"] or "*" in statement["assigns"] or "__future__:annotations" in statement["imports"]


def _by_name(module: str, reached: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """ "module:name" -> digests of tokens and of text, for each statement under the names that it binds."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for each in reached:
        imported = each["imports"] and not each["reads"]
        name = "imports" if imported else ", ".join(each["assigns"]) or "statements"
        groups.setdefault(f"{module}:{name}", []).append(each)
    return {name: (_joined(group, "digest"), _joined(group, "text")) for name, group in groups.items()}


def _joined(found: Sequence[Mapping[str, Any]], what: str) -> str:
    return digest_value([each[what] for each in found])


def _lab_imports(found: Iterable[Statement]) -> list[str]:
    return sorted({target for each in found for target in each.imports if _in_lab(target)})


def _in_lab(target: str) -> bool:
    return f"{target.replace(':', '.')}.".startswith(f"{LAB}.")


def _is_shown(target: str) -> bool:
    return f"{target.replace(':', '.')}.".startswith(tuple(f"{each}." for each in _SHOWN))


def _is_network_file(module: str) -> bool:
    return module.startswith(f"{_MODELS}.")


def _parents(module: str) -> list[str]:
    """The packages that importing a module of the lab imports first."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(2, len(parts))]


def _all_shown(statement: Statement) -> bool:
    """Whether a statement imports figures or sentences, and nothing else."""
    return bool(statement.imports) and not statement.reads and all(map(_is_shown, statement.imports))


def _only_shows(statement: Statement, plots: set[str]) -> bool:
    """Whether a statement can decide no number: an import of plots, or a bare call of one of their functions."""
    return _all_shown(statement) or statement.called in plots


def _declared(source: str) -> list[str]:
    """The names that a `parameters` cell assigns, without those that every stage has."""
    targets = [node.targets[0] for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return [t.id for t in targets if isinstance(t, ast.Name) and t.id not in ("inputs", "output")]


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: dict[str, Any]) -> str:
    return " ".join(cell.get("metadata", {}).get("tags", []))


def _tagged(cell: dict[str, Any], *tags: str) -> bool:
    return any(tag in cell.get("metadata", {}).get("tags", []) for tag in tags)

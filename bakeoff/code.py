"""Which code decides a step's numbers, and which only its page: digests of notebooks and lab modules."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakeoff import rules
from bakeoff.digests import DigestCache
from bakeoff.store import digest_value

PROJECT = Path(__file__).parent.parent
NOTEBOOKS = PROJECT / "notebooks"
LAB = "bakeoff.lab"
_PLOTS = f"{LAB}.plots"
_MODELS = f"{LAB}.models"


@dataclass(frozen=True)
class Notebook:
    """What a stage's notebook declares, computes and shows."""

    parameters: tuple[str, ...]  # names that its `parameters` cell declares, without inputs and output
    computing: str  # digest of the code that decides numbers
    showing: str  # digest of everything else a reader sees
    modules: tuple[str, ...]  # lab modules that its code imports


@dataclass
class Code:
    """Digests of the project's code, worked out once a file version."""

    digests: DigestCache
    project: Path = PROJECT
    _known: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # module -> facts; None: no such file

    def notebook(self, name: str) -> Notebook:
        """The notebook notebooks/<name>.ipynb."""
        facts = self.digests.recall(self.project / "notebooks" / f"{name}.ipynb", "notebook-1", _read_notebook)
        return Notebook(tuple(facts["parameters"]), facts["computing"], facts["showing"], tuple(facts["modules"]))

    def computing(self, notebook: Notebook, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Lab module -> digest of its code, for all that decides numbers.

        Of the builders and trainers, which are looked up by name, only those that `parameters` name.
        """
        roots = list(notebook.modules)
        if "builder" in parameters:
            roots.append(f"{_MODELS}.{rules.builders()[parameters['builder']]}")
        if "trainer" in parameters:
            roots.append(f"{LAB}.{rules.trainers()[parameters['trainer']]}")
        return {name: facts["digest"] for name, facts in self._reached(roots, plots=False)}

    def showing(self, notebook: Notebook) -> dict[str, str]:
        """Lab module -> digest, for the figures, tables and sentences."""
        reached = self._reached(notebook.modules, plots=True)
        return {name: facts["digest"] for name, facts in reached if name.startswith(_PLOTS)}

    def _facts(self, module: str) -> dict[str, Any] | None:
        """Digest and imports of a module, asked of the disk once; None where there is no such file."""
        if module not in self._known:
            path = self.project.joinpath(*module.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self._known[module] = self.digests.recall(path, "module-2", _read_module) if path.is_file() else None
        return self._known[module]

    def _reached(self, roots: Iterable[str], plots: bool) -> list[tuple[str, dict[str, Any]]]:
        """Every lab module that the roots import, directly or not, sorted, with its facts; plots only if asked for."""
        waiting = list(roots)
        reached: dict[str, dict[str, Any]] = {}
        while waiting:
            module = waiting.pop()
            if module in reached or not module.startswith(LAB) or (module.startswith(_PLOTS) and not plots):
                continue
            facts = self._facts(module)
            if facts is not None:
                reached[module] = facts
                waiting += facts["imports"]
        return sorted(reached.items())


def read_parameter_names(path: Path) -> list[str]:
    """The names that a notebook's `parameters` cell declares, without inputs and output."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [name for cell in cells if _tagged(cell, "parameters") for name in _declared(_source(cell))]


def _read_notebook(path: Path) -> dict[str, Any]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [_source(cell) for cell in cells if cell["cell_type"] == "code" and not _tagged(cell, "colab", "parameters")]
    trees = [ast.parse(source) for source in code]
    plots = {name for tree in trees for name in _plot_names(tree)}
    computing = [[ast.dump(node) for node in tree.body if not _only_shows(node, plots)] for tree in trees]
    showing = [_source(cell) for cell in cells] + [_tags(cell) for cell in cells]
    return {
        "parameters": read_parameter_names(path),
        "computing": digest_value([statements for statements in computing if statements]),
        "showing": digest_value(showing),
        "modules": sorted({module for tree in trees for module in _imports(tree)}),
    }


def _read_module(path: Path) -> dict[str, Any]:
    """Digest without comments and docstrings, and the lab modules that the file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # A builder or trainer that is added changes no other variant's numbers.
    tree.body = [node for node in tree.body if not _assigns(node, "BUILDERS") and not _assigns(node, "TRAINERS")]
    imports = sorted(_imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return {"digest": digest_value(ast.dump(tree)), "imports": imports}


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:]


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _imports(tree: ast.AST) -> set[str]:
    """Names of imported lab modules; `from bakeoff.lab import data` counts as bakeoff.lab.data."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith(LAB)}


def _plot_names(tree: ast.AST) -> set[str]:
    """The names under which a cell imports the modules of figures and sentences."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PLOTS)
        for alias in node.names
    }


def _only_shows(node: ast.stmt, plots: set[str]) -> bool:
    """Whether a statement can decide no number: an import of plots, or a bare call of one of their functions."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith(_PLOTS)
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    called: ast.expr = node.value.func
    while isinstance(called, ast.Attribute):
        called = called.value
    return isinstance(called, ast.Name) and called.id in plots


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

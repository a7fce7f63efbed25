"""A notebook's own cells, executed in this process: what its reader sees is what is tested."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bakeoff.lab.data import Dataset
from bakeoff.lab.preprocessing import Prepared

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TRAINING = {
    "fit": "5_train",
    "feature_extraction": "5_train_feature_extraction",
    "fine_tune": "5_train_fine_tune",
    "airbench": "5_train_airbench",
}

OWN: dict[str, Any] = {}  # what an edited cell takes from a test


def code_cells(notebook: str) -> list[tuple[list[str], str]]:
    """Tags and source of each code cell that is executed outside Colab."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [
        (cell["metadata"].get("tags", []), "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"
    ]
    return [(tags, source) for tags, source in code if "colab" not in tags]


def run_cells(
    notebook: str,
    parameters: dict[str, Any],
    edit: Callable[[str], str] = lambda source: source,
    pages: bool = False,
) -> dict[str, Any]:
    """Execute the cells that compute, with the parameters that they declare, as papermill injects them; their names.

    `edit` changes the source of each cell before, as somebody at the notebook would. pages: the others too.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for tags, source in code_cells(notebook):
        if pages or "page" not in tags:
            exec(compile(edit(source), notebook, "exec"), names)
        if "parameters" in tags:
            names |= {name: value for name, value in parameters.items() if name in names}
    return names


@contextmanager
def displayed() -> Iterator[list[Any]]:
    """What cells display meanwhile: objects with `data` and `metadata`, as a notebook keeps them."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    outputs: list[Any] = []
    InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        with capture_output(stdout=False, stderr=False) as shown:
            yield outputs
        outputs += shown.outputs
    finally:
        InteractiveShell.clear_instance()


def prepare(dataset: Dataset, folder: str | Path, pages: bool = False, **parameters: Any) -> Prepared:
    """What the preprocess notebook makes of a data set with these parameters, stored in `folder`."""
    OWN["data_set"] = dataset

    def edit(source: str) -> str:
        own = f"__import__({__name__!r}, fromlist=['OWN']).OWN['data_set']"
        return source.replace('data.open_dataset(inputs["load"])', own)

    Path(folder).mkdir(parents=True, exist_ok=True)
    folders = {"inputs": {}, "output": str(folder)}
    prepared: Prepared = run_cells("2_preprocess", folders | parameters, edit, pages)["prepared"]
    return prepared


def run_cell(notebook: str, identifier: str, names: dict[str, Any]) -> dict[str, Any]:
    """Execute one cell with `names` and with what it uses of its notebook's imports; all names afterwards."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}
    used = {node.id for node in ast.walk(ast.parse(sources[identifier])) if isinstance(node, ast.Name)}
    space: dict[str, Any] = {"__name__": "__main__"}
    setup = "\n".join(source for name, source in sources.items() if name.startswith("setup"))
    for statement in ast.parse(setup).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):  # those of networks take seconds
            statement.names = [each for each in statement.names if (each.asname or each.name) in used]
            if statement.names:
                exec(compile(ast.Module([statement], []), notebook, "exec"), space)
    space |= names
    exec(compile(sources[identifier], f"{notebook}:{identifier}", "exec"), space)
    return space

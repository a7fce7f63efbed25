"""A notebook's own cells, executed in this process: what its reader sees is what is tested."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    notebook: str, parameters: dict[str, Any], edit: Callable[[str], str] = lambda source: source
) -> dict[str, Any]:
    """Execute the cells that compute, with the parameters that they declare, as papermill injects them; their names.

    `edit` changes the source of each cell before, as somebody at the notebook would.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for tags, source in code_cells(notebook):
        if "page" not in tags:
            exec(compile(edit(source), notebook, "exec"), names)
        if "parameters" in tags:
            names |= {name: value for name, value in parameters.items() if name in names}
    return names

"""The shape of the project: the wall, the notebooks' contracts, the tree."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bakeoff.interactive import EXAMPLES, VARIANT
from bakeoff.params import load_parameters
from bakeoff.plan.code_digests import NOTEBOOKS, read_parameter_names
from bakeoff.plan.steps import BACKGROUND, COMPARE, STAGES, TRAINING_NOTEBOOKS
from bakeoff.plan.trials import OPEN
from tests.conftest import PROJECT, Workplace

NAMES = sorted({*(stage.notebook for stage in (BACKGROUND, *STAGES.values(), COMPARE)), *TRAINING_NOTEBOOKS.values()})
PATHS = [NOTEBOOKS / f"{name}.ipynb" for name in NAMES]


def _cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def _code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in _cells(path) if cell["cell_type"] == "code"]


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


# What checks images of one's own before anything starts, as the load stage would
CHECKS = {"bakeoff.lab", "bakeoff.lab.image_files"}  # and nothing heavy
# What decides on both sides whether a training is ranked: it imports nothing
RANKING = "bakeoff.lab.ranking"
# What the audit of claims may use of the lab: arithmetic on arrays and predictions, the same as the tables'
SHARED = {f"bakeoff.lab.{name}" for name in ("differences", "losses", "overfitting", "statistics", "tested")}


def test_the_wall_holds_in_both_directions() -> None:
    for path in (PROJECT / "bakeoff").rglob("*.py"):
        names = _imported(path)
        if "lab" in path.relative_to(PROJECT).parts:
            assert not [name for name in names if name.split(".")[0] == "bakeoff" and ".lab" not in name], path
        else:
            heavy = {"keras", "tensorflow", "jax", "torch", "keras_tuner", "tensorflow_datasets"}
            names -= {RANKING, *{"measured.py": SHARED, "own_images.py": CHECKS}.get(path.name, set())}
            assert not [name for name in names if name.split(".")[0] in heavy or name.startswith("bakeoff.lab")], path
    assert not _imported(PROJECT / "bakeoff" / "lab" / "ranking.py")
    for name in SHARED:
        used = _imported((PROJECT / Path(*name.split("."))).with_suffix(".py"))
        assert {each for each in used if each.startswith("bakeoff")} <= SHARED, name


def _without_encoding(tree: ast.AST) -> list[int]:
    """Lines of calls that read or write text and leave its encoding to the machine."""
    lines = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        given = {each.arg for each in call.keywords}
        words = [
            each.value
            for each in [*call.args, *(each.value for each in call.keywords)]
            if isinstance(each, ast.Constant)
        ]
        binary = any(isinstance(word, str) and "b" in word for word in words)
        not_a_file = getattr(owner, "id", getattr(owner, "attr", "")) in ("os", "Image", "_staging")
        text = name in ("read_text", "write_text") or (name == "open" and not binary and not not_a_file)
        if (text or given & {"text", "universal_newlines"}) and "encoding" not in given and "utf-8" not in words:
            lines.append(call.lineno)
    return lines


def test_every_text_is_read_and_written_with_an_encoding() -> None:
    """Or a terminal in another language reads and writes other letters."""
    files = [
        PROJECT / "pipeline.py",
        *(path for name in ("bakeoff", "docs", "benchmarks") for path in (PROJECT / name).rglob("*.py")),
    ]
    found = {str(path): _without_encoding(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    for path in PATHS:
        code = re.sub(r"^(\s*)[!%].*$", r"\1pass", "\n".join(_code(path)), flags=re.MULTILINE)  # IPython's own lines
        found[str(path)] = _without_encoding(ast.parse(code))
    assert not {name: lines for name, lines in found.items() if lines}
    wrong = "Path(a).read_text()\nopen(a)\np.open('w')\nsubprocess.run(a, text=True)\n"
    right = (
        "p.read_text(encoding='utf-8')\nopen(a, 'rb')\np.open('wb')\nsubprocess.run(a, encoding='utf-8', text=True)\n"
    )
    assert _without_encoding(ast.parse(wrong)) == [1, 2, 3, 4]
    assert _without_encoding(ast.parse(right)) == []


def test_the_lab_uses_tensorflow_only_for_data_batches_logs_and_exports() -> None:
    users = {path.name for path in (PROJECT / "bakeoff" / "lab").rglob("*.py") if "tensorflow" in _imported(path)}
    assert users <= {"prepared.py", "input_pipeline.py", "trials.py", "export.py"}


def test_the_command_starts_without_heavy_imports(workplace: Workplace) -> None:
    code = (
        "import sys; sys.argv = ['pipeline.py', '--dry-run', '--profile', 'quick', '--runs-dir', sys.argv[1]]\n"
        "import pipeline\n"
        "try:\n    pipeline.main()\nexcept SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'papermill', 'nbformat', 'IPython', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(workplace.runs)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TFDS_DATA_DIR": str(workplace.root), "KERAS_HOME": str(workplace.root)},
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "to run" in done.stdout


def test_each_declared_name_is_a_parameter_with_the_value_of_the_notebooks_example() -> None:
    base = yaml.safe_load((PROJECT / "params" / "base.yaml").read_text(encoding="utf-8"))
    for path in PATHS:
        names: dict[str, object] = {}
        (source,) = ["".join(c["source"]) for c in _cells(path) if "parameters" in c["metadata"].get("tags", [])]
        exec(source, names)
        assert names["inputs"] is None and names["output"] is None
        example = EXAMPLES.get(path.stem, VARIANT)
        values = load_parameters([example], "full")[0].stage
        for name in set(read_parameter_names(path)) - set(OPEN["trial"]):
            assert name in base, f"{path.name} declares {name}, which base.yaml does not know"
            if name != "published":
                assert names[name] == values[name], f"{path.name}: default of {name} is not {example}'s"


def test_a_trial_is_the_one_of_the_search() -> None:
    """By hand 3_search runs its trials itself; the pipeline runs 3_trial for each."""
    by_hand, alone = (
        {cell["id"]: cell["source"] for cell in _cells(PROJECT / "notebooks" / f"{name}.ipynb")}
        for name in ("3_search", "3_trial")
    )
    for cell in ("network", "images", "run-trial", "fit"):
        assert alone[cell] == by_hand[cell], f"the cell {cell} of 3_trial is not that of 3_search"


@pytest.mark.parametrize("path", [path for path in PATHS if path.stem != "0_background"])
def test_each_notebook_asks_for_its_inputs_by_its_own_name(path: Path) -> None:
    assert re.findall(r"resolve_inputs\(\"(\w+)\", globals\(\)\)", "\n".join(_code(path))) == [path.stem]


def test_each_parameter_is_used_by_some_stage() -> None:
    declared = {name for path in PATHS for name in read_parameter_names(path)}
    assert declared - set(OPEN["trial"]) == set(load_parameters(["ann"], "full")[0].stage) - {
        "trainer"
    }  # which chooses the notebook


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_notebooks_are_stripped_and_thin(path: Path) -> None:
    for cell in _cells(path):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    sources = [source for source in _code(path) if source]
    longest = [
        s
        for s, c in zip(sources, [c for c in _cells(path) if c["cell_type"] == "code"], strict=True)
        if "parameters" not in c["metadata"].get("tags", []) and len(s.splitlines()) > 30
    ]
    assert not longest
    assert 12 <= len([cell for cell in _cells(path) if "colab" not in cell["metadata"].get("tags", [])]) <= 40


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_prose_stands_before_every_code_cell_and_one_title(path: Path) -> None:
    cells = _cells(path)
    for before, cell in itertools.pairwise(cells):
        if cell["cell_type"] == "code":
            assert before["cell_type"] == "markdown", f"{path.name}: no prose before {cell['id']}"
    titles = [
        line
        for c in cells
        if c["cell_type"] == "markdown"
        for line in "".join(c["source"]).splitlines()
        if line.startswith("# ")
    ]
    assert len(titles) == 1


def test_the_tree_is_the_one_that_the_readme_shows() -> None:
    expected = {
        "notebooks",
        "pipeline.py",
        "params",
        "reports",
        "environment.yml",
        "tests",
        "README.md",
        "bakeoff",
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        "requirements-gpu.lock",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs",
        "benchmarks",
    }
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    top = {line.split("/")[0] for line in tracked.splitlines() if not line.startswith(".")}
    if not top:
        pytest.skip("not a git checkout")
    assert top == expected
    readme = (PROJECT / "README.md").read_text()
    assert all(name in readme for name in expected - {"README.md"})


def test_notebook_libraries_are_imported_without_what_nobody_needs() -> None:
    code = "import bakeoff, sys; bakeoff.fast_imports(); import papermill, nbconvert\n"
    code += "print({'lark', 'pyarrow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

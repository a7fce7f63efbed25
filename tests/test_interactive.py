"""A notebook opened by hand, Run All, with nothing injected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import nbformat
import papermill
import pytest

from bakeoff import warm
from bakeoff.warm import install

TINY = {
    "builder": "conv_pool_network",
    "builder_options": {"filters": [2, 2], "kernel_size": 3, "padding": "valid", "dense_units": 4},
}


def _run_all(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch, kernel: str = "python3", **parameters: object
) -> list[str]:
    """Execute notebooks/<name>.ipynb as Jupyter does, in its folder; what its cells printed."""
    monkeypatch.setenv("PYTHONPATH", str(project))
    monkeypatch.setenv("TFDS_DATA_DIR", str(project / "data"))
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    path = project / "notebooks" / f"{name}.ipynb"
    done = papermill.execute_notebook(
        path, project / "out.ipynb", parameters, kernel_name=kernel, progress_bar=False, cwd=str(path.parent)
    )
    return ["".join(output.get("text", "") for output in cell.get("outputs", [])) for cell in done.cells]


@pytest.mark.usefixtures("fork_server")
def test_train_finds_or_makes_what_it_needs(project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_copy()
    small = {"epochs": 1, "batch_size": 250, **TINY}
    printed = "\n".join(_run_all(project, "5_train", monkeypatch, **small))
    assert "Data: shapes10, synthetic images, in place of cifar10." in printed
    assert "Making load first" in printed and "Making build first" in printed
    assert "max_training_tflop = 1.5" in printed, "what the profile limits is said"
    assert "epochs = 3" not in printed, "what the reader set stays"
    assert "Making" not in "\n".join(_run_all(project, "5_train", monkeypatch, warm.KERNEL, **small))
    outputs = list((project / "runs" / "by_hand").glob("5_train-*"))
    assert len(outputs) == 2, "each set-up has a folder of its own"
    assert all((output / "training.json").is_file() for output in outputs)


def test_a_data_set_that_was_named_is_not_replaced(
    project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"dataset": "bakeoff_has_no_such_set", "max_train_examples": 200, "max_test_examples": 50}
    with pytest.raises(Exception, match="bakeoff_has_no_such_set is not in"):
        _run_all(project_copy(), "1_load", monkeypatch, **small)


def test_what_compiled_libraries_log_is_in_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install.main()
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it, ipykernel takes no such output either way
    cell = nbformat.v4.new_code_cell("import os\nprint('of Python')\nos.write(2, b'of C')\nos.write(1, b'of C');")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "small.ipynb")
    assert _run_all(tmp_path, "small", monkeypatch) == ["of Python\n"]


def test_injected_folders_are_left_alone() -> None:
    from bakeoff.interactive import resolve_inputs

    assert resolve_inputs("5_train", {"inputs": {"load": "a"}, "output": "b"}) == ({"load": "a"}, "b")


def test_a_set_up_that_is_run_again_takes_its_own_limits_for_no_wish() -> None:
    from bakeoff import interactive

    example = {"epochs": 10, "weights": "imagenet", "seed": 0}
    names = example | {"seed": 5}
    for _ in range(2):
        assert interactive._changed(example, names) == {"seed": 5}
        interactive._take({"epochs": 3, "weights": "random", "seed": 5}, {"epochs", "weights"}, names)
        assert names == {"epochs": 3, "weights": "random", "seed": 5}
    assert interactive._changed(example, names | {"epochs": 4}) == {"epochs": 4, "seed": 5}
    interactive._taken.clear()


def test_notebooks_are_valid() -> None:
    for path in sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb")):
        nbformat.validate(nbformat.read(path, as_version=4))
        assert path.stat().st_size < 60_000, f"{path.name} carries more than text"


@pytest.mark.usefixtures("fork_server")
def test_cells_that_are_changed_and_run_again_by_hand_are_not_answered_from_before(
    project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_copy()
    path = project / "notebooks" / "1_load.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    setup = next(cell for cell in code if "resolve_inputs(" in cell.source)
    loads = next(cell for cell in code if "data.load(" in cell.source)
    # In one kernel: everything, then the load cell for fewer images, then the set-up cell and the load cell.
    fewer = nbformat.v4.new_code_cell(f"max_train_examples = 30\n{loads.source}\nprint('first', len(data_set.train))")
    fresh = nbformat.v4.new_code_cell(f"{setup.source}\nimport os\nprint('left', os.listdir(output))")
    notebook.cells = [*notebook.cells, fewer, fresh]
    nbformat.write(notebook, path)
    small = {"dataset": "shapes10", "max_train_examples": 60, "max_test_examples": 20}
    printed = "\n".join(_run_all(project, "1_load", monkeypatch, warm.KERNEL, **small))
    assert "first 30" in printed and "left []" in printed


NETWORK = """\
def network(input_shape, num_classes):
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(num_classes, activation="softmax")
    ])
model = network(data.input_shape, data.num_outputs)
"""
REPORT = """
import json, pathlib
rows = (pathlib.Path(output) / "history.csv").read_text().splitlines()[1:]
kept = keras.models.load_model(pathlib.Path(output) / "model.keras", compile=False)
print("{label}:", json.dumps({{
    "rows": rows, "weights": kept.count_params(), "optimizer": model.optimizer.name, "output": output,
    "epochs": training.open_training(output).summary["epochs"],
    "same": bool((kept.get_weights()[-1] == model.get_weights()[-1]).all()),
}}))
"""


@pytest.mark.usefixtures("fork_server")
def test_by_hand_every_change_in_a_training_has_its_result(
    project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_copy()
    path = project / "notebooks" / "5_train.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cells = {cell.id: cell.source for cell in notebook.cells}
    order = ("setup", "network", "images", "compile", "fit", "save")

    def add(label: str, *sources: str) -> None:
        """Cells that somebody runs after Run All, and what is in the folder then."""
        notebook.cells += [nbformat.v4.new_code_cell(each) for each in (*sources, REPORT.format(label=label))]

    add("first")
    add("epochs", "epochs = 2", *(cells[name] for name in order))
    add("epochs in fit", *(cells[name] for name in order[:-2]), cells["fit"].replace("epochs=epochs", "epochs=1"))
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(cells["save"]))
    add("network", NETWORK, *(cells[name] for name in order[2:]))
    chosen = "optimizers[optimizer](learning_rate=learning_rate, **optimizer_options)"
    assert chosen in cells["compile"]
    sgd = cells["compile"].replace(chosen, "keras.optimizers.SGD(0.125)")
    add("optimizer", cells["network"], sgd, cells["fit"], cells["save"])
    add("fit again", cells["fit"], cells["save"])
    broken = cells["fit"].replace("epochs=epochs,", "epochs=epochs, no_such_argument=1,")
    failing = f"try:\n{indent(broken, '    ')}\nexcept TypeError:\n    print('it failed')"
    add("after an error", failing, cells["fit"], cells["save"])
    nbformat.write(notebook, path)
    small = {"epochs": 1, "max_training_tflop": 0.0001, **TINY}
    printed = "\n".join(_run_all(project, "5_train", monkeypatch, warm.KERNEL, **small))
    found = {label: json.loads(said) for label, said in re.findall(r"^([a-z ]+): ({.*})$", printed, re.MULTILINE)}
    assert {label: each["epochs"] for label, each in found.items()} == {
        "first": 1, "epochs": 2, "epochs in fit": 1, "network": 2, "optimizer": 2, "fit again": 2, "after an error": 2
    }  # fmt: skip
    assert "it failed" in printed
    assert all(each["same"] and len(each["rows"]) == each["epochs"] for each in found.values())
    assert found["first"]["output"] != found["epochs"]["output"] != found["epochs in fit"]["output"]
    assert found["network"]["weights"] == 30730 != found["first"]["weights"] == found["optimizer"]["weights"]
    assert found["first"]["optimizer"] == "adam" and found["optimizer"]["optimizer"] == "sgd"
    assert all(row.endswith(",0.125") for row in found["optimizer"]["rows"])
    trained = [tuple(row.rsplit(",", 2)[0] for row in each["rows"]) for each in found.values()]
    assert len(set(trained)) == len(trained), "no result is one of before"

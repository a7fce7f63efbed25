"""Keys: what makes a step run again, what only its page, and what neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff.errors import RequestError
from bakeoff.params import load_parameters
from bakeoff.plan import machine, resolve
from bakeoff.plan import steps as plan_module
from bakeoff.plan.code_digests import Code
from bakeoff.plan.machine import Machine, processor
from bakeoff.plan.resolve import Resolver
from bakeoff.plan.steps import SEARCHING, STAGES, Plan, make_plan
from bakeoff.store import Store
from tests.prepared_sets import describe

NO_SEARCH = set(STAGES) - set(SEARCHING)
Keys = dict[tuple[str, str], tuple[str, str]]


def _plan(project: Path, variants: tuple[str, ...] = ("ann", "simple_cnn"), settings: tuple[str, ...] = ()) -> Plan:
    store = Store(project / "runs")
    resolver = Resolver(store, "quick", project / "data", lambda text: None)
    return make_plan(load_parameters(variants, "quick", settings), resolver, Code(resolver.digests, project), store)


def _keys(plan: Plan) -> Keys:
    """(variant, stage) -> (result key, page key)."""
    return {
        (row.variant, name): (step.result_key, step.page_key) for row in plan.rows for name, step in row.steps.items()
    }


def _changed(before: Keys, after: Keys) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The steps whose result key changed, and those whose page key alone did."""
    results = {name for name in before if before[name][0] != after[name][0]}
    pages = {name for name in before if before[name][1] != after[name][1]}
    return results, pages - results


@pytest.fixture
def project(project_copy: Callable[[], Path]) -> Path:
    return project_copy()


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def _edit_cells(path: Path, kind: str, change: Callable[[str], str]) -> None:
    """Apply `change` to the last cell of a kind."""
    notebook = json.loads(path.read_text())
    cell = next(cell for cell in reversed(notebook["cells"]) if cell["cell_type"] == kind)
    cell["source"] = change("".join(cell["source"]))
    path.write_text(json.dumps(notebook))


def test_steps_with_equal_keys_are_one_step(project: Path) -> None:
    plan = _plan(project)
    assert [step.stage.name for step in plan.steps].count("load") == 1
    assert plan.steps[0].variants == ["ann", "simple_cnn"]


def test_parents_stand_before_their_children(project: Path) -> None:
    seen: set[tuple[str, str]] = set()
    for step in _plan(project, ("gray_grid", "ann", "augmented_cnn")).steps:
        assert all(parent in seen for parent in step.inputs.items())
        seen.add(step.name)


def test_only_variants_with_a_space_search(project: Path) -> None:
    rows = {row.variant: row.steps for row in _plan(project, ("gray_grid", "ann")).rows}
    assert "search" in rows["gray_grid"]
    assert "search" not in rows["ann"]


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("epochs=4", {"train", "evaluate"}),
        ("batch_size=16", {"train", "evaluate"}),
        ("scaling=minmax", {"preprocess", "build", "train", "evaluate"}),
        ("top_k=2", {"evaluate"}),
        ("max_test_examples=10", NO_SEARCH),
        ("threads=1", {"train", "evaluate"}),
        ("stage_timeout_seconds=60", set()),
        ("notes=another sentence", set()),
    ],
)
def test_a_parameter_reruns_the_stages_that_use_it(project: Path, setting: str, stages: set[str]) -> None:
    before = _keys(_plan(project, ("ann",), ("threads=2",)))
    after = _keys(_plan(project, ("ann",), ("threads=2", setting)))
    results, pages = _changed(before, after)
    assert {stage for _, stage in results} == stages
    assert not pages


def test_what_the_source_prints_changes_the_page_alone(project: Path) -> None:
    results, pages = _changed(
        _keys(_plan(project, ("ann",))), _keys(_plan(project, ("ann",), ("published={parameters: 3}",)))
    )
    assert not results
    assert {stage for _, stage in pages} == {"build", "train", "evaluate"}


def test_a_colour_and_a_sentence_change_pages_alone(project: Path) -> None:
    before = _keys(_plan(project))
    _edit(project / "bakeoff/lab/plots/page.py", "#0072B2", "#0072B3")
    results, pages = _changed(before, _keys(_plan(project)))
    assert not results
    assert {stage for _, stage in pages} == NO_SEARCH
    before = _keys(_plan(project))
    _edit_cells(project / "notebooks/5_train.ipynb", "markdown", lambda text: text + " Another sentence.")
    results, pages = _changed(before, _keys(_plan(project)))
    assert not results
    assert {stage for _, stage in pages} == {"train"}


def test_a_caption_changes_the_page_alone(project: Path) -> None:
    path = project / "notebooks/5_train.ipynb"
    before = _keys(_plan(project))
    _edit(path, 'caption=\\"', 'caption=\\"Seen anew: ')
    results, pages = _changed(before, _keys(_plan(project)))
    assert not results
    assert {stage for _, stage in pages} == {"train"}


def test_code_that_computes_changes_results(project: Path) -> None:
    before = _keys(_plan(project))
    _edit(
        project / "notebooks/5_train.ipynb",
        "keras.utils.set_random_seed(seed)",
        "keras.utils.set_random_seed(seed + 1)",
    )
    results, _ = _changed(before, _keys(_plan(project)))
    assert {stage for _, stage in results} == {"train", "evaluate"}


def test_another_variants_builder_changes_nothing(project: Path) -> None:
    before = _keys(_plan(project))
    _edit(project / "bakeoff/lab/models/dense.py", 'activation="relu"', 'activation="elu"')
    results, pages = _changed(before, _keys(_plan(project)))
    assert results == {("ann", stage) for stage in ("build", "train", "evaluate")}
    assert not pages


NETWORKS = ("simple_cnn", "scratch_cnn", "batchnorm_cnn", "resnet50_transfer", "vgg16_transfer")


def test_one_network_of_a_file_retrains_no_other(project: Path) -> None:
    path = project / "bakeoff/lab/models/convolutional.py"
    before = _keys(_plan(project, NETWORKS))
    dropout = "\n    model.add(layers.Dropout(0.5))\n    activation"
    _edit(path, f"BatchNormalization()){dropout}", f"BatchNormalization(momentum=0.9)){dropout}")
    after = _keys(_plan(project, NETWORKS))
    results, pages = _changed(before, after)
    assert results == {("batchnorm_cnn", stage) for stage in ("build", "train", "evaluate")}
    assert not pages
    _edit(project / "bakeoff/lab/models/transfer.py", "layers.Dense(128", "layers.Dense(256")  # of what three call
    results, _ = _changed(after, _keys(_plan(project, NETWORKS)))
    assert {variant for variant, _ in results} == {"resnet50_transfer", "vgg16_transfer"}


def test_a_comment_in_a_network_is_a_matter_of_its_page(project: Path) -> None:
    path = project / "bakeoff/lab/models/convolutional.py"
    before = _keys(_plan(project, NETWORKS))
    layer = '            layers.Conv2D(64, 3, activation="relu"),\n            layers.MaxPooling2D(2),\n'
    layer += "            layers.Flatten"
    before_layer = 'layers.Conv2D(32, 3, activation="relu"),\n            layers.MaxPooling2D(2),\n'
    _edit(path, f"{before_layer}{layer}", f"{before_layer}            # a comment\n{layer}")
    results, pages = _changed(before, _keys(_plan(project, NETWORKS)))
    assert not results
    assert pages == {("simple_cnn", stage) for stage in ("build", "train")}


def test_what_a_figure_is_drawn_with_is_a_matter_of_the_page(project: Path) -> None:
    (project / "bakeoff/lab/helper.py").write_text("WIDTH = 1\n")
    _edit(project / "bakeoff/lab/plots/page.py", "\nimport ", "\nfrom .. import helper\nimport ")
    before = _keys(_plan(project))
    (project / "bakeoff/lab/helper.py").write_text("WIDTH = 2\n")
    results, pages = _changed(before, _keys(_plan(project)))
    assert not results
    assert {stage for _, stage in pages} == NO_SEARCH


def test_a_relative_import_is_followed(project: Path) -> None:
    (project / "bakeoff/lab/helper.py").write_text("WIDTH = 1\n")
    _edit(project / "bakeoff/lab/training/budget.py", "\nimport ", "\nfrom ..helper import WIDTH\nimport ")
    before = _keys(_plan(project, ("ann",)))
    (project / "bakeoff/lab/helper.py").write_text("WIDTH = 2\n")
    results, _ = _changed(before, _keys(_plan(project, ("ann",))))
    assert {stage for _, stage in results} >= {"train", "evaluate"}
    assert {stage for _, stage in results}.isdisjoint({"load", "preprocess", "build"})


def _add_cell(path: Path, source: str, *tags: str) -> None:
    notebook = json.loads(path.read_text())
    cell = {"cell_type": "code", "id": f"added-{len(notebook['cells'])}", "source": source, "outputs": []}
    notebook["cells"].append(cell | {"metadata": {"tags": list(tags)}, "execution_count": None})
    path.write_text(json.dumps(notebook))


def test_a_page_cell_belongs_to_the_page(project: Path) -> None:
    path = project / "notebooks/5_train.ipynb"
    (project / "bakeoff/lab/display.py").write_text("WIDTH = 1\n")
    before = _keys(_plan(project))
    _add_cell(path, "from bakeoff.lab import display\nwidth = 2\nprint(display.WIDTH * width)", "page")
    after = _keys(_plan(project))
    for keys in (_changed(before, after), _changed(after, _with_display(project))):
        assert not keys[0]
        assert {stage for _, stage in keys[1]} == {"train"}


def _with_display(project: Path) -> Keys:
    (project / "bakeoff/lab/display.py").write_text("WIDTH = 2\n")
    return _keys(_plan(project))


def test_a_page_cell_assigns_nothing_that_others_read(project: Path) -> None:
    path = project / "notebooks/5_train.ipynb"
    _add_cell(path, "width = [a for a in range(2)]", "page")
    _add_cell(path, "a = 1\nprint(a)")
    _keys(_plan(project))
    _add_cell(path, "double = 2 * len(width)")
    with pytest.raises(RequestError, match=r"5_train.ipynb: .*tag page assigns width, which a cell without"):
        _plan(project)


def test_a_cell_that_is_no_python_is_named(project: Path) -> None:
    _add_cell(project / "notebooks/5_train.ipynb", "%time 3\nx = = 3")
    with pytest.raises(RequestError, match=r"5_train.ipynb: code cell \d+ is no Python"):
        _plan(project)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERAS_MAX_EPOCHS", "1"),
        ("KERAS_MAX_STEPS_PER_EPOCH", "2"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2"),
        ("MKL_CBWR", "AVX"),
    ],
)
def test_a_variable_that_changes_numbers_is_in_the_keys_of_what_computes(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    before = _keys(_plan(project))
    monkeypatch.setenv(name, value)
    results, _ = _changed(before, _keys(_plan(project)))
    assert {stage for _, stage in results} == {"build", "train", "evaluate"}


@pytest.mark.parametrize(
    ("name", "value"), [("floatx", "float64"), ("epsilon", 1e-5), ("image_data_format", "channels_first")]
)
def test_keras_own_settings_are_in_the_keys_of_what_computes(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    before = _keys(_plan(project))
    (project / "keras").mkdir()
    (project / "keras" / "keras.json").write_text(json.dumps({"floatx": "float32", "epsilon": 1e-07}))
    assert _keys(_plan(project)) == before  # Keras' own defaults
    (project / "keras" / "keras.json").write_text(json.dumps({name: value}))
    results, _ = _changed(before, _keys(_plan(project)))
    assert {stage for _, stage in results} == {"build", "train", "evaluate"}


@pytest.mark.parametrize(
    ("package", "stages"),
    [
        ("python", NO_SEARCH),
        ("numpy", NO_SEARCH),
        ("scipy", {"evaluate"}),
        ("seaborn", set()),
        ("pandas", set()),
    ],
)
def test_versions_are_in_the_keys_of_what_they_decide(
    project: Path, monkeypatch: pytest.MonkeyPatch, package: str, stages: set[str]
) -> None:
    before = _keys(_plan(project))
    real = plan_module.package_version
    monkeypatch.setattr(plan_module, "package_version", lambda name: "0.0" if name == package else real(name))
    results, pages = _changed(before, _keys(_plan(project)))
    assert {stage for _, stage in results} == stages
    assert {stage for _, stage in pages} == (set() if stages else NO_SEARCH)


def test_jax_is_in_the_keys_with_what_it_compiles_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(machine, "find_spec", lambda name: True)  # as where it is installed
    (train,) = (step for step in _plan(project, ("ann",)).steps if step.stage.name == "train")
    assert {"python", "jax", "jaxlib", "keras", "numpy"} == set(train.key_inputs["versions"])
    settings = train.key_inputs["settings"]
    assert settings["processor"] == processor() != "unknown"


def test_shared_features_are_found_by_the_code_that_makes_them(project: Path) -> None:
    store = Store(project / "runs")

    def shared() -> Path:
        (train,) = (s for s in _plan(project, ("mobilenetv2_transfer",)).steps if s.stage.name == "train")
        return store.shared(train.key_inputs)

    before = shared()
    _edit_cells(project / "notebooks/5_train_feature_extraction.ipynb", "code", lambda text: text + "\nextra = 1")
    assert shared() == before
    _edit(project / "bakeoff/lab/training/feature_extraction.py", ".astype(np.float32)", ".astype(np.float32) * 1")
    assert shared() != before


def _threads(project: Path, cores: int, monkeypatch: pytest.MonkeyPatch, look: bool) -> tuple[int, Keys]:
    """Threads of the trainings, and keys, as planned by a machine of so many cores."""
    monkeypatch.setattr(resolve, "usable_cores", lambda: cores)
    store = Store(project / "runs")
    resolver = Resolver(store, "full", project / "data", lambda text: None, look)
    settings = ("threads=0", "dataset=shapes10")
    plan = make_plan(load_parameters(("ann",), "full", settings), resolver, Code(resolver.digests, project), store)
    return max(step.threads for step in plan.steps), _keys(plan)


def test_a_store_keeps_the_number_of_threads_it_began_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _threads(project, 4, monkeypatch, look=False)[0] == 4
    assert _threads(project, 2, monkeypatch, look=True)[0] == 2  # only looked at before
    _, begun = _threads(project, 2, monkeypatch, look=True)
    assert _threads(project, 16, monkeypatch, look=True) == (2, begun)


def test_a_share_of_a_gpu_has_its_share_of_the_threads_that_feed_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "find_machine", lambda *_: Machine("jax", 16, {}, ("0",)))
    found = {}
    for share in ("1", "0.5", "0.06"):
        train = _plan(project, ("ann",), ("dataset=shapes10", f"gpu_share={share}")).rows[0].steps["train"]
        found[share] = train.threads
    assert found == {"1": 4, "0.5": 2, "0.06": 1}


def test_an_older_store_says_once_that_it_is_not_used(project: Path) -> None:
    said: list[str] = []
    (project / "runs" / "load" / "0").mkdir(parents=True)
    (project / "runs" / "load" / "0" / "step.json").write_text("{}")
    for look in (False, True, False, True):
        Resolver(Store(project / "runs"), "smoke", project / "data", said.append, look).machine()
    assert len(said) == 1 and "its steps are not used" in said[0]


def test_a_trainer_retrains_only_who_uses_it(project: Path) -> None:
    before = _keys(_plan(project, ("ann", "speedrun_cnn")))
    with (project / "bakeoff/lab/training/airbench.py").open("a") as stream:
        stream.write("\nEXTRA = 1\n")
    results, pages = _changed(before, _keys(_plan(project, ("ann", "speedrun_cnn"))))
    assert results == {("speedrun_cnn", stage) for stage in ("train", "evaluate")}
    assert not pages


def test_a_comment_and_a_new_builder_change_nothing(project: Path) -> None:
    before = _keys(_plan(project))
    with (project / "bakeoff/lab/models/dense.py").open("a") as stream:
        stream.write("\n# a comment\n")
    (project / "bakeoff/lab/models/another.py").write_text("def another(input_shape, num_classes):\n    return None\n")
    assert _keys(_plan(project)) == before


def test_a_package_version_changes_the_stages_it_decides(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _keys(_plan(project))
    real = plan_module.package_version
    monkeypatch.setattr(plan_module, "package_version", lambda name: "0.0" if name == "keras" else real(name))
    results, _ = _changed(before, _keys(_plan(project)))
    assert {stage for _, stage in results} == {"build", "train", "evaluate"}


def test_data_and_weights_change_what_uses_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _keys(_plan(project, ("ann", "mobilenetv2_transfer")))
    prepared = project / "data" / "cifar10" / "3.0.2"
    describe(prepared)
    with_data = _keys(_plan(project, ("ann", "mobilenetv2_transfer")))
    assert _changed(before, with_data)[0] == set(before)
    (prepared / "data.tfrecord").write_text("changed")
    assert _changed(with_data, _keys(_plan(project, ("ann", "mobilenetv2_transfer"))))[0] == set(before)
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    before = _keys(_plan(project, ("ann", "mobilenetv2_transfer")))
    (project / "keras" / "models").mkdir(parents=True)
    (project / "keras" / "models" / name).write_text("weights")
    plan = _plan(project, ("ann", "mobilenetv2_transfer"))
    results, _ = _changed(before, _keys(plan))
    assert plan.rows[1].steps["train"].parameters["max_training_tflop"] == 1.5
    assert results == {("mobilenetv2_transfer", stage) for stage in ("build", "train", "evaluate")}


def test_random_weights_have_a_small_budget(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))

    def budgets(*settings: str) -> list[float]:
        own, base = _plan(project, ("ann", "mobilenetv2_transfer"), settings).rows
        return [row.steps["train"].parameters["max_training_tflop"] for row in (own, base)]

    assert budgets() == [1.5, 0.05]
    assert budgets("max_random_tflop=0.01", "max_training_tflop=0.5") == [0.5, 0.01]
    assert budgets("max_training_tflop=0.04") == [0.04, 0.04]


def test_replicates_share_what_the_seed_does_not_touch(project: Path) -> None:
    plan = _plan(project, ("ann",), ("replicates=3",))
    stages = [step.stage.name for step in plan.steps]
    assert [row.seed for row in plan.rows] == [0, 1, 2]
    assert (stages.count("load"), stages.count("preprocess"), stages.count("train")) == (1, 1, 3)

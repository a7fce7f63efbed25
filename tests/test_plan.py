"""Keys: what makes a step run again, what only its page, and what neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff import plan as plan_module
from bakeoff.code import Code
from bakeoff.params import load_parameters
from bakeoff.plan import STAGES, Plan, make_plan
from bakeoff.resolve import Resolver
from bakeoff.store import Store

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
        ("max_test_examples=10", set(STAGES) - {"search"}),
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
    assert {stage for _, stage in pages} == set(STAGES) - {"search"}
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
    _edit_cells(project / "notebooks/5_train.ipynb", "code", lambda text: text + "\nextra = 1")
    results, _ = _changed(before, _keys(_plan(project)))
    assert {stage for _, stage in results} == {"train", "evaluate"}


def test_another_variants_builder_changes_nothing(project: Path) -> None:
    before = _keys(_plan(project))
    with (project / "bakeoff/lab/models/dense.py").open("a") as stream:
        stream.write("\nEXTRA = 1\n")
    results, pages = _changed(before, _keys(_plan(project)))
    assert results == {("ann", stage) for stage in ("build", "train", "evaluate")}
    assert not pages


def test_a_trainer_retrains_only_who_uses_it(project: Path) -> None:
    before = _keys(_plan(project, ("ann", "speedrun_cnn")))
    with (project / "bakeoff/lab/speedrun.py").open("a") as stream:
        stream.write("\nEXTRA = 1\n")
    results, pages = _changed(before, _keys(_plan(project, ("ann", "speedrun_cnn"))))
    assert results == {("speedrun_cnn", stage) for stage in ("train", "evaluate")}
    assert not pages


def test_a_comment_and_a_new_builder_change_nothing(project: Path) -> None:
    before = _keys(_plan(project))
    _edit(project / "bakeoff/lab/models/dense.py", "\n\n", "\n\n# a comment\n")
    path = project / "bakeoff/lab/models/__init__.py"
    assert path.read_text().count("BUILDERS") > 1
    _edit(path, '"dense_network":', '"another_network": "dense",\n    "dense_network":')
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
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    with_data = _keys(_plan(project, ("ann", "mobilenetv2_transfer")))
    assert _changed(before, with_data)[0] == set(before)
    (prepared / "data.tfrecord").write_text("changed")
    assert _changed(with_data, _keys(_plan(project, ("ann", "mobilenetv2_transfer"))))[0] == set(before)
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    before = _keys(_plan(project, ("ann", "mobilenetv2_transfer")))
    (project / "keras" / "models").mkdir(parents=True)
    (project / "keras" / "models" / name).write_text("weights")
    results, _ = _changed(before, _keys(_plan(project, ("ann", "mobilenetv2_transfer"))))
    assert results == {("mobilenetv2_transfer", stage) for stage in ("build", "train", "evaluate")}


def test_replicates_share_what_the_seed_does_not_touch(project: Path) -> None:
    plan = _plan(project, ("ann",), ("replicates=3",))
    stages = [step.stage.name for step in plan.steps]
    assert [row.seed for row in plan.rows] == [0, 1, 2]
    assert (stages.count("load"), stages.count("preprocess"), stages.count("train")) == (1, 1, 3)

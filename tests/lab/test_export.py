"""A trained network with its preprocessing inside, and what it says of image files."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from bakeoff.lab import evaluation, export, files, preprocessing
from tests.conftest import SMALL, Workplace

ARGUMENTS = ["--profile", "smoke", *(part for setting in SMALL for part in ("--set", setting))]


@pytest.fixture(scope="module")
def place(small_report: Path) -> Workplace:
    """Where three variants are finished."""
    return Workplace(small_report.parent.parent)


def inputs_of(builder: str, place: Workplace) -> dict[str, str]:
    """The folders of the stages of a finished variant, by its network."""
    for path in place.runs.glob("evaluate/*/step.json"):
        steps = files.read_json(path)["key_inputs"]["parents"].items()
        inputs = {stage: str(place.runs / stage / key[:32]) for stage, key in steps}
        if files.read_json(f"{inputs['build']}/network.json")["builder"] == builder:
            return inputs | {"evaluate": str(path.parent)}
    raise LookupError(builder)


def _network(channels: int, outputs: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    last = keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")
    return keras.Sequential(
        [keras.Input((32, 32, channels)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), last], name="small"
    )


@pytest.mark.parametrize("changes", [{}, {"scaling": "caffe"}, {"color": "gray", "scaling": "standardize"}])
@pytest.mark.parametrize(("outputs", "views"), [(3, "none"), (1, "mirror_shifts"), (3, "mirror_shifts")])
def test_the_preprocessing_is_inside_the_network(
    stages: Any, tmp_path: Path, changes: dict[str, Any], outputs: int, views: str
) -> None:
    test = stages(test=6, **changes).prepared.test
    network = _network(test.batch([0]).shape[-1], outputs)
    all_of_them = np.arange(len(test))
    seen = [view.batch(all_of_them) for view in evaluation.views(test, views)]
    expected = evaluation.mean_of_views([network.predict(each, verbose=0) for each in seen])
    export.with_preprocessing(network, (32, 32, 3), test.transform, views).save(tmp_path / "model.keras")
    found = export.opened("keras", tmp_path / "model.keras")(test.raw(all_of_them))
    assert found.shape == (6, max(outputs, 2))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_an_image_file_has_the_probabilities_of_the_evaluate_stage(place: Workplace, tmp_path: Path) -> None:
    """And a finished variant is exported with labels and a model card by the command."""
    done = place.run("--export", "simple_cnn", "--to", str(tmp_path / "out"), *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert "Tried on 200 test images: 200 have the label of the evaluate stage" in done.stdout
    inputs = inputs_of("simple_cnn", place)
    test, stored = preprocessing.open_prepared(inputs).test, evaluation.open_evaluation(inputs["evaluate"])
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for path, pixels in zip(paths, test.raw(slice(3)), strict=True):
        Image.fromarray(pixels).save(path)
    names = (tmp_path / "out" / "labels.txt").read_text().splitlines()
    for answer, row in zip(export.predict(inputs, paths), stored.probabilities, strict=False):
        found = {each["class"]: each["probability"] for each in answer["predictions"]}
        np.testing.assert_allclose([found[name] for name in names], row, atol=1e-6)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"**{stored.metrics['test_accuracy']:.3f}**" in card and "model-index:" in card
    assert all(f"| {each['class_name']} | {each['recall']:.3f} |" in card for each in stored.metrics["per_class"])


def test_the_command_prints_classes_and_refuses_in_a_sentence(place: Workplace, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    done = place.run("--predict", "ann", str(tmp_path / "red.png"), "--json", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert len(answer["predictions"]) == 10
    assert sum(each["probability"] for each in answer["predictions"]) == pytest.approx(1, abs=1e-5)
    (tmp_path / "text.png").write_text("no image")
    for arguments, words in (
        (["--predict", "ann", str(tmp_path / "text.png")], "text.png is no image"),
        (["--predict", "ann", str(tmp_path / "absent.png")], "there is no file"),
        (["--predict", "ann"], "names a variant and image files"),
        (["--export", "scratch_cnn"], "make it with `python pipeline.py --variants scratch_cnn --profile smoke"),
        (["--predict", "ann", "a.png", "--format", "onnx"], "--format says something to --export only"),
    ):
        refused = place.run(*arguments, *ARGUMENTS)
        assert refused.returncode == 2
        assert words in refused.stderr and len(refused.stderr.splitlines()) == 1, refused.stderr

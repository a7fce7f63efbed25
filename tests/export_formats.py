"""Exported files against the evaluate stage, format by format: `make test-export`, which has what it takes."""

import json
from pathlib import Path

import pytest

from tests.conftest import Workplace
from tests.lab.test_export import ARGUMENTS, inputs_of

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the converters
LARGEST = {"keras": 1e-5, "savedmodel": 1e-5, "onnx": 1e-4, "litert": 1e-4}  # difference of probabilities


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Where two variants are finished, one of them on gray images."""
    place = Workplace(tmp_path_factory.mktemp("export"))
    done = place.run("--variants", "simple_cnn,gray_cnn", *ARGUMENTS, "--no-pdf")
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.mark.parametrize("variant", ["simple_cnn", "gray_cnn"])
def test_each_format_has_the_labels_of_the_evaluate_stage(place: Workplace, variant: str, tmp_path: Path) -> None:
    from bakeoff.export import FORMATS
    from bakeoff.lab import export

    for format, file in FORMATS.items():
        tried = export.export(inputs_of(variant, place), format, tmp_path / format / file)
        print(f"{variant} as {format}: {json.dumps(tried)}")
        assert tried["images"] == tried["same_labels"] == 200
        assert tried["largest_difference"] <= LARGEST[format]


def test_the_command_exports_to_onnx(place: Workplace, tmp_path: Path) -> None:
    done = place.run("--export", "gray_cnn", "--format", "onnx", "--to", str(tmp_path / "out"), *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "labels.json",
        "labels.txt",
        "model.onnx",
    ]

"""Networks of one's own: begun with --new, or from a file or package outside the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from bakeoff.errors import RequestError
from bakeoff.lab import models
from bakeoff.lab.models.attempt import attempt
from bakeoff.params import load_parameters, own_network
from tests.conftest import PROJECT, Workplace

NETWORK = '''
import keras
from keras import layers


def build(input_shape, num_classes, units: int = 4):
    """One dense layer."""
    return keras.Sequential(
        [keras.Input(input_shape), layers.Flatten(), layers.Dense(units), layers.Dense(num_classes, "softmax")]
    )


def wrong(input_shape, num_classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(num_classes + 1)])


def raising(input_shape, num_classes):
    return layers.Dense(num_classes)(keras.Input(input_shape), nonsense=True)


def other(images):
    return None
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a network in a file and the same one in a package."""
    (tmp_path / "my_net.py").write_text(NETWORK)
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("")
    (tmp_path / "mypackage" / "mymodule.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("builder", "name"),
    [("./my_net.py:build", "my_net.py:build"), ("mypackage.mymodule:build", "mypackage.mymodule:build")],
)
def test_a_network_from_outside_is_known_by_its_name_and_keyed_by_its_text(
    folder: Path, builder: str, name: str
) -> None:
    (chosen,) = load_parameters(("simple_cnn",), "full", (f"builder='{builder}'", "builder_options={units: 8}"))
    assert chosen.stage["builder"] == name and chosen.network is not None
    before = chosen.network
    path = folder.joinpath(*name.partition(":")[0].removesuffix(".py").split(".")).with_suffix(".py")
    path.write_text(NETWORK.replace('"""One dense layer."""', "# a comment"))
    commented = own_network.find(builder)
    assert commented.digest() == before.digest() and commented.text_digest() != before.text_digest()
    path.write_text(NETWORK.replace("layers.Flatten()", "layers.GlobalAveragePooling2D()"))
    assert own_network.find(builder).digest() != before.digest()


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("./nowhere.py:build", "there is no file"),
        ("nowhere.module:build", "there is no module nowhere.module"),
        ("./my_net.py:biuld", "did you mean 'build'"),
        ("./my_net.py:other", r"my_net.py:\d+: other must take input_shape and num_classes first"),
    ],
)
def test_what_cannot_be_a_network_is_refused(folder: Path, builder: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_parameters(("simple_cnn",), "full", (f"builder='{builder}'",))


def test_a_file_that_is_no_python_is_refused_with_its_line(folder: Path) -> None:
    (folder / "my_net.py").write_text("import keras\ndef build(:\n")
    with pytest.raises(RequestError, match=r"my_net.py:2: this is no Python"):
        own_network.find("./my_net.py:build")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("wrong", r"my_net.py:\d+: wrong has outputs of shape \(None, 4\); for 3 classes its last layer must give"),
        ("raising", r"my_net.py:\d+: ./my_net.py:raising cannot be built for images of 8x8x3"),
    ],
)
def test_what_a_network_does_wrong_is_said_with_file_and_line(folder: Path, function: str, message: str) -> None:
    with pytest.raises(models.NetworkError, match=message):
        models.build(f"./my_net.py:{function}", (8, 8, 3), 3)
    assert models.build("./my_net.py:build", (8, 8, 3), 3).output_shape == (None, 3)
    assert models.listing("./my_net.py:build").startswith("def build(")


@pytest.mark.parametrize("builder", ["./importing.py:build", "mypackage.importing:build"])
def test_what_a_network_imports_is_said_with_file_and_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, builder: str
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    for place in (folder, folder / "mypackage"):
        (place / "importing.py").write_text("import nowhere\n" + NETWORK)
    with pytest.raises(models.NetworkError, match=r"^importing.py:1: .* cannot be imported: No module named 'nowhere'"):
        models.build(builder, (8, 8, 3), 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"builder": "simple_cnn"}, ""),
        ({"builder": "./my_net.py:build", "color": "gray", "task": "binary"}, ""),
        (
            {
                "builder": "conv_pool_network",
                "search": "grid",
                "search_space": {"filters": [[4]], "optimizer": ["sgd"]},
            },
            "",
        ),
        ({"builder": "./my_net.py:wrong", "task": "binary"}, r"\(None, 2\); for 1 class its last layer must give"),
        ({"builder": "./my_net.py:build", "trainer": "feature_extraction"}, "has no layer named base"),
    ],
)
def test_a_network_is_tried_on_images_as_it_will_see_them(
    folder: Path, changed: dict[str, object], message: str
) -> None:
    (chosen,) = load_parameters(("simple_cnn",), "full")
    parameters = {**chosen.stage, "builder_options": {}, **changed}
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        attempt((32, 32, 3), 4, parameters)


def test_a_wrong_network_is_refused_before_images_are_loaded(folder: Path, workplace: Workplace) -> None:
    images, labels = np.zeros((30, 8, 6), np.uint8), np.arange(30) % 3
    np.savez(folder / "images.npz", x_train=images, y_train=labels)
    own = ("dataset=npz:images.npz", "builder='./my_net.py:raising'", "builder_options={}")
    settings = [word for setting in own for word in ("--set", setting)]
    refused = workplace.run("--variants", "tutorial_cnn", "--profile", "smoke", *settings)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    message = r"my_net.py:\d+: my_net.py:raising cannot be built for images of 8x6x1: .*nonsense"
    assert re.search(message, refused.stderr) and len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert not (workplace.runs / "load").exists() and not workplace.reports.exists()


def test_one_command_begins_a_variant_and_the_next_one_runs_it(workplace: Workplace, tmp_path: Path) -> None:
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns(".git", ".venv", "runs", "reports", "__pycache__", "docs", "tests")
    shutil.copytree(PROJECT, project, ignore=ignored)

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "pipeline.py", *words]
        return subprocess.run(whole, cwd=project, capture_output=True, text=True, check=False)

    begun = command("--new", "my_net", "--like", "scratch_cnn")
    assert begun.returncode == 0 and "pipeline.py --variants my_net,scratch_cnn" in begun.stdout
    names = ("bakeoff/lab/models/my_net.py", "params/variants/my_net.yaml")
    style = [sys.executable, "-m", "ruff", "check", "--config", str(PROJECT / "pyproject.toml"), names[0]]
    assert subprocess.run(style, cwd=project, check=False).returncode == 0
    assert "Source:" not in (project / names[0]).read_text()
    planned = command("--dry-run", "--variants", "my_net", "--profile", "smoke", "--runs-dir", str(workplace.runs))
    assert planned.returncode == 0 and "6 steps" in planned.stdout, planned.stderr
    wanted = "['my_net', 'scratch_cnn', './my_net.py:build']"
    asked = f"from bakeoff.params import options; print(*map(options.is_users, {wanted}))"
    said = subprocess.run([sys.executable, "-c", asked], cwd=project, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False", "True"]
    text = (project / names[0]).read_text()
    (project / names[0]).write_text(text + "def\n")
    broken = command("--list")
    assert broken.returncode == 2 and f"my_net.py:{len(text.splitlines()) + 1}: this is no Python" in broken.stderr
    (project / names[0]).write_text(text)
    again = command("--new", "my_net")
    assert again.returncode == 2 and "is there already; choose another name" in again.stderr
    assert "has a trainer made for its own network" in command("--new", "fast", "--like", "speedrun_cnn").stderr

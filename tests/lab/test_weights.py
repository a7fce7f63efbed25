"""ImageNet weights: read from Keras' folder by their path, whoever may write to it, and from nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from bakeoff.lab import models
from bakeoff.lab.download import DIGEST_VARIABLE
from bakeoff.lab.models import pretrained
from bakeoff.store import digest_file

PROJECT = Path(__file__).parents[2]
FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
BUILD = """
import os, sys
from pathlib import Path
from bakeoff.lab import models
assert not os.access(os.environ["KERAS_HOME"], os.W_OK), "the folder can be written to"
model = models.build("mobilenetv2_transfer", (32, 32, 3), 3, weights="imagenet")
print(float(model.get_layer("base").get_weights()[0].sum()))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A KERAS_HOME with weights in it that no seed gives."""
    (tmp_path / "keras" / "models").mkdir(parents=True)
    network = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    network.set_weights([np.full_like(each, 0.25) for each in network.get_weights()])
    network.save(tmp_path / "keras" / "models" / FILE)  # in the old form, as Keras' own files are
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def _without_rights_over_others_files() -> list[str]:
    """What takes root's right to write everywhere from a command."""
    if os.getuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root can write everywhere, and there is no setpriv to take that away")
    return ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_weights_in_a_folder_that_cannot_be_written_are_loaded(home: Path) -> None:
    for folder in (home, home / "models"):
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [*_without_rights_over_others_files(), sys.executable, "-c", BUILD],
            env=os.environ | {"PYTHONPATH": str(PROJECT), "https_proxy": "http://127.0.0.1:9", "no_proxy": ""},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    finally:
        for folder in (home, home / "models"):
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    kernel = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35).get_weights()[0]
    assert float(done.stdout) == pytest.approx(0.25 * kernel.size)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_weights_that_were_changed_since_the_plan_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"weights": "imagenet"}
    monkeypatch.setenv(DIGEST_VARIABLE, digest_file(home / "models" / FILE))
    models.build("mobilenetv2_transfer", (32, 32, 3), 3, **arguments)
    with (home / "models" / FILE).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ValueError, match="was changed since the run was planned"):
        models.build("mobilenetv2_transfer", (32, 32, 3), 3, **arguments)


def test_the_catalogue_names_the_files_that_the_networks_load() -> None:
    loaded = Path(pretrained.__file__).read_text(encoding="utf-8")
    for path in (PROJECT / "params" / "variants").glob("*.yaml"):
        named = yaml.safe_load(path.read_text(encoding="utf-8"))["run"].get("weights_file", "")
        assert named in loaded or named.startswith(f"{pretrained._MOBILENETV2}_0.35_")

"""What the outside decides before keys are made: data, weights, backend, device, threads."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bakeoff.code import PROJECT
from bakeoff.digests import DigestCache
from bakeoff.errors import DataUnavailableError, RequestError
from bakeoff.resources import usable_cores
from bakeoff.store import Store, digest_file, digest_value

STAND_IN = "shapes10"
LOOK_SECONDS = 4.0  # a host that has not answered by then is taken for unreachable
REMEMBER_SECONDS = 3600.0
WEIGHTS_HOST = "storage.googleapis.com"
# Hosts that a data set comes from; TFDS keeps its own metadata and many sets on the second one.
DATA_HOSTS: Mapping[str, str] = {"cifar10": "www.cs.toronto.edu", "cifar100": "www.cs.toronto.edu"}
SIDED = re.compile(r"_(96|128|160|192)(?=_no_top\.h5$)")  # in the names of MobileNetV2's weights: pixels a side
BACKEND_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
_GPU_QUESTIONS = {
    "tensorflow": "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))",
    "jax": "import jax; print(sum(device.platform == 'gpu' for device in jax.devices()))",
    "torch": "import torch; print(torch.cuda.device_count())",
}
# Environment settings that change numbers, beside those that the parameters carry.
_NUMERIC_SETTINGS = (
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "TF_DETERMINISTIC_OPS",
)


@dataclass(frozen=True)
class Machine:
    """What computes: Keras' backend, cpu or gpu, cores, and the settings that change numbers."""

    backend: str
    cores: int
    settings: Mapping[str, str]
    gpus: Sequence[str] = ()  # ids, as CUDA_VISIBLE_DEVICES names them

    @property
    def device(self) -> str:
        """What the heavy steps compute on: gpu where there is one, else cpu."""
        return "gpu" if self.gpus else "cpu"

    def record(self) -> dict[str, Any]:
        """What is written down about it."""
        return {**asdict(self), "device": self.device}


@dataclass(frozen=True)
class Source:
    """A data set or weights as they will be used: a name and the digest of the bytes behind it."""

    name: str
    digest: str


@dataclass
class Resolver:
    """Answers what a run will use. With `look` False it asks no host and takes what is not here for unreachable."""

    store: Store
    profile: str
    data_dir: Path
    say: Callable[[str], None]
    look: bool = False
    ask_anew: bool = False
    digests: DigestCache = field(init=False)
    _answers: dict[tuple[str, str], Source | None] = field(default_factory=dict)  # each question is asked once a run

    def __post_init__(self) -> None:
        self.digests = self.store.digests()

    def dataset(self, wanted: str) -> Source:
        """The data set `wanted` where it is prepared or can be had; else the stand-in, or DataUnavailableError."""
        return self._once("dataset", wanted, self._dataset)  # type: ignore[return-value]

    def weights(self, file: str) -> Source | None:
        """The ImageNet weights keras.applications calls `file` ("folder/name.h5"); None when they cannot be had.

        Where those for the size of the images cannot be, those for 224 pixels stand in, as in the builder.
        """
        return self._once("weights", file, self._weights)

    def _once(self, kind: str, name: str, ask: Callable[[str], Source | None]) -> Source | None:
        if (kind, name) not in self._answers:
            self._answers[kind, name] = ask(name)
        return self._answers[kind, name]

    def _dataset(self, wanted: str) -> Source:
        if wanted == STAND_IN:
            return Source(STAND_IN, STAND_IN)
        prepared = find_prepared(wanted, self.data_dir)
        if prepared is None and self.look and self._reachable(DATA_HOSTS.get(wanted, WEIGHTS_HOST)):
            self.say(f"Downloading the data set {wanted} into {self.data_dir}.")
            _download(["dataset", wanted, "--data-dir", str(self.data_dir)])
            prepared = find_prepared(wanted, self.data_dir)
        if prepared is not None:
            return Source(f"{wanted} {prepared.name}", self._folder_digest(prepared))
        if self.profile == "full":
            if not self.look:
                return Source(wanted, "not here yet")
            raise DataUnavailableError(
                f"The data set {wanted} is not in {self.data_dir}, and its host does not answer. Three ways out: "
                "connect to the internet and add --download; put the prepared data somewhere and name it with "
                f"--data-dir; or run on the built-in stand-in with --set dataset={STAND_IN}."
            )
        if self.look:
            self.say(f"The data set {wanted} cannot be had here (no prepared copy, no answer from its host).")
        return Source(STAND_IN, STAND_IN)

    def _weights(self, file: str) -> Source | None:
        path = keras_home() / "models" / Path(file).name
        if not path.is_file() and self.look and self._reachable(WEIGHTS_HOST):
            self.say(f"Downloading the weights {path.name} into {path.parent}.")
            _download(["weights", file])
        for found in (path, path.with_name(SIDED.sub("_224", path.name))):
            if found.is_file():
                return Source(found.name, self.digests.recall(found, "sha256", digest_file))
        return None

    def machine(self) -> Machine:
        """Backend, device and cores. A GPU counts only if the backend can compute on it."""
        backend = find_backend()
        settings = {name: os.environ[name] for name in _NUMERIC_SETTINGS if name in os.environ}
        return Machine(backend, usable_cores(), settings, self.gpus(backend))

    def gpus(self, backend: str) -> tuple[str, ...]:
        """The ids of the GPUs that `backend` can compute on; asked of the backend once a driver and version."""
        driver = Path("/proc/driver/nvidia/version")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible in ("", "-1") or not driver.is_file():
            return ()
        question = _GPU_QUESTIONS[backend]
        purpose = f"gpus-{package_version(BACKEND_PACKAGES[backend])}-{digest_value(driver.read_text())[:8]}"
        count = self.digests.recall(Path(sys.executable), f"{purpose}-{visible or 'all'}", lambda _: _ask(question))
        return tuple(visible.split(",") if visible else map(str, range(count)))[:count]

    def _reachable(self, host: str) -> bool:
        """Whether `host` answers; a failed look is remembered for an hour, as the date of a file of its name."""
        failed = self.store.root / "hosts" / host
        with suppress(OSError):
            if not self.ask_anew and 0 <= time.time() - failed.stat().st_mtime < REMEMBER_SECONDS:
                return False
        answered = _connects(host)
        if answered:
            failed.unlink(missing_ok=True)
        else:
            failed.parent.mkdir(parents=True, exist_ok=True)
            failed.touch()
        return answered

    def _folder_digest(self, folder: Path) -> str:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return digest_value([(path.name, self.digests.recall(path, "sha256", digest_file)) for path in files])


def default_data_dir() -> Path:
    """TFDS_DATA_DIR, or TFDS' own default folder."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().resolve()


def keras_home() -> Path:
    """Where Keras keeps its configuration and downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser().resolve()


def import_environment(backend: str, data_dir: Path) -> dict[str, str]:
    """What libraries read when they are imported; with full paths, since a kernel runs in its step's folder."""
    return {
        "KERAS_BACKEND": backend,
        "KERAS_HOME": str(keras_home()),
        "TFDS_DATA_DIR": str(data_dir),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(PROJECT),
    }


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """The folder of the newest version of `name` ("set" or "set/config") that TFDS has prepared below data_dir."""
    if not re.fullmatch(r"\w+(/\w[\w.-]*)?", name):
        raise RequestError(f"dataset: {name!r} is no name of a TFDS data set; write for example cifar10 or mnist")
    versions = [path.parent for path in (data_dir / name).glob("*/dataset_info.json")]
    numbered = [path for path in versions if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    return max(numbered, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


@cache
def package_version(package: str) -> str:
    """The installed version, or "missing"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def find_backend() -> str:
    """Keras' backend: KERAS_BACKEND, else what Keras' own settings say, else TensorFlow."""
    backend = os.environ.get("KERAS_BACKEND")
    if not backend:
        try:
            backend = json.loads((keras_home() / "keras.json").read_text(encoding="utf-8")).get("backend")
        except (OSError, ValueError):
            backend = None
    backend = backend or "tensorflow"
    if backend not in BACKEND_PACKAGES:
        raise RequestError(f"KERAS_BACKEND is {backend!r}; set it to one of {', '.join(BACKEND_PACKAGES)}")
    return backend


def _connects(host: str) -> bool:
    """Whether a connection to `host` opens in time. Looked up in a thread, since a name look-up has no time limit."""
    opened = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((host, 443), timeout=LOOK_SECONDS):
                opened.set()
        except OSError:
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(LOOK_SECONDS + 1)
    return opened.is_set()


def _download(arguments: list[str]) -> None:
    """Run the downloader in a process of its own; its progress and its one-line error go to the terminal."""
    subprocess.run([sys.executable, "-m", "bakeoff.lab.download", *arguments], check=False)


def _ask(question: str) -> int:
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, timeout=180, check=False)
    return int(answer.stdout.split()[-1]) if answer.returncode == 0 and answer.stdout.split() else 0


def resolved_settings(machine: Machine, device: str, threads: int, stage_values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that change a computing stage's numbers, for its key."""
    return {
        "backend": machine.backend,
        "device": device,
        "threads": threads,
        **machine.settings,
        **{name: stage_values[name] for name in ("precision", "jit_compile") if name in stage_values},
    }

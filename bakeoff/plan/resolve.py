"""What the outside decides before keys are made: data and weights, and on which machine (see `machine`)."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bakeoff.errors import DataUnavailableError
from bakeoff.plan import own_images
from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.machine import Machine, find_machine, keras_home, say_once
from bakeoff.plan.prepared import find_prepared, other_name, read_metadata, what_is_there
from bakeoff.plan.resources import usable_cores
from bakeoff.store import MANIFEST, Store, digest_file, digest_value, write_atomically
from bakeoff.store.digests import DigestCache

SYNTHETIC = "shapes10"
DEFAULT = "cifar10"  # the data set that the synthetic one may replace, unless somebody asked for it
TFDS_PACKAGES = ("tensorflow", "tensorflow-datasets")
NOT_HERE = "not here yet"  # in place of the digest of data that a run would look for
LOOK_SECONDS = 4.0  # a host that has not answered by then is taken for unreachable
REMEMBER_SECONDS = 3600.0
WEIGHTS_HOST = "storage.googleapis.com"
# Hosts that a data set comes from; TFDS keeps its own metadata and many sets on the second one.
DATA_HOSTS: Mapping[str, str] = {"cifar10": "www.cs.toronto.edu", "cifar100": "www.cs.toronto.edu"}
HUB_HOST = "huggingface.co"
SIDED = re.compile(r"_(96|128|160|192)(?=_no_top\.h5$)")  # in the names of MobileNetV2's weights: pixels a side
RESOURCES = "resources.json"
OLDER_STORE = (
    "was begun by an older version of Bakeoff, whose keys left out some of what decides numbers (settings of Keras, "
    "the processor's kind, versions): its steps are not used, and what is wanted runs anew; --clean names them."
)


@dataclass(frozen=True)
class Source:
    """A data set or weights as they will be used: a name, the digest of the bytes behind it, and the set's classes.

    The other fields are of data sets. short: the name without a version, as tables have it; empty: the same.
    parameter: what the load notebook gets as `dataset`; empty: the short name. location: where own images lie.
    packages: those whose versions decide what is read. image_shape: (height, width, channels) of all loaded images, and
    num_classes, where they are known before the images are loaded; train_images: of one's own images.
    """

    name: str
    digest: str
    class_names: tuple[str, ...] = ()  # where the metadata of a prepared set tell
    short: str = ""
    parameter: str = ""
    location: str = ""
    packages: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    num_classes: int = 0
    train_images: int = 0

    @property
    def in_tables(self) -> str:
        """The name without a version."""
        return self.short or self.name

    @property
    def in_notebooks(self) -> str:
        """What the load notebook gets as `dataset`."""
        return self.parameter or self.in_tables


SYNTHETIC_SOURCE = Source(SYNTHETIC, SYNTHETIC, image_shape=(32, 32, 3), num_classes=10)


@dataclass
class Resolver:
    """Answers what a run will use. With `look` False it asks no host and takes what is not here for unreachable.

    asked: the user named data or where they are, so that the synthetic data set must not replace them.
    """

    store: Store
    profile: str
    data_dir: Path
    say: Callable[[str], None]
    look: bool = False
    ask_anew: bool = False
    asked: bool = False
    device: Callable[[Machine], Machine] = lambda machine: machine  # what was asked for, where that is another one
    digests: DigestCache = field(init=False)
    _answers: dict[tuple[str, str], Source | None] = field(default_factory=dict)  # each question is asked once a run

    def __post_init__(self) -> None:
        self.digests = self.store.digests()

    def dataset(self, wanted: str, skip_broken: bool = False) -> Source:
        """The data set `wanted` where it is prepared or can be had; else the synthetic one, or DataUnavailableError.

        skip_broken: of images of one's own, files that are no images are left out, not refused.
        """
        ask = partial(self._own, skip_broken) if ":" in wanted else self._dataset
        return self._once(f"dataset{'-skip' if skip_broken else ''}", wanted, ask)  # type: ignore[return-value]

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
        if wanted == SYNTHETIC:
            return SYNTHETIC_SOURCE
        prepared = find_prepared(wanted, self.data_dir)
        hint = other_name(wanted, self.data_dir) if prepared is None else None
        if hint:
            raise DataUnavailableError(f"The data set {wanted} is not in {self.data_dir}; {hint}.")
        if prepared is None and self.look and self._reachable(_host(wanted)):
            self.say(f"Downloading the data set {wanted} into {self.data_dir}.")
            _download(["dataset", wanted, "--data-dir", str(self.data_dir)])
            prepared = find_prepared(wanted, self.data_dir)
        if prepared is not None:
            metadata = read_metadata(prepared, wanted)
            digest = self._folder_digest(prepared)
            return Source(
                f"{wanted} {prepared.name}",
                digest,
                metadata.class_names,
                wanted,
                packages=TFDS_PACKAGES,
                image_shape=metadata.image_shape,
                num_classes=len(metadata.class_names),
            )
        if self.profile == "full" or self.asked or wanted != DEFAULT:
            if not self.look:
                return Source(wanted, NOT_HERE, packages=TFDS_PACKAGES)
            raise self._unavailable(wanted)
        if self.look:
            self.say(f"The data set {wanted} cannot be had here (no prepared copy, no answer from its host).")
        return SYNTHETIC_SOURCE

    def _own(self, skip_broken: bool, wanted: str) -> Source:
        if wanted.startswith("hf:") and not own_images.hub_table(wanted, self.data_dir).is_file():
            if not self.look:
                return Source(wanted, NOT_HERE, packages=("pillow",))
            if self._reachable(_host(wanted)):
                self.say(f"Downloading the data set {wanted} into {self.data_dir}.")
                _download(["hf", wanted.removeprefix("hf:"), "--data-dir", str(self.data_dir)])
            if not own_images.hub_table(wanted, self.data_dir).is_file():
                raise self._unavailable(wanted)
        own = own_images.find(wanted, self.digests, self.data_dir, skip_broken)
        name = f"{own.name} {own.version}".strip() + (f" ({own.parameter})" if own.name != own.parameter else "")
        return Source(
            name,
            own.digest,
            own.class_names,
            own.name,
            own.parameter,
            str(own.path),
            own.packages,
            own.image_shape,
            len(own.class_names),
            own.train_images,
        )

    def refuse_unreachable(self, wanted: str) -> None:
        """Raise DataUnavailableError where a run would, as far as the last look at the data set's host tells."""
        if not self.ask_anew and self._failed_lately(_host(wanted)):
            raise self._unavailable(wanted)

    def _unavailable(self, wanted: str) -> DataUnavailableError:
        return DataUnavailableError(
            f"The data set {wanted} is not in {self.data_dir} ({what_is_there(wanted, self.data_dir)}), and it "
            "could not be downloaded. Three ways out: "
            "connect to the internet and add --download; put the prepared data somewhere and name it with "
            f"--data-dir; or run on the synthetic fallback data set with --set dataset={SYNTHETIC}."
        )

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
        """What computes here; `threads: 0` stands for the cores of the machine that began the store.

        So a store that machines of several sizes share holds one result, and not one a size.
        """
        found = self.device(find_machine(self.digests, usable_cores(), self.say))
        path = self.store.root / RESOURCES
        threads = found.cores
        with suppress(OSError, ValueError, KeyError, TypeError):
            threads = max(1, int(json.loads(path.read_text(encoding="utf-8"))["threads"]))
        if not path.exists() and next(self.store.root.glob(f"load/*/{MANIFEST}"), None):
            say_once(self.say, f"{self.store.root} {OLDER_STORE}")
        if self.look and not path.exists():
            write_atomically(path, json.dumps({"threads": threads}) + "\n")
        return replace(found, threads=threads)

    def _reachable(self, host: str) -> bool:
        """Whether `host` answers; a failed look is remembered for an hour, as the date of a file of its name."""
        if not self.ask_anew and self._failed_lately(host):
            return False
        failed = self._failed(host)
        answered = _connects(host)
        if answered:
            failed.unlink(missing_ok=True)
        else:
            failed.parent.mkdir(parents=True, exist_ok=True)
            failed.touch()
        return answered

    def _failed(self, host: str) -> Path:
        return self.store.root / "hosts" / host

    def _failed_lately(self, host: str) -> bool:
        with suppress(OSError):
            return 0 <= time.time() - self._failed(host).stat().st_mtime < REMEMBER_SECONDS
        return False

    def _folder_digest(self, folder: Path) -> str:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return digest_value([(path.name, self.digests.recall(path, "sha256", digest_file)) for path in files])


def default_data_dir() -> Path:
    """TFDS_DATA_DIR, or TFDS' own default folder."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().resolve()


def import_environment(backend: str, data_dir: Path) -> dict[str, str]:
    """What libraries read when they are imported; with full paths, since a kernel runs in its step's folder."""
    return {
        "KERAS_BACKEND": backend,
        "KERAS_HOME": str(keras_home()),
        "TFDS_DATA_DIR": str(data_dir),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",  # for what libraries open without saying an encoding
        "PYTHONPATH": python_path(PROJECT),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # it compiles hundreds of small programs a network
    }


def python_path(project: Path) -> str:
    """PYTHONPATH with the project before the user's own folders, in which packages may lie."""
    own = [str(Path(each).resolve()) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    return os.pathsep.join(dict.fromkeys([str(project), *own]))


def _host(wanted: str) -> str:
    """The host that a data set comes from."""
    return HUB_HOST if wanted.startswith("hf:") else DATA_HOSTS.get(wanted, WEIGHTS_HOST)


def _connects(host: str) -> bool:
    """Whether a connection to `host`, or to the proxy before it, opens in time.

    Looked up in a thread, since a name look-up has no time limit.
    """
    opened = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection(_door(host), timeout=LOOK_SECONDS):
                opened.set()
        except (OSError, ValueError):  # ValueError: a proxy with a port that is none
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(LOOK_SECONDS + 1)
    return opened.is_set()


def _door(host: str) -> tuple[str, int]:
    """Address and port that an https request to `host` connects to: the proxy's where the environment names one."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get("https", "")
    if not proxy or proxy_bypass(host):
        return host, 443
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _download(arguments: list[str]) -> None:
    """Run the downloader in a process of its own; its progress and its one-line error go to the terminal."""
    subprocess.run([sys.executable, "-m", "bakeoff.lab.download", *arguments], check=False)

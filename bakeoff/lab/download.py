"""Fetch a data set or ImageNet weights: says how much before it starts, shows progress, checks what came.

python -m bakeoff.lab.download dataset cifar10 --data-dir DIR
python -m bakeoff.lab.download hf OWNER/NAME --data-dir DIR
python -m bakeoff.lab.download weights vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bakeoff.lab import files, hub

WEIGHTS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
CLASS_INDEX_URL = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
# MD5 sums as keras.applications checks them; it has none for MobileNetV2, whose length is checked all the same.
MD5 = {
    "vgg16_weights_tf_dim_ordering_tf_kernels.h5": "64373286793e3c8b2b4e3219cbf3544b",
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5": "6d6bbae143d832006294945121d1f1fc",
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5": "4d473c1dd8becc155b73f8504c6f6626",
    "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5": "bcbd6486424b2319ff4ef7d526e38f63",
    "efficientnetv2-b0_notop.h5": "893217f2bb855e2983157299931e43ff",
    "imagenet_class_index.json": "c2c37ea517e94d9795004a39431a14cb",
}

DIGEST_VARIABLE = "BAKEOFF_WEIGHTS_SHA256"  # what a run says that the weights must be
_ANSWER_SECONDS = 15  # a host that is silent for so long is taken for unreachable
_PIECE = 2**20


def dataset_bytes(name: str, data_dir: str | Path) -> int:
    """Bytes that preparing `name` downloads, by TFDS's own list of files (every configuration's); 0 = not known."""
    return sum(int(info.size) for info in _builder(name, data_dir).url_infos.values())


def fetch_dataset(name: str, data_dir: str | Path) -> Path:
    """Download and prepare a TFDS data set below `data_dir`; TFDS checks its checksums. Returns its folder."""
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    if not builder.is_prepared():
        for url in list(builder.url_infos)[:1]:
            _answer(url).close()  # TFDS itself tries for minutes where no host answers
        print(f"Downloading {_megabytes(dataset_bytes(name, data_dir))} for {name} into {data_dir}.", flush=True)
        # A file without a recorded digest is not unpacked either.
        checked = tfds.download.DownloadConfig(try_download_gcs=False, force_checksums_validation=True)
        builder.download_and_prepare(download_config=checked)
    return Path(builder.data_path)


def weights_bytes(file: str, base_url: str = WEIGHTS_URL) -> int:
    """Bytes of a file of weights ("folder/name.h5"), asked of its host; 0 = the host does not say."""
    return sum(_length(url) for url in _weights_urls(file, base_url))


def fetch_weights(file: str, base_url: str = WEIGHTS_URL) -> Path:
    """Download weights to where keras.applications looks for them; with a top, the names of its classes as well."""
    urls = [url for url in _weights_urls(file, base_url) if not stored_weights(url).is_file()]
    if urls:
        size = _megabytes(sum(_length(url) for url in urls))
        print(f"Downloading {size} for {Path(file).name} into {stored_weights(file).parent}.", flush=True)
    for url in urls:
        _fetch(url, stored_weights(url))
    return stored_weights(file)


def find_weights(file: str) -> Path:
    """The path of weights ("folder/name.h5") in Keras' folder; they are downloaded there first if they are missing.

    Raises ValueError when they cannot be downloaded, and when they are not the file that the run was planned with.
    """
    path = stored_weights(file)
    if not path.is_file():
        fetch_weights(file)
    planned = os.environ.get(DIGEST_VARIABLE)
    if planned:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != planned:
                raise ValueError(f"{path} was changed since the run was planned; run the same command again")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 1 with one line on standard error."""
    asked = _parse(arguments)
    data_dir = Path(asked.data_dir).expanduser()
    try:
        if asked.size_only:
            size = dataset_bytes(asked.name, data_dir) if asked.kind == "dataset" else weights_bytes(asked.name)
            print(json.dumps({"bytes": size}))
        else:
            path = _fetched(asked, data_dir)
            print(f"Ready: {path}")
    except KeyboardInterrupt:
        return _fail(asked, "interrupted")
    except Exception as error:  # whatever a library raises, the user gets one line
        return _fail(asked, (str(error) or type(error).__name__).strip().splitlines()[0])
    return 0


def _fetched(asked: argparse.Namespace, data_dir: Path) -> Path:
    if asked.kind == "hf":
        return hub.fetch_hub(asked.name, data_dir)
    return fetch_dataset(asked.name, data_dir) if asked.kind == "dataset" else fetch_weights(asked.name)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bakeoff.lab.download", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=("dataset", "hf", "weights"))
    parser.add_argument(
        "name",
        help="a TFDS data set, OWNER/NAME on the hub, or folder/file of weights as keras.applications names them",
    )
    parser.add_argument("--data-dir", default=os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    parser.add_argument("--size-only", action="store_true", help='print {"bytes": n} and download nothing')
    return parser.parse_args(arguments)


def _fail(asked: argparse.Namespace, reason: str) -> int:
    kind = {"hf": "data set"}.get(asked.kind, asked.kind)
    print(f"The {kind} {asked.name} could not be downloaded: {reason}", file=sys.stderr)
    return 1


def _builder(name: str, data_dir: str | Path) -> Any:
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # that nothing is prepared yet is no warning here
    try:
        return tfds.builder(name, data_dir=str(data_dir))
    except tfds.core.DatasetNotFoundError:
        raise ValueError(f"TFDS knows no data set {name!r}; see https://www.tensorflow.org/datasets/catalog") from None


def _weights_urls(file: str, base_url: str) -> list[str]:
    """The file's address, and that of the classes' names for a network that keeps its top."""
    with_top = file.endswith("tf_kernels.h5") and not file.startswith("mobilenet")
    return [base_url + file] + ([CLASS_INDEX_URL] if with_top else [])


def stored_weights(url: str) -> Path:
    """Where Keras keeps what it has downloaded from `url`, of which the last part, the file's name, is enough."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return home / "models" / url.rsplit("/", 1)[-1]


def _fetch(url: str, path: Path) -> None:
    """Stream `url` into `path`; it appears there only when its length and, where known, its MD5 sum are right."""
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with files.replacing(path) as temporary, _answer(url) as answer, temporary.open("wb") as file:
        expected = int(answer.headers.get("Content-Length") or 0)
        for piece in iter(lambda: _piece(answer, path.name), b""):
            file.write(piece)
            digest.update(piece)
            _progress(path.name, done, done + len(piece), expected)
            done += len(piece)
        if expected and done != expected:
            raise ValueError(f"{path.name} broke off after {done} of {expected} bytes; try again")
        if digest.hexdigest() != MD5.get(path.name, digest.hexdigest()):
            raise ValueError(f"{path.name} is not the file that Keras expects (its MD5 sum differs); try again")


def _piece(answer: Any, name: str) -> bytes:
    try:
        return bytes(answer.read(_PIECE))
    except (TimeoutError, ConnectionError) as error:
        raise ValueError(f"{name} stopped coming halfway ({error}); try again") from None


def _progress(name: str, before: int, now: int, expected: int) -> None:
    """A line at every tenth of the way, which a log can hold as well as a terminal."""
    if expected and now * 10 // expected > before * 10 // expected:
        print(f"{name}: {now * 10 // expected * 10} % of {_megabytes(expected)}", flush=True)


def _answer(url: str, method: str = "GET") -> Any:
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "bakeoff"})
    try:
        return urllib.request.urlopen(request, timeout=_ANSWER_SECONDS)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url} answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"{url} does not answer ({reason}); check the connection") from None


def _length(url: str) -> int:
    with _answer(url, "HEAD") as answer:
        return int(answer.headers.get("Content-Length") or 0)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "an unknown number of bytes"


if __name__ == "__main__":
    sys.exit(main())

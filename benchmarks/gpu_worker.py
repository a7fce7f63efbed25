"""Measures rows of the case `gpu`, one after the other, in a process of its own: a device may fail in any of them.

Run by `benchmarks.gpu`: what to measure comes as JSON on standard input; one JSON line on standard output says that a
row begins, another what was found.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from bakeoff.lab import device, evaluation, models, preprocessing, shapes, transform
from bakeoff.lab.input_pipeline import Batches, encode_labels
from bakeoff.lab.training import airbench
from bakeoff.params import load_parameters
from benchmarks.gpu_device import DeviceBatches, DeviceImages, EpochInOneCall, jax, step_gflop, step_gigabytes, wait

_DRAWN = 2000  # different synthetic images; the others repeat them
_CHUNK_STEPS, _CHUNK_IMAGES, _FEW_STEPS = 200, 12_800, 10
_CHUNKS, _SLOW = 3, 3  # chunks at least, unless they take so many times the seconds of a row
_OUTPUT = sys.stdout


def main() -> None:
    """Measure the rows that standard input asks for."""
    task = json.load(sys.stdin)
    sys.stdout = sys.stderr  # for what libraries say
    bench = Bench(task)
    for row in task["rows"]:
        tell(begins=row)
        try:
            found = bench.measure(row)
        except Exception as error:  # of one row: the others are measured all the same
            traceback.print_exc()
            found = {"failure": in_one_line(error)}
        tell(row=row, found=found)


def tell(**message: Any) -> None:
    """One JSON line for the process that started this one."""
    print(json.dumps(message), file=_OUTPUT, flush=True)


def in_one_line(error: BaseException) -> str:
    """An error as a sentence in a table."""
    text = " ".join(f"{type(error).__name__}: {error}".replace("|", "/").split())
    return text if len(text) <= 200 else text[:200] + "..."


class Clock(keras.callbacks.Callback):
    """Times the epochs of a `fit`, and ends it when there are enough. Logs are numbers: the device has finished."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.taken = seconds, list[float]()
        self._begun = 0.0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin."""
        self._begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note how long it took."""
        for value in (logs or {}).values():
            float(value)
        now = time.perf_counter()
        self.taken.append(now - self._begun)
        self._begun = now
        if is_enough(self.taken, self.seconds):
            self.model.stop_training = True


def is_enough(taken: Sequence[float], seconds: float) -> bool:
    """Whether so many times were measured; the first, in which functions are compiled, does not count."""
    steady = taken[1:]
    return bool(steady) and sum(steady) >= (seconds if len(steady) >= _CHUNKS else _SLOW * max(seconds, 1.0))


def repeat(work: Callable[[], Any], seconds: float) -> list[float]:
    """Time `work` again and again."""
    taken: list[float] = []
    while not is_enough(taken, seconds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return taken


class Bench:
    """Networks and data of the rows, made once."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self.seconds, self.image_count, self.data = task["seconds"], task["images"], task["data"]
        self.on_gpu = False
        self._subject: Subject | None = None

    def measure(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a row of `gpu.Row` asks for."""
        if row["way"] == "machine":
            return self._machine()
        if row["way"] == "training":
            return self._training(row)
        subject = self._subject_of(row)
        found: dict[str, Any] = getattr(subject, row["way"])(row, self.seconds)
        return found

    def _subject_of(self, row: Mapping[str, Any]) -> Subject:
        """The network of a row, compiled as it asks; the last one where it is the same."""
        key = [row[name] for name in ("variant", "precision", "tf32", "xla", "steps_per_execution")]
        if self._subject is None or self._subject.key != key:
            self._subject = None  # its memory, first
            keras.backend.clear_session()
            self._subject = Subject(key, row, *synthetic(self.image_count))
        return self._subject

    def _machine(self) -> dict[str, Any]:
        wait(ops.add(ops.zeros((8,)), 1.0))  # the backend comes up
        found = json.loads(device.used()) or {}
        self.on_gpu = found.get("device") == "gpu"
        return {"device": found, "limits": limits(self.on_gpu, self.seconds)}

    def _training(self, row: Mapping[str, Any]) -> dict[str, Any]:
        images, labels = read_arrays(Path(self.data), "train")
        test_images, test_labels = read_arrays(Path(self.data), "test")
        keras.backend.clear_session()
        self._subject = None
        held_out = len(images) // 10  # the variant's own share
        subject = Subject([], row, images, labels, range(len(images) - held_out))
        view = subject.view
        test = preprocessing.View(test_images, test_labels, test_labels, np.arange(len(test_labels)), view.transform)
        validation = preprocessing.View(
            images, labels, labels, np.arange(len(images) - held_out, len(images)), view.transform
        )
        return subject.training(row, validation, test)


def limits(on_gpu: bool, seconds: float) -> dict[str, float]:
    """What the device can do at most, measured; what cannot be measured is left out.

    Copies, transfers from the host, calls of small operations, and products of matrices.
    """
    megabytes, side = (1024, 8192) if on_gpu else (16, 512)
    work: dict[str, Callable[[], float]] = {
        "copy, GB/s read and written": lambda: _copy(megabytes, seconds),
        "from host to device, GB/s": lambda: _transfer(megabytes // 8, seconds),
        "product, TFLOP/s, float32 as it stands": lambda: _product(side, "float32", seconds),
        "product, TFLOP/s, float32 without TF32": lambda: _product(side, "float32", seconds, tf32=False),
        "product, TFLOP/s, bfloat16": lambda: _product(side, "bfloat16", seconds),  # float16 has the same units
        "call of one small operation, microseconds": lambda: 1e6 * _small(seconds),
    }
    found = {}
    for name, measured in work.items():
        try:
            found[name] = measured()
        except Exception:
            traceback.print_exc()
    return found


def _copy(megabytes: int, seconds: float) -> float:
    large = ops.ones((megabytes * 2**18,), "float32")
    return 2 * megabytes * 2**20 / 1e9 / _each(lambda: ops.add(large, 1.0), seconds / 3)


def _transfer(megabytes: int, seconds: float) -> float:
    host = np.ones((megabytes * 2**20,), np.uint8)
    taken = repeat(lambda: wait(ops.convert_to_tensor(host)), seconds / 3)
    return host.nbytes / 1e9 / statistics.median(taken[1:])


def _product(side: int, precision: str, seconds: float, tf32: bool = True) -> float:
    allow_tf32(tf32)
    matrix = ops.cast(np.random.default_rng(0).standard_normal((side, side), np.float32), precision)
    taken = _each(lambda: ops.matmul(matrix, matrix), seconds / 3)
    allow_tf32(True)
    return 2 * side**3 / 1e12 / taken


def _small(seconds: float) -> float:
    small = ops.ones((8,), "float32")
    return _each(lambda: ops.add(small, 1.0), seconds / 3, 200)


def _each(work: Callable[[], Any], seconds: float, calls: int = 5) -> float:
    """Seconds of one call of many that are handed over in a row: the median."""

    def many() -> None:
        for _ in range(calls):
            last = work()
        wait(last)

    return statistics.median(repeat(many, seconds)[1:]) / calls


def allow_tf32(allowed: bool) -> None:
    """Let products and convolutions of float32 be rounded to TF32 as the backend has it by itself, or not at all."""
    backend = keras.backend.backend()
    if backend == "jax":
        jax().config.update("jax_default_matmul_precision", None if allowed else "highest")
    elif backend == "torch":
        torch: Any = sys.modules["torch"]
        torch.backends.cudnn.allow_tf32 = allowed  # products of matrices have none by themselves
    else:
        tensorflow: Any = sys.modules["tensorflow"]
        tensorflow.config.experimental.enable_tensor_float_32_execution(allowed)


# ---------------------------------------------------------------- data


def synthetic(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic images (count, 32, 32, 3) uint8 and labels; only the first are different."""
    images, labels = shapes.generate("train", min(count, _DRAWN), 0)
    places = np.arange(count) % len(labels)
    return images[places], labels[places]


def read_arrays(place: Path, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, h, w, c) uint8 and labels of "train" or "test".

    `place` is an .npz file with train_images, train_labels, test_images and test_labels (or x_train, y_train, ...), or
    a folder of such files, of which each may hold a part, or of such .npy files, as the stage load leaves them.

    Raises ValueError when there are none.
    """
    images, labels = [], []
    for path in sorted(place.glob("*.np[yz]")) if place.is_dir() else [place]:
        stored = np.load(path, allow_pickle=False)
        arrays = {path.stem: stored} if isinstance(stored, np.ndarray) else {name: stored[name] for name in stored}
        images += [arrays[name] for name in (f"{role}_images", f"x_{role}") if name in arrays]
        labels += [arrays[name].reshape(-1) for name in (f"{role}_labels", f"y_{role}") if name in arrays]
    if not images or sum(map(len, images)) != sum(map(len, labels)):
        raise ValueError(f"{place} holds no arrays {role}_images and {role}_labels of one length")
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


# ---------------------------------------------------------------- one network


class Subject:
    """A variant's network, compiled, and its data: what the training notebooks have before `fit`."""

    def __init__(
        self,
        key: Sequence[Any],
        row: Mapping[str, Any],
        images: np.ndarray,
        labels: np.ndarray,
        used: Sequence[int] | None = None,
    ) -> None:
        self.key, self.trained = list(key), False
        self.values = values = dict(load_parameters((row["variant"],), "full")[0].stage)
        keras.config.set_dtype_policy(row["precision"])
        allow_tf32(row["tf32"])
        binary = values["task"] == "binary"
        labels = (labels == 0).astype(np.int64) if binary else labels
        positions = np.asarray(used if used is not None else np.arange(len(labels)))
        self.view = preprocessing.View(images, labels, labels, positions, _transform(values, images, positions))
        self.outputs = 1 if binary else int(labels.max()) + 1
        self.one_hot = values["loss"] != "sparse_categorical_crossentropy"
        self.batches = Batches(
            self.view,
            values["batch_size"],
            num_outputs=self.outputs,
            one_hot=self.one_hot,
            seed=values["seed"],
            shuffle=True,
            augmentation=values["augmentation"],
            drop_last=values["trainer"] == "airbench",
        )
        shape = self.view.batch([0]).shape[1:]
        self.model = models.build(values["builder"], shape, self.outputs, options=values["builder_options"], seed=0)
        self.loss = _loss(values)
        self.callbacks: list[keras.callbacks.Callback] = []
        self.model.compile(
            optimizer=self._optimizer(),
            loss=self.loss,
            metrics=["accuracy"],
            jit_compile=row["xla"],
            steps_per_execution=row["steps_per_execution"],
        )

    @property
    def steps(self) -> int:
        """Of the training."""
        share = self.values["trainer_options"].get("last_epoch_share", 1.0)
        return max(1, math.ceil(len(self.batches) * (self.values["epochs"] - 1 + share)))

    def _optimizer(self) -> Any:
        values, options = self.values, self.values["optimizer_options"]
        if values["trainer"] != "airbench":
            config = {"learning_rate": values["learning_rate"], **options}
            return keras.optimizers.get({"class_name": values["optimizer"], "config": config})
        airbench.whiten(self.model, self.view, values["seed"])
        extra = values["trainer_options"]
        return airbench.airbench_optimizer(
            self.model,
            learning_rate=values["learning_rate"],
            momentum=options["momentum"],
            weight_decay=options["weight_decay"],
            steps=self.steps,
            batch_size=self.batches.batch_size,
            bias_scaler=extra.get("bias_scaler", 64.0),
            whitening_bias_steps=extra.get("whitening_bias_epochs", 3) * len(self.batches),
        )

    def _lookahead_steps(self) -> int:
        """0 where the trainer has no Lookahead."""
        return self.values["trainer_options"].get("lookahead_steps", 5) if self.values["trainer"] == "airbench" else 0

    # -------- ways: each measures steps in chunks

    def host_batches(self, row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Batches from the host, and no training."""
        steps, number = self._chunk(row), iter(range(10**9))

        def chunk() -> None:
            for _ in range(steps):
                self.batches[next(number)]

        return self._found(repeat(chunk, seconds), steps, compiles=False)

    def ours(self, row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """`fit` on Bakeoff's batches, as the training notebooks have it."""
        every = self._lookahead_steps()
        return self._fit(row, seconds, self.batches.dataset(), [airbench.Lookahead(10**9, every)] if every else [])

    def device_batches(self, row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """`fit` on batches that are gathered on the device."""
        every = self._lookahead_steps()
        images = DeviceImages(self.batches, self.outputs, self.one_hot)
        return self._fit(row, seconds, DeviceBatches(images), [airbench.Lookahead(10**9, every)] if every else [])

    def bare(self, row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """`fit` on arrays in memory, as a script without Bakeoff has it: nothing is augmented."""
        steps, clock = self._chunk(row), Clock(seconds)
        count = min(len(self.view), steps * self.batches.batch_size)
        steps = -(-count // self.batches.batch_size)
        inputs = self.view.batch(np.arange(count))
        labels = encode_labels(self.view.labels[:count], self.outputs, self.one_hot)
        self.model.fit(inputs, labels, batch_size=self.batches.batch_size, epochs=10**6, callbacks=[clock], verbose=0)
        return self._found(clock.taken, steps)

    def one_call(self, row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """An epoch in one compiled function, from images on the device."""
        images = DeviceImages(self.batches, self.outputs, self.one_hot)
        epoch = EpochInOneCall(self.model, images, self.loss, 10**9, self._lookahead_steps())
        number = iter(range(10**9))
        self.trained = False  # it compiles a function of its own
        return self._found(repeat(lambda: epoch.run(next(number)), seconds), len(self.batches))

    def _fit(self, row: Mapping[str, Any], seconds: float, batches: Any, callbacks: Sequence[Any]) -> dict[str, Any]:
        clock, steps = Clock(seconds), self._chunk(row)
        self.model.fit(
            batches, steps_per_epoch=steps, epochs=10**6, shuffle=False, verbose=0, callbacks=[*callbacks, clock]
        )
        return self._found(clock.taken, steps)

    def _chunk(self, row: Mapping[str, Any]) -> int:
        """Steps between two looks at the clock, a multiple of the steps in an execution."""
        if row["other_xla"] and not row["xla"]:  # each operation for itself
            return min(_FEW_STEPS, len(self.batches))
        each = row["steps_per_execution"]
        most = min(_CHUNK_STEPS, _CHUNK_IMAGES // self.batches.batch_size, len(self.batches))
        return max(1, most // each) * each

    def _found(self, taken: Sequence[float], steps: int, compiles: bool = True) -> dict[str, Any]:
        steady, size = [each / steps for each in taken[1:]], self.batches.batch_size
        first = None if self.trained or not compiles else max(0.0, taken[0] - statistics.median(taken[1:]))
        self.trained |= compiles
        value_bytes = 4 if keras.config.dtype_policy().compute_dtype == "float32" else 2
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        return {
            "step_seconds": [statistics.median(steady), min(steady), max(steady)],
            "chunks": len(steady),
            "batch_size": size,
            "steps_in_epoch": len(self.batches),
            "compile_seconds": first,
            "gflop": step_gflop(self.model, size),
            "gigabytes": step_gigabytes(self.model, size, value_bytes),
        }

    # -------- a whole training

    def training(self, row: Mapping[str, Any], validation: Any, test: Any) -> dict[str, Any]:
        """The variant's training on real images, and its accuracy on the test images."""
        begun = time.perf_counter()
        clock = Clock(math.inf)
        if row["on_device"]:
            taken = self._train_on_device()
        else:
            self._train_as_notebook(clock, validation)
            taken = clock.taken
        seconds = time.perf_counter() - begun
        return {
            "seconds": seconds,
            "seconds_without_compiling": seconds - max(0.0, taken[0] - statistics.median(taken)),
            "epochs": len(taken),
            "accuracy": self._accuracy(test, "none"),
            "accuracy_of_views": self._accuracy(test, self.values["test_time_augmentation"]),
            "images": len(self.view),
            "test_images": len(test),
        }

    def _train_as_notebook(self, clock: Clock, validation: Any) -> None:
        size = {"num_outputs": self.outputs, "one_hot": self.one_hot}
        held_out = Batches(validation, self.batches.batch_size, **size)
        self.model.fit(
            self.batches.dataset(0),
            steps_per_epoch=len(self.batches),
            epochs=self.values["epochs"],
            validation_data=held_out.dataset(),
            validation_steps=len(held_out),
            shuffle=False,
            callbacks=[airbench.Lookahead(self.steps, self._lookahead_steps()), clock],
            verbose=0,
        )

    def _train_on_device(self) -> list[float]:
        images = DeviceImages(self.batches, self.outputs, self.one_hot)
        epoch = EpochInOneCall(self.model, images, self.loss, self.steps, self._lookahead_steps())
        taken = []
        for number in range(self.values["epochs"]):
            begun = time.perf_counter()
            epoch.run(number)
            taken.append(time.perf_counter() - begun)
        epoch.finish()
        return taken

    def _accuracy(self, test: Any, views: str) -> float:
        predicted = []
        for view in evaluation.views(test, views):
            batches = range(0, len(test), 1000)
            inputs = (view.batch(np.arange(start, min(start + 1000, len(test)))) for start in batches)
            predicted.append(np.concatenate([self.model.predict_on_batch(each) for each in inputs]))
        return float(np.mean(evaluation.mean_of_views(predicted).argmax(axis=1) == test.labels))


def _transform(values: Mapping[str, Any], images: np.ndarray, used: np.ndarray) -> transform.Transform:
    channels = transform.choose_channels(images.shape[-1], values["color"], values["gray_weights"], values["scaling"])
    if values["scaling"] != "standardize":
        return channels.scale(0, 255)
    measured = preprocessing.measure(images, used, channels)
    return channels.scale(measured["mean"], measured["standard_deviation"])


def _loss(values: Mapping[str, Any]) -> keras.losses.Loss:
    smoothing = values["label_smoothing"]
    return {
        "sparse_categorical_crossentropy": lambda: keras.losses.SparseCategoricalCrossentropy(),
        "categorical_crossentropy": lambda: keras.losses.CategoricalCrossentropy(label_smoothing=smoothing),
        "binary_crossentropy": lambda: keras.losses.BinaryCrossentropy(label_smoothing=smoothing),
    }[values["loss"]]()


if __name__ == "__main__":
    main()

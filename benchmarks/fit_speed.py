"""Images a second that a training takes: `python -m benchmarks.fit_speed VARIANT SECONDS [NAME=VALUE ...]`.

Through Bakeoff's own batches and trainer setup, on synthetic images; the thread count is that of the environment.
"""

from __future__ import annotations

import sys
import tempfile
import time

import keras
import numpy as np

from bakeoff.lab import data, models, preprocessing, transform
from bakeoff.lab.input_pipeline import Batches
from bakeoff.lab.models.flops import forward_gflop
from bakeoff.params import load_parameters

_IMAGES = 8192  # more batches of any variant than are trained without a graph


def main(variant: str, seconds: float, settings: list[str]) -> None:
    """Print images a second and GFLOP an image and step, after one epoch that compiles and warms up."""
    values = dict(load_parameters((variant,), "full", settings)[0].stage)
    keras.config.set_dtype_policy(values["precision"])
    with tempfile.TemporaryDirectory() as folder:
        loaded = data.load("shapes10", folder, max_train_examples=_IMAGES, max_test_examples=100, seed=0)
        channels = transform.choose_channels(3, values["color"], values["gray_weights"], values["scaling"])
        part, positions = loaded.train, np.arange(len(loaded.train))
        binary = values["task"] == "binary"
        labels = (part.labels == 0).astype(np.int64) if binary else part.labels
        train = preprocessing.View(part.images, labels, part.ids, positions, channels.scale(0, 255))
        input_shape, num_outputs = train.batch([0]).shape[1:], 1 if binary else loaded.num_classes
        keras.utils.set_random_seed(0)
        model = models.build(values["builder"], input_shape, num_outputs, options=values["builder_options"])
        options = {} if values["trainer"] == "airbench" else values["optimizer_options"]
        config = {"learning_rate": values["learning_rate"], **options}
        model.compile(
            optimizer=keras.optimizers.get({"class_name": values["optimizer"], "config": config}),
            loss=values["loss"],
            metrics=["accuracy"],
            jit_compile=values["jit_compile"],
            steps_per_execution=values["steps_per_execution"],
        )
        batches = Batches(
            train,
            values["batch_size"],
            num_outputs=num_outputs,
            one_hot=values["loss"] != "sparse_categorical_crossentropy",
            shuffle=True,
            augmentation=values["augmentation"],
        )
        dataset, once = batches.dataset(), {"steps_per_epoch": len(batches), "shuffle": False, "verbose": 0}
        model.fit(dataset, **once)
        begun, images = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            model.fit(dataset, **once)
            images += len(train)
        print(images / (time.perf_counter() - begun), 3 * forward_gflop(model))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])

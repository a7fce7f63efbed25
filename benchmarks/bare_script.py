"""What a student would write without Bakeoff: one script, one network, plain Keras. Run by the case `bare`.

`python -m benchmarks.bare_script VARIANT FOLDER_OF_ARRAYS EPOCHS`; the seconds of `fit` are left in seconds.txt.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

NETWORKS = {
    "ann": ([layers.Flatten(), layers.Dense(3000, "relu"), layers.Dense(1000, "relu")], "sgd", 32),
    "simple_cnn": (
        [
            *(layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()),
            *(layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()),
            *(layers.Flatten(), layers.Dense(64, "relu")),
        ],
        "adam",
        32,
    ),
    "tutorial_cnn": (
        [
            *(layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D()),
            *(layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D()),
            *(layers.Conv2D(64, 3, padding="same", activation="relu"), layers.MaxPooling2D()),
            *(layers.Flatten(), layers.Dense(128, "relu")),
        ],
        "adam",
        128,
    ),
}


def main(variant: str, folder: Path, epochs: int) -> None:
    """Load, scale, build, train, evaluate, save."""
    keras.utils.set_random_seed(0)
    train, test = (np.load(folder / f"{part}_images.npy").astype("float32") / 255 for part in ("train", "test"))
    train_labels, test_labels = (np.load(folder / f"{part}_labels.npy") for part in ("train", "test"))
    hidden, optimizer, batch_size = NETWORKS[variant]
    model = keras.Sequential([keras.Input(train.shape[1:]), *hidden, layers.Dense(10, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    split = 0.2 if variant == "tutorial_cnn" else 0.0
    begun = time.perf_counter()
    model.fit(train, train_labels, batch_size=batch_size, epochs=epochs, validation_split=split, verbose=0)
    (folder / "seconds.txt").write_text(str(time.perf_counter() - begun), encoding="utf-8")
    np.save(folder / "probabilities.npy", model.predict(test, verbose=0))
    model.evaluate(test, test_labels, verbose=0)
    model.save(folder / "model.keras")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

"""A trained network with its preprocessing inside, in the formats that others read; and what it says of image files.

Run as `python -m bakeoff.lab.export ARGUMENTS`, where ARGUMENTS is a JSON object with `inputs` (the folders of the
stages), and `images` (paths) to predict, or `format` and `folder` to export. The last line printed is the result as
JSON; what cannot be done is one sentence and exit code 2.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bakeoff.lab import evaluation, files, image_files
from bakeoff.lab.preprocessing import Prepared, View, open_prepared

if TYPE_CHECKING:
    import keras

    from bakeoff.lab.transform import Transform

CHECKED_IMAGES, CHECKED_TFLOP = 200, 0.2  # test images that an exported file is tried on, and their FLOPs


def export(inputs: Mapping[str, str], format: str, file: str | Path) -> dict[str, Any]:
    """Write the network of finished stages as `file`, and labels.txt and labels.json beside it; how well it agrees.

    `format` is keras, savedmodel (a folder), onnx or litert. The file takes images (n, height, width, channels) uint8,
    as the load stage stores them, and gives the probabilities of the evaluate stage. It is tried on the first test
    images: `images`, their number, `same_labels`, and `largest_difference` from the stored probabilities.
    """
    from bakeoff.lab.training import load_trained

    file = Path(file)
    metrics, data = _metrics(inputs), open_prepared(inputs)
    model = with_preprocessing(
        load_trained(inputs),
        data.test.images.shape[1:],
        data.test.transform,
        metrics["test_time_augmentation"],
    )
    with files.replacing(file) if format != "savedmodel" else nullcontext(file) as temporary:
        if format == "keras":
            model.save(temporary)
        else:
            model(np.zeros_like(data.test.raw([0])))  # Keras exports only what was called once
            model.export(str(temporary), format=_KERAS_NAMES.get(format, format), verbose=False)
    names = label_names(metrics, model.output_shape[-1])
    files.write_json(file.with_name("labels.json"), {str(number): name for number, name in enumerate(names)})
    with files.replacing(file.with_name("labels.txt")) as temporary:
        temporary.write_text("".join(f"{' '.join(name.split())}\n" for name in names), encoding="utf-8")
    return _tried(inputs, data, opened(format, file))


def predict(inputs: Mapping[str, str], images: Sequence[str]) -> list[dict[str, Any]]:
    """Of each image file its path and, likeliest first, the classes with their probabilities.

    They are those of the evaluate stage: the same network, scaling, views and way of predicting. Raises ValueError,
    with the file's name, for what is no image.
    """
    metrics, data = _metrics(inputs), open_prepared(inputs)
    height, width, channels = data.test.images.shape[1:]
    pixels = np.stack([_decoded(path, (height, width), channels) for path in images])
    probabilities = predict_pixels(inputs, data, pixels)
    names = label_names(metrics, probabilities.shape[1])
    return [
        {
            "image": path,
            "predictions": [
                {"class": names[label], "probability": float(row[label])} for label in np.argsort(-row, kind="stable")
            ],
        }
        for path, row in zip(images, probabilities, strict=True)
    ]


def predict_pixels(inputs: Mapping[str, str], data: Prepared, pixels: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) of images (n, height, width, channels) uint8, computed as the evaluate notebook does."""
    import keras

    from bakeoff.lab.input_pipeline import Batches
    from bakeoff.lab.training import load_trained

    metrics, count = _metrics(inputs), len(pixels)
    nothing = np.zeros(count, np.int64)
    examples = View(pixels, nothing, nothing.astype(np.str_), np.arange(count), data.test.transform)
    model, outputs = load_trained(inputs), []
    model.jit_compile = keras.backend.backend() == "jax"
    for view in evaluation.views(examples, metrics["test_time_augmentation"]):
        batches = Batches(view, metrics["images_per_step"], num_outputs=data.num_outputs)
        outputs.append(model.predict(batches.dataset(), steps=len(batches), verbose=0))
    return evaluation.mean_of_views(outputs)


def with_preprocessing(
    network: keras.Model, image_shape: Sequence[int], transform: Transform, test_time_augmentation: str = "none"
) -> keras.Model:
    """Stored images (n, *image_shape) uint8 -> probabilities (n, k): `transform`, `network` and the mean of views.

    It consists of Keras' own operations alone, so that its file is read without this package.
    """
    import keras
    from keras import ops

    images = keras.Input(tuple(image_shape), dtype="uint8", name="images")
    pixels = ops.cast(images, "float32")
    if test_time_augmentation == "none":
        outputs = _two_columns(network(_scaled(pixels, transform)))
    else:
        columns = [_two_columns(network(_scaled(view, transform))) for view in _mirror_shifts(pixels)]
        shares = [share for share, _ in evaluation.MIRROR_SHIFTS]
        logs = [
            ops.multiply(ops.log(ops.maximum(each, evaluation.SMALLEST_PROBABILITY)), share)
            for each, share in zip(columns, shares, strict=True)
        ]
        outputs = ops.softmax(sum(logs[1:], logs[0]), axis=-1)
    return keras.Model(images, outputs, name=network.name)


def opened(format: str, file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives the probabilities of images uint8, from an exported file alone."""
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: np.asarray(session.run(None, {name: images})[0])
    if format == "litert":
        return _open_litert(file)
    if format == "savedmodel":
        import tensorflow as tf

        served = tf.saved_model.load(str(file))
        return lambda images: served.serve(images).numpy()
    import keras

    model = keras.models.load_model(file, compile=False)
    return lambda images: np.asarray(model.predict(images, verbose=0))


def label_names(metrics: Mapping[str, Any], outputs: int) -> list[str]:
    """Names of the columns of the probabilities."""
    if metrics["task"] != "labels_only":
        return list(metrics["class_names"])
    from bakeoff.lab.plots.predictions import imagenet_names

    return imagenet_names(outputs)


# ---------------------------------------------------------------- inside the network


def _scaled(pixels: Any, transform: Transform) -> Any:
    """What `Transform` does to arrays, as Keras operations."""
    from keras import ops

    if transform.gray_weights is not None:
        weights = np.array(transform.gray_weights, np.float32)
        pixels = ops.sum(ops.multiply(pixels, weights), axis=-1, keepdims=True)
    if transform.repeat > 1:
        pixels = ops.repeat(pixels, transform.repeat, axis=-1)
    if transform.reverse:
        pixels = ops.flip(pixels, axis=-1)
    offset, divisor = np.array(transform.offset, np.float32), np.array(transform.divisor, np.float32)
    return ops.divide(ops.subtract(pixels, offset), divisor)


def _mirror_shifts(pixels: Any) -> list[Any]:
    """The views of `evaluation.MIRROR_SHIFTS`, as Keras operations."""
    from keras import ops

    height, width = pixels.shape[1:3]
    padded = ops.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    sides = [pixels, *(padded[:, at : at + height, at : at + width] for at in (0, 2))]
    return [view for side in sides for view in (side, ops.flip(side, axis=2))]


def _two_columns(probabilities: Any) -> Any:
    from keras import ops

    probabilities = ops.cast(probabilities, "float32")
    if probabilities.shape[-1] > 1:
        return probabilities
    return ops.concatenate([ops.subtract(1.0, probabilities), probabilities], axis=-1)


# ---------------------------------------------------------------- files

_KERAS_NAMES = {"savedmodel": "tf_saved_model"}  # as Keras calls the formats


def _open_litert(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(file))

    def run(images: np.ndarray) -> np.ndarray:
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(taken["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given["index"]))

    return run


def _tried(inputs: Mapping[str, str], data: Prepared, run: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    stored = files.read_npz_if_whole(Path(inputs["evaluate"]) / evaluation.PREDICTIONS)["probabilities"]
    gflop = files.read_json(Path(inputs["build"]) / "network.json")["forward_gflop"] or 0.0
    count = evaluation.images_to_score(min(CHECKED_IMAGES, len(stored)), gflop, CHECKED_TFLOP)
    own, stored = run(data.test.raw(slice(count))), stored[:count]
    same = int((own.argmax(axis=1) == stored.argmax(axis=1)).sum())
    return {"images": len(stored), "same_labels": same, "largest_difference": float(np.abs(own - stored).max())}


def _metrics(inputs: Mapping[str, str]) -> dict[str, Any]:
    return files.read_json(Path(inputs["evaluate"]) / evaluation.METRICS)


def _decoded(path: str, size: tuple[int, int], channels: int) -> np.ndarray:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    fault = image_files.look_at(content)["fault"]
    if fault:
        raise ValueError(f"{path} {fault}; name whole image files ({', '.join(image_files.FORMATS)})")
    return image_files.decode(content, size, channels)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's own description."""
    asked = json.loads((arguments or sys.argv[1:])[0])
    try:
        with redirect_stdout(sys.stderr):  # what libraries print
            if "images" in asked:
                answer: Any = predict(asked["inputs"], asked["images"])
            else:
                answer = export(asked["inputs"], asked["format"], asked["file"])
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Networks on a base that was trained on ImageNet. All take images (n, height, width, 1 or 3) to probabilities.

`weights` imagenet loads the base's published weights by their path in Keras' own folder, after a download if they are
not there; none and random draw them. `image_size` is the side in pixels at which the base sees the images, 0 = as they
are. One-channel images are repeated to three channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import applications, layers

from bakeoff.lab.download import find_weights, stored_weights
from bakeoff.lab.models import check_name, classify

SMALLEST_SIDE = 32  # pixels; what the bases below need, InceptionV3 aside
VGG16_FILE = "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
# name -> (constructor, the smallest side in pixels that it takes, the file of its ImageNet weights)
BASES: dict[str, tuple[Callable[..., keras.Model], int, str]] = {
    "resnet50": (applications.ResNet50, SMALLEST_SIDE, "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    "vgg16": (applications.VGG16, SMALLEST_SIDE, VGG16_FILE),
    "inceptionv3": (
        applications.InceptionV3,
        75,
        "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
}
IMAGENET_SIDE = 224
MOBILENETV2 = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels"


def build_upsampled_base(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    base: str,
    dense_units: Sequence[int] = (128, 64),
    dropout: float = 0.5,
    weights: str = "none",
    image_size: int = 0,
) -> keras.Model:
    """Images made larger by a whole factor, a base that is trained too, Flatten, BatchNorm, and dense layers.

    After each dense relu layer stand dropout and BatchNorm. The factor is the largest that keeps the images within
    `image_size`, but large enough for the base (`upsampling_factor`); a factor of 8 is made by doubling three
    times, as the source does. As in the source, BatchNorm layers of the base train in training mode, against Keras'
    guide to fine-tuning.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning).
    """
    check_name("base", base, BASES)
    constructor, smallest, file = BASES[base]
    images = x = keras.Input(input_shape, name="images")
    x = _upsample(_three_channels(x), upsampling_factor(input_shape, image_size, smallest))
    x = _load_base(constructor, x.shape[1:], weights, file)(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.BatchNormalization(name="batchnorm_0")(x)
    for number, width in enumerate(dense_units, start=1):
        x = layers.Dense(width, activation="relu", name=f"dense_{number}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{number}")(x)
        x = layers.BatchNormalization(name=f"batchnorm_{number}")(x)
    return keras.Model(images, classify(x, num_classes), name=f"upsampled_{base}")


def build_feature_classifier_vgg16(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dense_units: int = 256,
    dropout: float = 0.5,
    weights: str = "none",
    image_size: int = 0,
) -> keras.Model:
    """VGG16 without its top, frozen, then Flatten, a dense relu layer, dropout and the output layer.

    Expects images prepared with the scaling `caffe`.

    Source: Deep Learning: Image recognition, Capstone project #3.
    """
    images = x = keras.Input(input_shape, name="images")
    x = _resize(_three_channels(x), image_size)
    base = _load_base(applications.VGG16, x.shape[1:], weights, VGG16_FILE)
    base.trainable = False
    x = layers.Flatten(name="flatten")(base(x))
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, classify(x, num_classes), name="feature_classifier_vgg16")


def build_feature_classifier_mobilenetv2(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    alpha: float = 0.35,
    weights_side: int = 224,
    weights: str = "none",
    image_size: int = 0,
) -> keras.Model:
    """MobileNetV2 without its top, frozen, with global average pooling; standardised features; the output layer.

    Expects images prepared with the scaling `symmetric`. The layer `standardize` does nothing until the trainer
    adapts it to the training images' features. The ImageNet weights are those that were trained at `weights_side`
    pixels, whatever the `image_size`: Keras has them for 96, 128, 160, 192 and 224. Where they are not stored, those
    for 224 pixels are taken if these are.
    """
    images = x = keras.Input(input_shape, name="images")
    x = _resize(_three_channels(x), image_size)
    files = [f"{MOBILENETV2}_{float(alpha)}_{side}_no_top.h5" for side in (weights_side, IMAGENET_SIDE)]
    file = next((each for each in files if stored_weights(each).is_file()), files[0])
    base = _load_base(applications.MobileNetV2, x.shape[1:], weights, file, alpha=alpha, pooling="avg")
    base.trainable = False
    x = layers.Normalization(name="standardize")(base(x))
    return keras.Model(images, classify(x, num_classes), name="feature_classifier_mobilenetv2")


def build_vgg16_labels(input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none") -> keras.Model:
    """VGG16 as it is, with its top: images at 224 pixels -> probabilities (n, 1000) of ImageNet's classes.

    `num_classes` is ignored: ImageNet's classes are not the data's. Expects the scaling `caffe`.

    Source: Deep Learning: Image recognition, Capstone project #3.
    """
    images = x = keras.Input(input_shape, name="images")
    x = _resize(_three_channels(x), IMAGENET_SIDE)
    file = "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5"
    network = _load_base(applications.VGG16, x.shape[1:], weights, file, name="vgg16", include_top=True)
    return keras.Model(images, network(x), name="vgg16_labels")


def build_efficientnetv2_classifier(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float = 0.2,
    weights: str = "none",
    image_size: int = 0,
) -> keras.Model:
    """EfficientNetV2-B0 without its top; global average pooling, dropout and the output layer.

    All is trainable but the base's BatchNorm layers: these stay in inference mode, with the statistics of ImageNet, as
    Keras' guide to fine-tuning has it. (Calling the base with `training=False`, as that guide does it, is overruled by
    `fit` in a functional model.)

    Expects pixels 0..255 (the scaling `none`): the base scales them itself.
    """
    images = x = keras.Input(input_shape, name="images")
    x = _resize(_three_channels(x), image_size)
    base = _load_base(applications.EfficientNetV2B0, x.shape[1:], weights, "efficientnet_v2/efficientnetv2-b0_notop.h5")
    for layer in base.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    x = base(x)
    x = layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, classify(x, num_classes), name="efficientnetv2_classifier")


def upsampling_factor(input_shape: Sequence[int], image_size: int, smallest: int) -> int:
    """The largest whole factor that keeps the images within `image_size` pixels a side (0 = as they are).

    A base that needs `smallest` pixels gets the smallest whole factor that reaches them, where that is more.
    """
    height, width = input_shape[:2]
    fits = image_size // max(height, width)
    needed = math.ceil(smallest / min(height, width))
    return max(fits, needed, 1)


def _upsample(x: keras.KerasTensor, factor: int) -> keras.KerasTensor:
    steps = [2, 2, 2] if factor == 8 else [factor] if factor > 1 else []
    for number, step in enumerate(steps, start=1):
        x = layers.UpSampling2D(step, name=f"upsampling_{number}")(x)
    return x


def _resize(x: keras.KerasTensor, image_size: int) -> keras.KerasTensor:
    """Bilinear to `image_size` pixels a side; 0 leaves images as they are, unless a base cannot take them."""
    height, width = x.shape[1:3]
    side = max(image_size, SMALLEST_SIDE) if image_size or min(height, width) < SMALLEST_SIDE else 0
    if side == 0 or (height, width) == (side, side):
        return x
    return layers.Resizing(side, side, name="resizing")(x)


def _three_channels(x: keras.KerasTensor) -> keras.KerasTensor:
    channels = x.shape[-1]
    if channels not in (1, 3):
        raise ValueError(
            f"networks trained on ImageNet see one or three channels, not {channels}: set color or builder"
        )
    return x if channels == 3 else layers.Concatenate(name="three_channels")([x, x, x])


def _load_base(
    constructor: Callable[..., keras.Model],
    input_shape: Sequence[int],
    weights: str,
    file: str,
    name: str = "base",
    **settings: Any,
) -> keras.Model:
    """One of Keras' application networks under the given name, without its top unless `settings` say so.

    `file` holds its ImageNet weights. It is loaded by its path: by the name imagenet, Keras would look into a folder in
    /tmp, where anybody can put files, whenever it cannot write to its own.
    """
    try:
        published = str(find_weights(file)) if weights == "imagenet" else None
    except (ValueError, OSError) as error:
        raise ValueError(
            f"the ImageNet weights of {constructor.__name__} are not stored here and could not be downloaded"
            f" ({error}): try again with a network connection, or set weights to random"
        ) from None
    network = constructor(weights=published, input_shape=tuple(input_shape), **({"include_top": False} | settings))
    # EfficientNetV2's own `name` argument also chooses its blocks, so every network is named here.
    return keras.Model(network.input, network.output, name=name)

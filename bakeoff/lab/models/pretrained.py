"""Bases that were trained on ImageNet, and the layers that bring images to the size that they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from bakeoff.lab.download import find_weights, stored_weights
from bakeoff.lab.models import NetworkError

SMALLEST_SIDE = 32  # pixels; what the bases need, InceptionV3 aside
IMAGENET_SIDE = 224
_MOBILENETV2 = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
# network -> the scaling with which the weights of its base were trained; EfficientNetV2 scales pixels itself
SCALINGS = {
    "resnet50_transfer": "caffe",
    "vgg16_transfer": "caffe",
    "inceptionv3_transfer": "symmetric",
    "vgg16_imagenet": "caffe",
    "vgg16_dog_features": "caffe",
    "mobilenetv2_transfer": "symmetric",
    "efficientnetv2_finetune": "none",
}
# (constructor, with its top) -> file of its ImageNet weights, as keras.applications stores it
_FILES = {
    ("ResNet50", False): "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ("VGG16", False): "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ("VGG16", True): "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
    ("InceptionV3", False): "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ("EfficientNetV2B0", False): "efficientnet_v2/efficientnetv2-b0_notop.h5",
}


def upsampling_factor(input_shape: Sequence[int], image_size: int, smallest: int) -> int:
    """The largest whole factor that keeps the images within `image_size` pixels a side (0 = as they are).

    A base that needs `smallest` pixels gets the smallest whole factor that reaches them, where that is more.
    """
    height, width = input_shape[:2]
    fits = image_size // max(height, width)
    needed = math.ceil(smallest / min(height, width))
    return max(fits, needed, 1)


def upsample(x: keras.KerasTensor, image_size: int, smallest: int = SMALLEST_SIDE) -> keras.KerasTensor:
    """`UpSampling2D` by `upsampling_factor`; a factor of 8 by doubling three times, as capstone2020 does."""
    factor = upsampling_factor(x.shape[1:], image_size, smallest)
    for step in [2, 2, 2] if factor == 8 else [factor] if factor > 1 else []:
        x = layers.UpSampling2D(step)(x)
    return x


def resize(x: keras.KerasTensor, image_size: int) -> keras.KerasTensor:
    """Bilinear to `image_size` pixels a side; 0 leaves images as they are, unless a base cannot take them."""
    height, width = x.shape[1:3]
    side = max(image_size, SMALLEST_SIDE) if image_size or min(height, width) < SMALLEST_SIDE else 0
    if side == 0 or (height, width) == (side, side):
        return x
    return layers.Resizing(side, side)(x)


def three_channels(x: keras.KerasTensor) -> keras.KerasTensor:
    """The images, a single channel repeated to three."""
    channels = x.shape[-1]
    if channels not in (1, 3):
        raise NetworkError(
            f"networks trained on ImageNet see one or three channels, not {channels}: set color or builder"
        )
    return x if channels == 3 else layers.Concatenate()([x, x, x])


def load_base(
    constructor: Callable[..., keras.Model],
    input_shape: Sequence[int],
    weights: str,
    name: str = "base",
    **settings: Any,
) -> keras.Model:
    """One of Keras' application networks under the given name, without its top unless `settings` say so.

    ImageNet's weights are loaded by their path: by the name imagenet, Keras would look into a folder in /tmp, where
    anybody can put files, whenever it cannot write to its own.
    """
    settings = {"include_top": False} | settings
    try:
        published = str(find_weights(_weights_file(constructor.__name__, settings))) if weights == "imagenet" else None
    except (ValueError, OSError) as error:
        raise NetworkError(
            f"the ImageNet weights of {constructor.__name__} are not stored here and could not be downloaded"
            f" ({error}): try again with a network connection, or set weights to random"
        ) from None
    network = constructor(weights=published, input_shape=tuple(input_shape), **settings)
    # EfficientNetV2's own `name` argument also chooses its blocks, so every network is named here.
    return keras.Model(network.input, network.output, name=name)


def _weights_file(constructor: str, settings: Mapping[str, Any]) -> str:
    """The file of a base's ImageNet weights; MobileNetV2's are those for 160 pixels, or for 224 where only they are."""
    if constructor != "MobileNetV2":
        return _FILES[constructor, settings["include_top"]]
    files = [f"{_MOBILENETV2}_{float(settings['alpha'])}_{side}_no_top.h5" for side in (160, IMAGENET_SIDE)]
    return next((each for each in files if stored_weights(each).is_file()), files[0])

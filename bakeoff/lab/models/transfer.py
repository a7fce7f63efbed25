"""Networks on a base that was trained on ImageNet: images (n, height, width, 1 or 3) -> probabilities (n, num_classes).

`weights` imagenet loads the base's published weights, none and random draw them. `image_size` is the side in pixels at
which the base sees the images, 0: as they are. One class means a binary task: one sigmoid unit.
BatchNorm layers of the sources' networks are trained in training mode, as in the sources, against Keras' guide.
"""

from __future__ import annotations

import keras
from keras import applications, layers

from bakeoff.lab.models.pretrained import IMAGENET_SIDE, load_base, resize, three_channels, upsample


def resnet50_transfer(
    input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none", image_size: int = 0
) -> keras.Model:
    """ResNet50 on upsampled images, all of it trained, under a dense head with BatchNorm.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning).
    """
    images = keras.Input(input_shape)
    x = upsample(three_channels(images), image_size)  # 32 to 256 pixels: UpSampling2D(2), three times
    x = load_base(applications.ResNet50, x.shape[1:], weights)(x)
    return keras.Model(images, _dense_head(x, num_classes), name="resnet50_transfer")


def vgg16_transfer(
    input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none", image_size: int = 0
) -> keras.Model:
    """VGG16 on upsampled images, all of it trained, under a dense head with BatchNorm.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning).
    """
    images = keras.Input(input_shape)
    x = upsample(three_channels(images), image_size)  # 32 to 256 pixels: UpSampling2D(2), three times
    x = load_base(applications.VGG16, x.shape[1:], weights)(x)
    return keras.Model(images, _dense_head(x, num_classes), name="vgg16_transfer")


def inceptionv3_transfer(
    input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none", image_size: int = 0
) -> keras.Model:
    """InceptionV3 on upsampled images, all of it trained, under a dense head with BatchNorm.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning).
    """
    images = keras.Input(input_shape)
    x = upsample(three_channels(images), image_size, smallest=75)  # 32 to 256 pixels: UpSampling2D(2), three times
    x = load_base(applications.InceptionV3, x.shape[1:], weights)(x)
    return keras.Model(images, _dense_head(x, num_classes), name="inceptionv3_transfer")


def _dense_head(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """The head that the source puts on each of its three bases."""
    x = layers.Flatten()(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.BatchNormalization()(x)
    activation = "softmax" if num_classes > 1 else "sigmoid"
    return layers.Dense(num_classes, activation=activation, dtype="float32")(x)


def vgg16_imagenet(input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none") -> keras.Model:
    """VGG16 as it is, with its top: probabilities (n, 1000) of ImageNet's classes, whatever `num_classes`.

    Expects the scaling `caffe`.

    Source: Deep Learning: Image recognition, Capstone project #3.
    """
    images = keras.Input(input_shape)
    x = resize(three_channels(images), IMAGENET_SIDE)
    network = load_base(applications.VGG16, x.shape[1:], weights, name="vgg16", include_top=True)
    return keras.Model(images, network(x), name="vgg16_imagenet")


def vgg16_dog_features(
    input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none", image_size: int = 0
) -> keras.Model:
    """VGG16 without its top as a fixed feature extractor, and a small dense network on its features.

    Expects the scaling `caffe`.

    Source: Deep Learning: Image recognition, Capstone project #3.
    """
    images = keras.Input(input_shape)
    x = resize(three_channels(images), image_size)
    base = load_base(applications.VGG16, x.shape[1:], weights)
    base.trainable = False
    x = base(x)
    x = layers.Flatten()(x)
    x = layers.Dense(256, activation="relu")(x)  # 256 units assumed
    x = layers.Dropout(0.5)(x)  # rate assumed
    activation = "softmax" if num_classes > 1 else "sigmoid"
    outputs = layers.Dense(num_classes, activation=activation, dtype="float32")(x)
    return keras.Model(images, outputs, name="vgg16_dog_features")


def mobilenetv2_transfer(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    weights: str = "none",
    image_size: int = 0,
    fine_tuned: bool = False,
    hidden_units: int = 0,
    dropout: float = 0.0,
) -> keras.Model:
    """MobileNetV2 (alpha 0.35) without its top, frozen; its features, standardised, under one dense layer.

    Expects the scaling `symmetric`. The Normalization layer does nothing until it is adapted to the training images'
    features. `fine_tuned`: the base is trained, too, but for its BatchNorm layers, which keep ImageNet's statistics.
    `hidden_units`: of a dense layer before the last one, 0 for none. `dropout`: before the last layer.
    """
    images = keras.Input(input_shape)
    x = resize(three_channels(images), image_size)
    base = load_base(applications.MobileNetV2, x.shape[1:], weights, alpha=0.35, pooling="avg")
    base.trainable = fine_tuned
    for layer in base.layers:
        layer.trainable = fine_tuned and not isinstance(layer, layers.BatchNormalization)
    x = base(x)
    x = layers.Normalization()(x)
    x = layers.Dense(hidden_units, activation="relu")(x) if hidden_units else x
    x = layers.Dropout(dropout)(x) if dropout else x
    activation = "softmax" if num_classes > 1 else "sigmoid"
    outputs = layers.Dense(num_classes, activation=activation, dtype="float32")(x)
    return keras.Model(images, outputs, name="mobilenetv2_transfer")


def efficientnetv2_finetune(
    input_shape: tuple[int, int, int], num_classes: int, *, weights: str = "none", image_size: int = 0
) -> keras.Model:
    """EfficientNetV2-B0 without its top, global average pooling, dropout and one dense layer.

    Expects pixels 0..255 (the scaling `none`): the base scales them itself.
    """
    images = keras.Input(input_shape)
    x = resize(three_channels(images), image_size)
    base = load_base(applications.EfficientNetV2B0, x.shape[1:], weights)
    for layer in base.layers:  # BatchNorm keeps ImageNet's statistics, as Keras' guide to fine-tuning has it
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    x = base(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    activation = "softmax" if num_classes > 1 else "sigmoid"
    outputs = layers.Dense(num_classes, activation=activation, dtype="float32")(x)
    return keras.Model(images, outputs, name="efficientnetv2_finetune")

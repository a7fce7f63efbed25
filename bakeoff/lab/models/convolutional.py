"""Convolutional networks trained from scratch: images (n, height, width, channels) -> probabilities (n, num_classes).

One class means a binary task: one sigmoid unit. The output layer computes in float32 at any precision.
"""

from __future__ import annotations

import keras
from keras import layers


def simple_cnn(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Two convolutions with max pooling, and one dense layer.

    Source: Assignment No. 3: image classification in 4 stages.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="simple_cnn",
    )


def tutorial_cnn(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Three convolutions with max pooling, and one dense layer, as in TensorFlow's image classification tutorial.

    The source also writes a line with Dropout(0.2) whose layer never joins the network; its parameter table shows none.

    Source: Identifying images using the universal workflow of machine learning.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="tutorial_cnn",
    )


def scratch_cnn(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Two pairs of convolutions, each with max pooling and dropout, and one dense layer.

    Source: Deep Learning: Image recognition, Capstone project #3.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),  # rate assumed
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),  # rate assumed
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.5),  # rate assumed
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="scratch_cnn",
    )


def batchnorm_cnn(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Three pairs of convolutions with BatchNorm, max pooling and dropout, and one dense layer.

    Source: Identifying images using the universal workflow of machine learning.
    """
    model = keras.Sequential([keras.Input(input_shape)], name="batchnorm_cnn")
    for filters, rate in ((64, 0.2), (128, 0.25), (128, 0.35)):
        model.add(layers.Conv2D(filters, 4, padding="same", activation="relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.Conv2D(filters, 4, padding="same", activation="relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D(2))
        model.add(layers.Dropout(rate))
    model.add(layers.Flatten())
    model.add(layers.Dense(256, activation="relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.5))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model


def batchnorm_ablation(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """`batchnorm_cnn` without its seven BatchNorm layers and nothing else changed: the ablation of a claim."""
    model = keras.Sequential([keras.Input(input_shape)], name="batchnorm_ablation")
    for filters, rate in ((64, 0.2), (128, 0.25), (128, 0.35)):
        model.add(layers.Conv2D(filters, 4, padding="same", activation="relu"))
        model.add(layers.Conv2D(filters, 4, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D(2))
        model.add(layers.Dropout(rate))
    model.add(layers.Flatten())
    model.add(layers.Dense(256, activation="relu"))
    model.add(layers.Dropout(0.5))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model


def augmented_cnn(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Three convolutions with max pooling, and one dense layer with dropout; its source trains it on augmented images.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning).
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="augmented_cnn",
    )


def tuner_cnn_deep(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    conv1_filters: int = 80,
    conv1_kernel: int = 5,
    conv2_filters: int = 48,
    conv2_kernel: int = 5,
    dense_units: int = 96,
) -> keras.Model:
    """Five convolutions ("6 layers"), none of them padded or pooled; the defaults are the best values of its source.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning), Keras Tuner's Model 1.
    """
    model = keras.Sequential([keras.Input(input_shape)], name="tuner_cnn_deep")
    model.add(layers.Conv2D(conv1_filters, conv1_kernel, activation="relu"))
    for _ in range(4):
        model.add(layers.Conv2D(conv2_filters, conv2_kernel, activation="relu"))
        model.add(layers.Dropout(0.5))
        model.add(layers.BatchNormalization())
    model.add(layers.Flatten())
    model.add(layers.Dense(dense_units, activation="relu"))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model


def tuner_cnn_shallow(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    conv1_filters: int = 112,
    conv1_kernel: int = 3,
    conv2_filters: int = 64,
    conv2_kernel: int = 5,
    dense_units: int = 96,
) -> keras.Model:
    """Four convolutions ("5 layers"), none of them padded or pooled; the defaults are the best values of its source.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning), Keras Tuner's Model 2.
    """
    model = keras.Sequential([keras.Input(input_shape)], name="tuner_cnn_shallow")
    model.add(layers.Conv2D(conv1_filters, conv1_kernel, activation="relu"))
    for _ in range(3):
        model.add(layers.Conv2D(conv2_filters, conv2_kernel, activation="relu"))
        model.add(layers.Dropout(0.5))
        model.add(layers.BatchNormalization())
    model.add(layers.Flatten())
    model.add(layers.Dense(dense_units, activation="relu"))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model

"""Every network of the catalogue at its full size, and what the notebooks do with networks."""

from __future__ import annotations

import ast
import inspect
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group  # as published weights are stored

from bakeoff.lab import models
from bakeoff.lab.models import airbench, pretrained
from bakeoff.lab.models.size import count_parameters
from bakeoff.params import load_parameters
from docs import networks

GRAY, COLOR = (32, 32, 1), (32, 32, 3)
GENERIC = {"dense_network": {"units": [8]}, "conv_pool_network": {"filters": [4, 8]}}
SMALL = {"filters": [4, 8], "kernel_size": 3, "padding": "valid", "dense_units": 8}


@dataclass(frozen=True)
class Entry:
    """A variant's network as the catalogue has it."""

    parameters: int
    trainable: int
    image_size: int = 0
    input_shape: tuple[int, int, int] = COLOR
    num_classes: int = 10
    outputs: int = 10
    base: int | None = None
    gflop: float | None = None


CATALOGUE = {
    "ann": Entry(12_230_010, 12_230_010),
    "simple_cnn": Entry(167_562, 167_562),
    "gray_cnn": Entry(535_658, 535_658, input_shape=GRAY),
    "gray_grid": Entry(7_378_762, 7_378_762, input_shape=GRAY),
    "gray_tuned": Entry(2_267_338, 2_267_338, input_shape=GRAY),
    "tutorial_cnn": Entry(156_074, 156_074),
    "batchnorm_cnn": Entry(1_517_450, 1_515_658),
    "scratch_cnn": Entry(1_250_858, 1_250_858),
    "vgg16_imagenet": Entry(138_357_544, 138_357_544, outputs=1000),
    "vgg16_dog_features": Entry(15_239_489, 524_801, image_size=64, num_classes=1, outputs=1, base=14_714_688),
    "tuner_cnn_deep": Entry(940_458, 940_074),
    "tuner_cnn_shallow": Entry(2_379_818, 2_379_434),
    "resnet50_transfer": Entry(40_899_018, 40_583_370, image_size=256, base=23_587_712, gflop=10.1),
    "vgg16_transfer": Entry(19_049_866, 18_983_946, image_size=256, base=14_714_688, gflop=40.1),
    "inceptionv3_transfer": Entry(31_544_682, 31_362_410, image_size=256, base=21_802_784, gflop=7.7),
    "augmented_cnn": Entry(45_738, 45_738),
    "batchnorm_ablation": Entry(1_513_866, 1_513_866),
    "mobilenetv2_transfer": Entry(425_579, 12_810, image_size=160, base=410_208),
    "speedrun_cnn": Entry(1_973_944, 1_971_352),
    "efficientnetv2_finetune": Entry(5_932_122, 5_810_906, image_size=160, base=5_919_312),
}
# augmented_inceptionv3 and augmented_inceptionv3_fixed are inceptionv3_transfer's network,
# vgg16_transfer_fixed is vgg16_transfer's.


@lru_cache(maxsize=2)  # the large ones together would take gigabytes
def built(variant: str) -> keras.Model:
    entry = CATALOGUE[variant]
    return models.build(variant, entry.input_shape, entry.num_classes, image_size=entry.image_size)


def small(num_classes: int = 3, input_shape: tuple[int, int, int] = (12, 12, 3), **more: Any) -> keras.Model:
    return models.build("conv_pool_network", input_shape, num_classes, options=SMALL, **more)


def answer(model: keras.Model, batch: np.ndarray) -> Any:
    """What a network or several outputs of it give, as numpy arrays; quicker than predict for one batch."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(batch, training=False))


def size(weights: list[keras.Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def images(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(first, second) for first, second in pairs)


def record(folder: Path, model: keras.Model, builder: str, options: Mapping[str, Any], **more: Any) -> models.Network:
    shape, outputs = tuple(model.input_shape[1:]), model.output_shape[-1]
    facts = {"weights": "none", "image_size": 0, "seed": 0} | more
    return models.describe(
        model, folder, builder=builder, options=options, input_shape=shape, num_classes=outputs, **facts
    )


@pytest.mark.parametrize("variant", CATALOGUE)
def test_the_catalogues_network(variant: str) -> None:
    entry, model = CATALOGUE[variant], built(variant)
    assert model.input_shape == (None, *entry.input_shape)
    assert model.output_shape == (None, entry.outputs)
    assert model.count_params() == entry.parameters
    assert size(model.trainable_weights) == entry.trainable
    if entry.base:
        assert model.get_layer("base").count_params() == entry.base
    if entry.gflop:
        assert models.forward_gflop(model) == pytest.approx(entry.gflop, abs=0.05)


def test_every_variant_has_a_network_and_every_network_a_variant() -> None:
    used = {parameters.stage["builder"] for parameters in load_parameters(None, "full")}
    assert used == set(CATALOGUE) == set(models.networks()) - set(GENERIC)


@pytest.mark.parametrize("builder", models.networks())
def test_a_listing_is_short_and_is_the_code_that_runs(builder: str) -> None:
    text = models.listing(builder)
    assert text.startswith(f"def {builder}(")
    tree = ast.parse(text)
    for function in tree.body:
        function.body = function.body[isinstance(function.body[0], ast.Expr) :]  # without docstrings and comments
    assert len(ast.unparse(tree).split("\n")) <= 40 and max(map(len, text.splitlines())) <= 120
    runs = inspect.unwrap(models.find_network(builder))
    module = ast.parse(inspect.getsource(inspect.getmodule(runs)))
    functions = {each.name: ast.dump(each) for each in module.body if isinstance(each, ast.FunctionDef)}
    printed = {each.name: ast.dump(each) for each in ast.parse(text).body}
    assert runs.__name__ == builder and printed.items() <= functions.items()


@pytest.mark.parametrize("options", [{}, {"dropout": 0.2}, {"dense_dropout": 0.3, "l2": 1e-4}])
def test_only_what_the_options_say_stands_in_a_generic_network(options: dict[str, float]) -> None:
    model = models.build("conv_pool_network", (12, 12, 3), 3, options=SMALL | options)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Dropout") == sum("dropout" in name for name in options)
    assert kinds.count("Conv2D") == kinds.count("MaxPooling2D") == 2
    penalty = model.layers[0].kernel_regularizer
    assert (penalty is None) if "l2" not in options else float(penalty.l2) == pytest.approx(1e-4)


def test_the_ablation_is_the_batchnorm_network_without_batchnorm() -> None:
    def others(variant: str) -> list[tuple[str, tuple[int, ...]]]:
        layers = built(variant).layers
        return [(type(x).__name__, x.output.shape) for x in layers if type(x).__name__ != "BatchNormalization"]

    assert others("batchnorm_cnn") == others("batchnorm_ablation")
    assert len(built("batchnorm_cnn").layers) - len(built("batchnorm_ablation").layers) == 7


@pytest.mark.parametrize("builder", models.networks())
def test_small_gray_images_and_three_classes_and_the_same_from_its_file(builder: str, tmp_path: Path) -> None:
    if builder == "vgg16_imagenet":
        pytest.skip("half a gigabyte; it shares its preparation of images with the other bases")
    model, batch = models.build(builder, (28, 28, 1), 3, options=GENERIC.get(builder, {})), images((2, 28, 28, 1))
    predicted = answer(model, batch)
    assert predicted.shape == (2, 3)
    assert predicted.sum(axis=1) == pytest.approx(1, abs=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(answer(loaded, batch), predicted)
    assert [w.shape for w in loaded.weights] == [w.shape for w in model.weights]
    assert [layer.trainable for layer in loaded.layers] == [layer.trainable for layer in model.layers]


@pytest.mark.parametrize("builder", ["dense_network", "batchnorm_cnn", "speedrun_cnn"])
def test_one_class_is_one_sigmoid_unit(builder: str) -> None:
    options = GENERIC.get(builder, {})
    model = models.build(builder, (16, 16, 3), 1, options=options)
    predicted = answer(model, images((5, 16, 16, 3)))
    assert predicted.shape == (5, 1)
    assert np.all((predicted > 0) & (predicted < 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"builder": "conv_pol_network"}, "unknown builder 'conv_pol_network': did you mean 'conv_pool_network'?"),
        ({"options": SMALL | {"filter": 3}}, "unknown option of conv_pool_network 'filter': did you mean 'filters'?"),
        ({"options": SMALL | {"image_size": 3}}, "unknown option of conv_pool_network 'image_size'"),
        ({"options": {"padding": "same"}}, "conv_pool_network needs the option filters"),
        ({"weights": "imagnet"}, "unknown weights 'imagnet': did you mean 'imagenet'?"),
        ({"input_shape": (8, 8, 3)}, "; take larger images or another network"),
        ({"input_shape": (32, 32)}, "a network needs images (height, width, channels)"),
        ({"num_classes": 0}, "a class or more"),
        ({"builder": "vgg16_imagenet", "options": {"dropout": 1}}, "unknown option of vgg16_imagenet 'dropout'"),
        (
            {"builder": "vgg16_dog_features", "options": {}, "input_shape": (32, 32, 4)},
            "see one or three channels, not 4",
        ),
        ({"builder": "speedrun_cnn", "options": {}, "input_shape": (8, 8, 3)}, "cannot be built for images of 8x8x3"),
    ],
)
def test_mistakes_are_named_kindly(arguments: dict[str, Any], message: str) -> None:
    whole = {"builder": "conv_pool_network", "input_shape": COLOR, "num_classes": 3, "options": SMALL} | arguments
    with pytest.raises(ValueError) as caught:
        models.build(**whole)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_had_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("no_proxy", "")
    sentence = r"^the ImageNet weights of MobileNetV2 are not stored here .* or set weights to random$"
    with pytest.raises(ValueError, match=sentence):
        models.build("mobilenetv2_transfer", COLOR, 10, weights="imagenet")


def test_weights_of_the_wanted_size_come_before_those_for_224_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for seed, side in enumerate((224, 160)):
        keras.utils.set_random_seed(seed)
        published = keras.applications.MobileNetV2(
            alpha=0.35, input_shape=(32, 32, 3), include_top=False, pooling="avg", weights=None
        )
        name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_{side}_no_top.h5"
        with h5py.File(tmp_path / "models" / name, "w") as file:
            save_weights_to_hdf5_group(file, published)
        model = models.build("mobilenetv2_transfer", COLOR, 3, weights="imagenet", image_size=48)
        assert same_weights(model.get_layer("base"), published)


def test_batchnorm_of_efficientnet_keeps_its_statistics_when_it_is_trained() -> None:
    model = models.build("efficientnetv2_finetune", COLOR, 3)
    norms = [each for each in model.get_layer("base").layers if isinstance(each, keras.layers.BatchNormalization)]
    before = [weight for layer in norms for weight in layer.get_weights()]
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)  # a graph for one step takes longer
    model.train_on_batch(images((4, 32, 32, 3)), np.arange(4) % 3)
    after = [weight for layer in norms for weight in layer.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_seed_decides_the_weights() -> None:
    assert same_weights(small(seed=3), small(seed=3))
    assert not same_weights(small(seed=3), small(seed=4))


def test_random_weights_are_no_weights() -> None:
    arguments = {"options": {}, "image_size": 32}
    one, other = (
        models.build("mobilenetv2_transfer", COLOR, 3, weights=weights, **arguments) for weights in ("none", "random")
    )
    assert same_weights(one, other)


@pytest.mark.parametrize(
    ("builder", "options", "image_size"),
    [
        ("conv_pool_network", SMALL, 0),
        ("speedrun_cnn", {}, 0),
        ("mobilenetv2_transfer", {}, 48),
    ],
)
def test_rebuild_gives_the_same_bits(tmp_path: Path, builder: str, options: dict[str, Any], image_size: int) -> None:
    model = models.build(builder, COLOR, 3, options=options, image_size=image_size, seed=5)
    record(tmp_path, model, builder, options, image_size=image_size, seed=5)
    keras.utils.set_random_seed(99)
    assert same_weights(model, models.rebuild(tmp_path))


def test_describe_writes_what_open_network_reads(tmp_path: Path) -> None:
    model = built("batchnorm_cnn")
    network = record(tmp_path, model, "batchnorm_cnn", {})
    assert network == models.open_network(tmp_path)
    assert (network.parameters, network.trainable_parameters, network.non_trainable_parameters) == (
        1_517_450,
        1_515_658,
        1_792,
    )
    assert sum(row.parameters for row in network.layers) == network.parameters
    assert sum(row.gflop for row in network.layers) == pytest.approx(network.forward_gflop)
    stored = json.loads((tmp_path / "network.json").read_text())
    assert stored["input_shape"] == [32, 32, 3]
    assert stored["layers"][1]["settings"]["kernel_size"] == [4, 4]
    summary = (tmp_path / "summary.txt").read_text()
    assert "Total params: 1,517,450" in summary
    assert "(Conv2D)" in summary
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.json", "summary.txt"]


def test_the_untrained_networks_on_record_are_what_is_built(tmp_path: Path) -> None:
    networks.write(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*")}
    assert made == {path.relative_to(networks.NETWORKS): path.read_text() for path in networks.NETWORKS.rglob("*.*")}


def test_a_nested_base_is_one_row(tmp_path: Path) -> None:
    network = record(tmp_path, built("mobilenetv2_transfer"), "mobilenetv2_transfer", {})
    base = next(row for row in network.layers if row.name == "base")
    assert base.contains > 150
    assert (base.output_shape, base.parameters, base.trainable_parameters) == ((1280,), 410_208, 0)


@pytest.mark.parametrize(
    ("builder", "options"),
    [
        ("vgg16_dog_features", {}),
        ("mobilenetv2_transfer", {}),
        ("efficientnetv2_finetune", {}),
    ],
)
def test_base_and_head_are_the_whole(builder: str, options: dict[str, Any]) -> None:
    model = models.build(builder, COLOR, 4, options=options, image_size=48)
    base, head = models.split_base(model)
    batch = images((3, *COLOR)) * 50
    features = answer(base, batch)
    assert np.array_equal(answer(head, features), answer(model, batch))
    assert size(base.weights) + size(head.weights) == size(model.weights)
    if builder != "efficientnetv2_finetune":
        assert base.trainable_weights == []
        assert size(head.trainable_weights) == size(model.trainable_weights)


def test_a_trained_head_is_the_models_own() -> None:
    model = models.build("mobilenetv2_transfer", COLOR, 3, image_size=32)
    base, head = models.split_base(model)
    features = answer(base, images((8, *COLOR)))
    head.layers[1].adapt(features)
    head.compile("sgd", "sparse_categorical_crossentropy")
    head.fit(features, np.arange(8) % 3, verbose=0)
    expected = answer(head, features)
    assert answer(model, images((8, *COLOR))) == pytest.approx(expected, abs=1e-6)


def test_without_a_base_there_is_nothing_to_split() -> None:
    with pytest.raises(ValueError, match="conv_pool_network has no layer named base to split after"):
        models.split_base(small())


@pytest.mark.parametrize(
    ("side", "image_size", "smallest", "factor"),
    [
        (32, 256, 32, 8),
        (32, 96, 32, 3),
        (32, 64, 32, 2),
        (32, 64, 75, 3),
        (32, 75, 75, 3),
        (32, 0, 32, 1),
        (32, 0, 75, 3),
        (28, 256, 32, 9),
        (28, 28, 32, 2),
        (96, 64, 32, 1),
    ],
)
def test_upsampling_factor(side: int, image_size: int, smallest: int, factor: int) -> None:
    assert pretrained.upsampling_factor((side, side, 3), image_size, smallest) == factor


@pytest.mark.parametrize(("image_size", "steps"), [(256, [2, 2, 2]), (96, [3]), (64, [2]), (0, [])])
def test_upsampling_layers(image_size: int, steps: list[int]) -> None:
    model = models.build("vgg16_transfer", COLOR, 10, image_size=image_size)
    found = [layer.size for layer in model.layers if isinstance(layer, keras.layers.UpSampling2D)]
    assert found == [(step, step) for step in steps]


def test_whitening_decorrelates_the_patches() -> None:
    # Neighbouring pixels that go together, as in photographs.
    mixed = images((60, 13, 13, 3))
    smooth = mixed[:, 1:, 1:] + mixed[:, :-1, 1:] + mixed[:, 1:, :-1]
    kernel, bias = airbench.whitening_weights(smooth)
    assert kernel.shape == (2, 2, 3, 24)
    assert kernel.dtype == bias.dtype == np.float32
    assert not bias.any()
    assert np.array_equal(kernel[..., :12], -kernel[..., 12:])
    responses = keras.ops.convert_to_numpy(keras.ops.conv(smooth, kernel[..., :12])).reshape(-1, 12)
    covariance = responses.T @ responses / len(responses)
    assert covariance == pytest.approx(np.eye(12), abs=0.02)


def test_whitening_weights_fit_their_layer() -> None:
    for channels in (1, 3):
        model = models.build("speedrun_cnn", (12, 12, channels), 4)
        layer = model.get_layer("whitening")
        assert [weight.path for weight in layer.trainable_weights] == [layer.bias.path]
        layer.set_weights(airbench.whitening_weights(images((4, 12, 12, channels))))


def test_whitening_refuses_what_has_no_patches() -> None:
    with pytest.raises(ValueError, match="2x2 or more"):
        airbench.whitening_weights(images((4, 1, 5, 3)))


def test_speedrun_convolutions_pass_their_input_through() -> None:
    model = built("speedrun_cnn")
    convolutions = [each for each in model.layers if isinstance(each, keras.layers.Conv2D) and each.name != "whitening"]
    assert len(convolutions) == 6
    for convolution in convolutions:
        channels = convolution.kernel.shape[2]
        x = images((1, 6, 6, channels))
        passed = keras.ops.convert_to_numpy(convolution(x))
        assert passed[..., :channels] == pytest.approx(x, abs=1e-6)
        rest = keras.ops.convert_to_numpy(convolution.kernel)[..., channels:]
        assert rest.size == 0 or 0 < np.abs(rest).max() <= (9 * channels) ** -0.5


def test_speedrun_logits_are_scaled() -> None:
    model = built("speedrun_cnn")
    batch = images((2, *COLOR))
    reach = keras.Model(model.input, [model.layers[-4].output, model.get_layer("logits").output])
    pooled, logits = answer(reach, batch)
    kernel = model.get_layer("logits").get_weights()[0]
    assert logits == pytest.approx(pooled @ kernel / 9, rel=1e-4, abs=1e-5)
    softmax = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    assert answer(model, batch) == pytest.approx(softmax, abs=1e-6)


def test_a_network_larger_than_memory_is_refused_before_any_is_taken() -> None:
    begun = time.monotonic()
    with pytest.raises(ValueError, match=r"a network of 40,0\d\d,\d{3},\d{3} parameters takes 160 GB, and this"):
        models.build("dense_network", (8, 8, 1), 10, options={"units": [200_000, 200_000]})
    assert time.monotonic() - begun < 20


def test_counting_parameters_beforehand_leaves_no_trace() -> None:
    count = count_parameters(lambda: built("speedrun_cnn"))
    assert count == CATALOGUE["speedrun_cnn"].parameters
    assert same_weights(small(seed=3), small(seed=3))
    keras.utils.clear_session()
    assert keras.layers.Dense(1).name == "dense"

"""Parameter files: what is merged, what is limited, and what each wrong input is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError, ParameterError, RequestError
from bakeoff.params import DIRECTORY, PROFILES, RENAMED, load_parameters, options, own_network, variant_names
from tests.conftest import Workplace

CATALOGUE = 23


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DIRECTORY, tmp_path / "params")
    return tmp_path / "params"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_variant_loads_in_every_profile(profile: str) -> None:
    catalogue = load_parameters(None, profile)
    assert len(catalogue) == CATALOGUE
    parameters = load_parameters(variant_names(), profile)
    assert {each.variant for each in parameters if not each.run["hypothesis_of"]} == {
        each.variant for each in catalogue
    }
    assert all(each.run["family"] and each.run["title"] for each in parameters)


def test_a_hypothesis_is_run_by_name_and_shows_the_figures_of_the_variant_that_it_is_about(folder: Path) -> None:
    (mine,) = folder.glob("variants/tutorial_cnn_batch32.yaml")
    assert "tutorial_cnn_batch32" not in {each.variant for each in load_parameters(None, "full", (), folder)}
    tutorial, batch32 = load_parameters(["tutorial_cnn", "tutorial_cnn_batch32"], "full", (), folder)
    assert batch32.stage["published"] == tutorial.stage["published"] != {}
    mine.write_text(mine.read_text().replace("hypothesis_of: tutorial_cnn", "hypothesis_of: tutorial"))
    with pytest.raises(ParameterError, match="'hypothesis_of' is 'tutorial'; did you mean 'tutorial_cnn"):
        load_parameters(["tutorial_cnn_batch32"], "full", (), folder)


def test_full_is_the_catalogue_and_overrides_nothing() -> None:
    assert not any(each.overrides for each in load_parameters(None, "full"))


def test_a_variant_overrides_the_base_and_a_profile_only_lowers() -> None:
    (full,), (quick,) = load_parameters(["ann"], "full"), load_parameters(["ann"], "quick")
    assert (full.stage["optimizer"], full.stage["epochs"], full.stage["batch_size"]) == ("sgd", 5, 32)
    assert quick.stage["epochs"] == 3
    assert quick.stage["max_train_examples"] == 4000
    assert "epochs 3 (catalogue: 5)" in quick.overrides


def test_a_setting_wins_over_the_limit_and_is_named() -> None:
    (ann,) = load_parameters(["ann"], "quick", ["epochs=7"])
    assert ann.stage["epochs"] == 7
    assert ann.overrides == ("epochs 7 (catalogue: 5)",)


def test_large_batches_are_cut_to_more_steps() -> None:
    gray, small = load_parameters(["gray_cnn", "inceptionv3_transfer"], "quick")
    assert (gray.stage["batch_size"], small.stage["batch_size"]) == (32, 20)
    assert "batch_size 32 (catalogue: 500)" in gray.overrides


def test_few_images_are_shown_as_often_as_ranking_takes_at_most_as_published() -> None:
    (quick,) = load_parameters(["simple_cnn"], "quick")
    assert (quick.stage["epochs"], quick.overrides) == (3, ("epochs 3 (catalogue: 10)",))
    whole, some = quick.of_few_images(120), quick.of_few_images(1000)
    assert (whole.stage["epochs"], whole.overrides) == (10, ())
    assert (some.stage["epochs"], some.overrides) == (5, ("epochs 5 (catalogue: 10)",))
    assert quick.of_few_images(50_000) == quick and quick.of_few_images(0) == quick
    (tutorial,) = load_parameters(["tutorial_cnn"], "quick")  # trains on four fifths
    assert tutorial.of_few_images(1000).stage["epochs"] == 7
    for limits in ({"profile": "smoke"}, {"profile": "quick", "settings": ["epochs=3"]}):
        (asked,) = load_parameters(["simple_cnn"], **limits)
        assert asked.of_few_images(120) == asked


def test_a_grid_of_all_points_is_counted_and_limited() -> None:
    (full,), (quick,) = load_parameters(["gray_grid"], "full"), load_parameters(["gray_grid"], "quick")
    assert full.stage["search_trials"] == 144
    assert quick.stage["search_trials"] == 8
    assert "search_trials 8 (catalogue: 144)" in quick.overrides


def test_numbers_written_as_people_write_them(folder: Path) -> None:
    (variant,) = load_parameters(["vgg16_transfer"], "full")
    assert variant.stage["learning_rate"] == 2e-5
    (variant,) = load_parameters(["ann"], "full", ["learning_rate=1E-3"], folder)
    assert variant.stage["learning_rate"] == 1e-3


@pytest.mark.parametrize("text", ["010", "1e1", "10.0", "1.0e+1", "+10"])
def test_whole_numbers_are_decimal_and_may_have_an_exponent(text: str) -> None:
    (ann,) = load_parameters(["ann"], "full", [f"epochs={text}"])
    assert ann.stage["epochs"] == 10
    assert isinstance(ann.stage["epochs"], int)


def test_the_numbers_of_a_list_are_of_one_kind(folder: Path) -> None:
    text = "search: tuner\nsearch_space: {dropout: [0, 0.25, 0.5], dense_units: [8, 16]}\nlearning_rate: 1\n"
    (folder / "variants" / "mine.yml").write_text(text, encoding="utf-8")
    (mine,) = load_parameters(["mine"], "full", (), folder)
    assert repr(mine.stage["search_space"]) == "{'dropout': [0.0, 0.25, 0.5], 'dense_units': [8, 16]}"
    assert repr(mine.stage["learning_rate"]) == "1.0"


def test_lists_can_be_searched(folder: Path) -> None:
    text = "search: tuner\nsearch_space: {filters: [[16, 32], [32, 64]]}\n"
    (folder / "variants" / "mine.yml").write_text(text, encoding="utf-8")
    (mine,) = load_parameters(["mine"], "full", (), folder)
    assert mine.stage["search_space"] == {"filters": [[16, 32], [32, 64]]}


def test_a_yml_file_is_a_variant_and_a_hidden_one_is_none(folder: Path) -> None:
    (folder / "variants" / "mine.yml").write_text("epochs: 3\n", encoding="utf-8")
    (folder / "variants" / "._mine.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert "mine" in variant_names(folder)
    assert not any(name.startswith(".") for name in variant_names(folder))
    (folder / "variants" / "mine.yaml").write_text("epochs: 4\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"mine\.yaml and mine\.yml; keep one"):
        load_parameters(["mine"], "full", (), folder)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_told_utf_8_and_the_line(folder: Path, encoding: str) -> None:
    (folder / "variants" / "mine.yaml").write_bytes("epochs: 3\nrun: {title: Größe}\n".encode(encoding))
    with pytest.raises(ParameterError, match=rf"mine\.yaml:{2 if encoding == 'latin-1' else 1}: .* as UTF-8"):
        load_parameters(["mine"], "full", (), folder)


def test_a_byte_order_mark_is_no_letter(folder: Path) -> None:
    (folder / "variants" / "mine.yaml").write_bytes("\ufeffepochs: 3\n".encode())
    (mine,) = load_parameters(["mine"], "full", (), folder)
    assert mine.stage["epochs"] == 3


def test_an_old_name_is_told_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for old, new in (("passes", "epochs"), ("optimizer_options.moment", "momentum"), ("trainer=quick", "fit")):
        monkeypatch.setitem(RENAMED, old, new)
    for setting in ("passes=3", "optimizer_options={moment: 0.9}", "trainer=quick"):
        with pytest.raises(ParameterError, match=r"is now called '(epochs|momentum|fit)'$"):
            load_parameters(["ann"], "full", [setting])


def test_the_options_of_every_network_and_trainer_have_their_bounds() -> None:
    kinds = [options.builder(name, own_network.find).options for name in options.builders()]
    kinds += list(options.TRAINERS.values())
    unbounded = {
        name for each in kinds for name, kind in each.items() if "value" in kind.words.replace("each value", "")
    }
    assert not unbounded


@pytest.mark.parametrize("optimizer", sorted(options.OPTIMIZER))
def test_the_options_of_optimizers_are_those_of_keras(optimizer: str) -> None:
    import inspect

    import keras

    taken = set(inspect.signature(type(keras.optimizers.get(optimizer))).parameters)
    taken -= {"learning_rate", "name", "kwargs"}
    assert set(options.OPTIMIZER[optimizer]) == taken


def test_the_bounds_of_augmentation_are_those_of_the_lab() -> None:
    from bakeoff.lab import augmentation

    assert set(options.AUGMENTATION) == set(augmentation.OPTIONS)


def test_the_result_cannot_be_changed() -> None:
    (ann,) = load_parameters(["ann"], "full")
    with pytest.raises(TypeError):
        ann.stage["epochs"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("epoch: 3", ":1", ["'epoch'", "did you mean 'epochs'?"]),
        ("epochs: 3\nepochs: 4", ":2", ["'epochs'", "twice", "line 1"]),
        ("epochs: many", ":1", ["'epochs'", "'many'", "a whole number"]),
        ("epochs: 1.5", ":1", ["a whole number"]),
        ("epochs: true", ":1", ["a whole number"]),
        ("epochs: -1", ":1", ["between 0"]),
        ("epochs:", ":1", ["is empty"]),
        ("learning_rate: .nan", ":1", ["a number"]),
        ("scaling: unti", ":1", ["did you mean 'unit'?"]),
        ("builder: dense_netwrk", ":1", ["did you mean 'dense_network'?"]),
        ("builder_options: {filter: 3}", ":1", ["no 'filter'", "did you mean 'filters'?"]),
        ("augmentation: {rotate: 3}", ":1", ["no 'rotate'"]),
        ("search: grid", "", ["'search_space'", "is empty"]),
        ("search_space: {unit: [1]}", ":1", ["no 'unit'"]),
        ('"a\\nb": 1', ":1", ["cannot be a name"]),
        ("import: 1", ":1", ["cannot be a name"]),
        ("epochs: !!python/object/apply:os.system [ls]", ":1", ["is a tag"]),
        ("epochs: !!binary aGk=", ":1", ["tag"]),
        ("builder_options: &x {a: *x}", "", ["write the value out"]),
        ("epochs: [1", ":", ["cannot be read"]),
        ("- epochs", ":1", ["name: value"]),
        ("run:\n  famly: dense", ":2", ["'famly'", "did you mean 'family'?"]),
        ("run: 3", ":1", ["name: value"]),
        ("run:\n\ttitle: x", ":2", ["a tab"]),
        ("epochs:\t3\n\tseed: 1", ":", ["a tab"]),
        ("epochs: 1:30", ":1", ["'1:30'", "a whole number"]),
        ("augmentation: {shift: -1}", ":1", ["'shift' -1", "from 0 to below 1"]),
        ("augmentation: {horizontal_flip: 1}", ":1", ["true or false"]),
        ("augmentation: {crop_padding: 1.5}", ":1", ["a whole number"]),
        ("optimizer_options: {momentum: 2}", ":1", ["no 'momentum' for adam"]),
        ("optimizer: sgd\noptimizer_options: {momentum: 2}", ":2", ["'momentum' 2", "from 0 to 1"]),
        ("optimizer: sgd\noptimizer_options: {momentm: 0.9}", ":2", ["did you mean 'momentum'?"]),
        ("optimizer: sgd\noptimizer_options: {clipnorm: 1, clipvalue: 1}", ":2", ["give one of them"]),
        ("trainer_options: {mirror: true}", ":1", ["no 'mirror' for trainer fit", "takes none"]),
        ("trainer: fine_tune", ":1", ["no base"]),
        ("trainer: staged", ":1", ["now called 'fine_tune'"]),
        ("task: binary", "", ["'loss'", "binary_crossentropy"]),
        ("gray_weights: [1, 2]", ":1", ["three numbers"]),
        ("builder_options: {filters: [32], kernel_size: 3, padding: diagonal, dense_units: 8}", ":1", ["'diagonal'"]),
        ("builder_options: {filters: [32], kernel_size: 3, padding: 3, dense_units: 8}", ":1", ["same, valid"]),
        ("builder_options: {filters: [0], kernel_size: 3, padding: same, dense_units: 8}", ":1", ["from 1"]),
        ("builder_options: {filters: 32, kernel_size: [3], padding: same, dense_units: 8}", ":1", ["a whole number"]),
        ("builder_options: {kernel_size: 3, padding: same}", ":1", ["lacks filters"]),
        ("search: tuner\nsearch_space: {filters: [{a: 1}, {b: 2}]}", ":2", ["'filters' a mapping"]),
        ("search: tuner\nsearch_space: {filters: [[16, 32], [32, 0]]}", ":2", ["the value [32, 0]"]),
        ("search: tuner\nsearch_space: {filters: [[16, 32], 64]}", ":2", ["several kinds"]),
        ("search: tuner\nsearch_space: {dropout: [[0.1], [0.2]]}", ":2", ["the value [0.1]"]),
        ("search: grid\nsearch_space: {filters: [[16, 32], []]}", ":2", ["[]"]),
        ("search: tuner\nsearch_space: {padding: [same, 1]}", ":2", ["several kinds"]),
        ("search: grid\nsearch_space: {padding: [same, diagonal]}", ":2", ["'diagonal'"]),
        ("search: grid\nsearch_space: {optimizer: [adam, adm]}", ":2", ["'adm'"]),
        ("search: tuner\nsearch_space: {dropout: {min: 0, max: 2, step: 0.5}}", ":2", ["below 1"]),
        ("search: tuner\nsearch_space: {dense_units: {min: 1, max: 100000, step: 1}}", ":2", ["larger"]),
        ("weights: imagenet", ":1", ["conv_pool_network takes no weights"]),
        ("builder: efficientnetv2_finetune\nweights: imagenet", "", ["'weights_file'"]),
    ],
)
def test_a_wrong_line_gets_one_sentence(folder: Path, line: str, place: str, words: list[str]) -> None:
    (folder / "variants" / "mine.yaml").write_text(line + "\n")
    with pytest.raises(ParameterError) as caught:
        load_parameters(["mine"], "full", (), folder)
    message = str(caught.value)
    assert "\n" not in message
    assert f"params/variants/mine.yaml{place}" in message or (not place and "mine.yaml" in message)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("setting", ["epochs", "=3", "epochs=x", "epoch=3", "epochs=[", "max_epochs=0"])
def test_a_wrong_setting_names_itself(setting: str) -> None:
    with pytest.raises(ParameterError, match="--set"):
        load_parameters(["ann"], "full", [setting])


def test_unknown_variant_and_profile_are_told_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'simple_cnn'"):
        load_parameters(["simple_cn"], "full")
    with pytest.raises(RequestError, match="did you mean 'quick'"):
        load_parameters(["ann"], "quik")


def test_a_profile_may_only_limit(folder: Path) -> None:
    (folder / "profiles" / "quick.yaml").write_text("epochs: 3\n")
    with pytest.raises(ParameterError, match="only limits"):
        load_parameters(["ann"], "quick", (), folder)


def test_a_file_that_is_not_text_is_no_crash(folder: Path) -> None:
    (folder / "variants" / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BakeoffError, match=r"mine\.yaml"):
        load_parameters(["mine"], "full", (), folder)


def test_a_typo_is_answered_before_anything_heavy_is_imported(workplace: Workplace) -> None:
    done = workplace.run("--variants", "ann", "--set", "epoch=3")
    assert done.returncode == 2
    assert done.stderr.strip() == "pipeline.py: --set epoch=3: 'epoch' is not a parameter; did you mean 'epochs'?"
    assert not workplace.reports.exists()

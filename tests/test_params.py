"""Parameter files: what is merged, what is limited, and what each wrong input is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError, ParameterError, RequestError
from bakeoff.params import DIRECTORY, PROFILES, load_parameters, variant_names
from tests.conftest import Workplace

CATALOGUE = 22


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DIRECTORY, tmp_path / "params")
    return tmp_path / "params"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_variant_loads_in_every_profile(profile: str) -> None:
    parameters = load_parameters(None, profile)
    assert len(parameters) == len(variant_names()) == CATALOGUE
    assert all(each.run["family"] and each.run["title"] for each in parameters)


def test_full_is_the_catalogue_and_departs_from_nothing() -> None:
    assert not any(each.departures for each in load_parameters(None, "full"))


def test_a_variant_overrides_the_base_and_a_profile_only_lowers() -> None:
    (full,), (quick,) = load_parameters(["ann"], "full"), load_parameters(["ann"], "quick")
    assert (full.stage["optimizer"], full.stage["epochs"], full.stage["batch_size"]) == ("sgd", 5, 32)
    assert quick.stage["epochs"] == 3
    assert quick.stage["max_train_examples"] == 4000
    assert "epochs 3 (catalogue: 5)" in quick.departures


def test_a_setting_wins_over_the_limit_and_is_named() -> None:
    (ann,) = load_parameters(["ann"], "quick", ["epochs=7"])
    assert ann.stage["epochs"] == 7
    assert ann.departures == ("epochs 7 (catalogue: 5)",)


def test_a_grid_of_all_points_is_counted_and_limited() -> None:
    (full,), (quick,) = load_parameters(["gray_grid"], "full"), load_parameters(["gray_grid"], "quick")
    assert full.stage["search_trials"] == 144
    assert quick.stage["search_trials"] == 8
    assert "search_trials 8 (catalogue: 144)" in quick.departures


def test_numbers_written_as_people_write_them(folder: Path) -> None:
    (variant,) = load_parameters(["vgg16_transfer"], "full")
    assert variant.stage["learning_rate"] == 2e-5
    (variant,) = load_parameters(["ann"], "full", ["learning_rate=1E-3"], folder)
    assert variant.stage["learning_rate"] == 1e-3


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

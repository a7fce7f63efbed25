"""The claims file, and the audit of it against small hand-made results."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from bakeoff import claims
from bakeoff.claims import Claim, audit, log_values, whole_logs
from bakeoff.claims.checks import CHECKS
from bakeoff.claims.evidence import Evidence, Run
from bakeoff.claims.measured import Measured, binary_accuracy, difference_of_best, seconds_difference
from bakeoff.claims.outcomes import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, UNDECIDED, Outcome, direction, together
from bakeoff.errors import RequestError
from bakeoff.lab.differences import paired_difference
from bakeoff.params import DIRECTORY, load_parameters, variant_names
from bakeoff.pipeline import Pipeline, Request
from tests.conftest import Workplace
from tests.stubs import commit, make_stub_project

CLAIMS = claims.read_claims(DIRECTORY)
TOLERANCES = claims.read_tolerances(DIRECTORY)
WHOLE = whole_logs(CLAIMS)
# What the sources hold, counted by hand, and what the catalogue adds to it
KINDS = {"number": 263, "example": 14, "ordering": 13, "contradiction": 9, "argument": 3}
ADDED = {"parameters": 26, "conclusion": 4, "hypothesis": 3}
METRICS = {
    *("parameters", "trainable_parameters", "fixed_parameters", "base_parameters", "million parameters before / after"),
    *("accuracy", "train_accuracy", "train_loss", "validation_accuracy", "validation_loss"),
    *("test_accuracy", "test_loss", "epoch_seconds", "train_seconds", "train_hours"),
}
IMAGENET = {name.variant for name in load_parameters(None, "full") if name.stage["weights"] == "imagenet"}
MACHINE = {"backend": "tensorflow", "device": "cpu", "cores": 2}
STEP = {"machine": MACHINE, "key_inputs": {"settings": {"device": "cpu", "threads": 1}}, "ran_alone": True}
GRID = {
    "filters": ("16", "32", "64"),
    "l1": ("0.001", "0.01"),
    "pool_size": ("2", "4"),
    "dropout": ("0.2", "0.5"),
    "dense_units": ("256", "512"),
    "optimizer": ("adam", "sgd", "rmsprop"),
}
SCALING = "pixels /255, which VGG16's weights do not expect, explain its 55 %"
# How much each value adds to a point's accuracy, so that the grid comes out as the source has it
WORTH = {"64": 0.08, "16": 0.04, "0.001": 0.05, "0.2": 0.05, "512": 0.04, "adam": 0.08, "rmsprop": 0.04}
FIGURES: dict[str, dict[str, float]] = {
    "ann": {"test_accuracy": 0.48, "train_seconds": 352},
    "simple_cnn": {"train_seconds": 244},
    "tuner_cnn_deep": {"train_seconds": 300},
    "tuner_cnn_shallow": {"train_seconds": 200},
    "resnet50_transfer": {"train_seconds": 9000},
    "vgg16_transfer": {"train_seconds": 9000},
    "inceptionv3_transfer": {"train_seconds": 6300},
    "batchnorm_ablation": {"test_accuracy": 0.75},
    "augmented_inceptionv3": {"test_accuracy": 0.0978},
    "augmented_inceptionv3_fixed": {"test_accuracy": 0.4, "train_accuracy": 0.51},
    "vgg16_transfer_fixed": {"test_accuracy": 0.7},
}
LAYERS = {
    "tuner_cnn_deep": ["Conv2D"] * 5 + ["Dense"] * 2,
    "resnet50_transfer": ["Functional"],
    "vgg16_transfer": ["Functional"],
    "inceptionv3_transfer": ["Functional"],
}


def stated(variant: str, metric: str, default: float) -> float:
    found = [
        each for each in WHOLE if each.variant == variant and each.metric == metric and each.kind != "contradiction"
    ]
    return float(found[0].value) if found else default


def row(variant: str, **more: Any) -> dict[str, Any]:
    """A row of results.csv as a full run on CIFAR-10 would give it, with the figures of the source."""
    accuracy = stated(variant, "test_accuracy", stated(variant, "accuracy", 0.5))
    source = next((each.source for each in CLAIMS if each.variant == variant and each.source), "")
    base = {"variant": variant, "source": source, "status": "ok", "message": "", "limited": "", "dataset": "cifar10"}
    base |= {"weights": "imagenet" if variant in IMAGENET else "none", "test_images": 10000, "test_accuracy": accuracy}
    base |= {"test_loss": stated(variant, "test_loss", 1.0), "parameters": stated(variant, "parameters", 1000.0)}
    base |= {"train_accuracy": stated(variant, "train_accuracy", 0.9), "train_seconds": 100.0, "optimizer_steps": 9000}
    return base | FIGURES.get(variant, {}) | more


def write(folder: Path, variant: str) -> dict[str, str]:
    """The files of a variant's finished stages, as the source would have them; stage -> folder."""
    folders = {stage: folder / variant / stage for stage in ("build", "search", "train")}
    for each in folders.values():
        each.mkdir(parents=True)
    logs = {each.metric: log_values(each.log) for each in WHOLE if each.variant == variant and each.log}
    epochs = {"gray_cnn": 10, "gray_tuned": 10, "scratch_cnn": 30}.get(variant, max(map(len, logs.values()), default=5))
    columns = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss", "epoch_seconds")
    with (folders["train"] / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", *(name.replace("epoch_seconds", "seconds") for name in columns)])
        for epoch in range(1, epochs + 1):
            values = [logs.get(name, {}).get(epoch, stated(variant, name, 0.6)) for name in columns]
            writer.writerow([epoch, *values])
    (folders["train"] / "step.json").write_text(json.dumps(STEP))
    whole, trainable = stated(variant, "parameters", 1000), stated(variant, "trainable_parameters", 1000)
    kinds = [{"kind": kind, "contains": 0, "parameters": 0} for kind in LAYERS.get(variant, ["Dense"])]
    for layer in kinds:
        if layer["kind"] == "Functional":
            layer |= {"contains": 9, "parameters": stated(variant, "base_parameters", 0)}
    stage = load_parameters([variant], "full")[0].stage
    options = {**stage["builder_options"], **stage["published"].get("best", {})}  # what a search finds is an option
    network = {"options": options, "trainable_parameters": trainable, "layers": kinds}
    network |= {"non_trainable_parameters": whole - trainable}
    (folders["build"] / "network.json").write_text(json.dumps(network))
    write_grid(folders["search"])
    return {stage: str(each) for stage, each in folders.items()}


def write_grid(folder: Path, worth: dict[str, float] = WORTH, points: int = 144) -> None:
    best = {"values": dict.fromkeys(GRID, ""), "points_run": points, "points_total": 144, "test_images": 10000}
    (folder / "best.json").write_text(json.dumps(best))
    with (folder / "trials.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", *GRID, "test_accuracy"])
        for trial, values in enumerate(itertools.islice(itertools.product(*GRID.values()), points), start=1):
            # A little that belongs to the point alone, the same on every machine
            noise = 0.004 * ((trial * 37) % 11 - 5) / 5
            writer.writerow([trial, *values, 0.3 + sum(worth.get(value, 0) for value in values) + noise])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    root = tmp_path_factory.mktemp("world")
    return {variant: write(root, variant) for variant in variant_names()}


def evidence(folders: dict[str, dict[str, str]], *changes: dict[str, Any]) -> Evidence:
    """A full run of every variant that agrees with the sources, but for the changed rows."""
    changed = {each["variant"]: each for each in changes}
    runs = {name: [Run(row(name) | changed.get(name, {}), folders[name])] for name in folders}
    return Evidence(runs, CLAIMS, TOLERANCES)


def judged(found: Evidence, variant: str, metric: str, kind: str = "") -> audit.Finding:
    """The finding about one claim."""
    (finding,) = [
        each
        for each in audit.audit(found)
        if (each.claim.variant, each.claim.metric) == (variant, metric) and kind in ("", each.claim.kind)
    ]
    return finding


def test_an_accuracy_that_no_epoch_came_near_is_called_implausible(folders: dict[str, dict[str, str]]) -> None:
    low = row("augmented_cnn", test_accuracy=0.7)  # its epochs: 0.6 on validation images, 0.6 on training images
    words = judged(evidence(folders, low), "augmented_cnn", "accuracy").outcome.reason
    assert words.startswith("15.0 points less here; its 95 % interval, 69.1 to 70.9 % (10000 test images), lies"), words
    assert "outside the 3 points allowed; implausible for this network" in words
    assert "nearer than 0.6000" in words
    low = row("simple_cnn", test_accuracy=0.6)  # its log reaches 0.795 on training images
    assert "implausible" not in judged(evidence(folders, low), "simple_cnn", "test_accuracy").outcome.reason


# The file


def test_every_claim_of_the_sources_is_there() -> None:
    assert Counter(claim.kind for claim in CLAIMS) == KINDS | ADDED
    assert sum(KINDS.values()) == 302


def test_every_claims_variants_metric_check_and_tolerance_are_known() -> None:
    for claim in CLAIMS:
        assert set(claim.variants) <= set(variant_names()), claim
        assert claim.needs, claim
        assert claim.kind not in ("number", "parameters") or claim.metric in METRICS, claim
        for words, tolerance in claim.checks:
            assert words[0] in CHECKS and tolerance in TOLERANCES, claim
    used = {tolerance for claim in CLAIMS for _, tolerance in claim.checks}
    assert used == set(TOLERANCES)
    assert all(each.reason for each in TOLERANCES.values())


def test_what_a_training_shows_needs_the_same_data_schedule_and_weights() -> None:
    for claim in CLAIMS:
        network = "network" in claim.needs
        assert not claim.check or network or claim.needs.startswith("cifar10; full schedule"), claim
        if claim.check and not network and set(claim.variants) & IMAGENET:
            assert "ImageNet weights" in claim.needs, claim


def test_ratios_are_taken_to_what_the_source_prints() -> None:
    printed = {"train_seconds": "train_hours", "epoch_seconds": "epoch_seconds"}
    for claim in CLAIMS:
        for words, _ in claim.checks:
            if words[0] == "ratio":
                (other,) = [
                    each
                    for each in WHOLE
                    if (each.variant, each.metric, each.kind) == (words[2], printed[words[1]], "number")
                ]
                values = list(log_values(other.log).values()) or other.numbers
                assert float(words[3]) == pytest.approx(sum(values) / len(values))


def test_accuracies_move_less_between_late_epochs_than_the_tolerance_allows() -> None:
    for claim in WHOLE:
        if claim.metric == "validation_accuracy" and len(log_values(claim.log)) == 20:
            late = list(log_values(claim.log).values())[-5:]
            assert max(late) - min(late) < TOLERANCES["accuracy"].amount


def test_a_log_is_one_claim_with_its_last_epoch() -> None:
    (log,) = [each for each in WHOLE if each.variant == "tutorial_cnn" and each.metric == "validation_loss"]
    assert (log.epoch, log.value, len(log_values(log.log))) == ("20", "1.6659", 20)
    assert len([each for each in CLAIMS if each.where == "training log"]) == 238
    assert len([each for each in WHOLE if each.log]) == 27


def test_the_pages_figures_are_the_claims() -> None:
    by_name = {each.variant: each.stage["published"] for each in load_parameters(None, "full")}
    assert by_name["simple_cnn"]["test_accuracy"] == 0.6970999
    assert by_name["batchnorm_cnn"]["trainable"] == 1515658
    assert by_name["resnet50_transfer"]["accuracy"] == 0.924
    # The source's last loss is that of epoch 4 of 5, and no final figure.
    assert "train_loss" not in by_name["augmented_inceptionv3"]
    assert by_name["speedrun_cnn"] == {}
    assert "test_accuracy" not in by_name["ann"]
    for path in (DIRECTORY / "variants").glob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if line.startswith("published:")]
        assert all(line.startswith("published: {best:") for line in lines), path


@pytest.mark.parametrize("variant", ["gray_grid", "tuner_cnn_deep", "tuner_cnn_shallow"])
def test_a_searchs_best_point_is_the_claims(variant: str) -> None:
    (claim,) = [each for each in CLAIMS if each.variant == variant and each.metric == claims.BEST]
    words = claim.check.split()[1:] if claim.check else claim.value.split()
    best = load_parameters([variant], "full")[0].stage["published"]["best"]
    assert dict(word.split("=") for word in words) == {name: str(value) for name, value in best.items()}


@pytest.mark.parametrize("text", ["source,variant\na,b\n", "source\na,b\n"])
def test_a_claims_file_without_its_columns_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(RequestError, match=r"claims.csv:2: a claim needs"):
        claims.read_claims(tmp_path)
    assert claims.read_claims(tmp_path / "nowhere") == []


def test_a_check_needs_a_tolerance(tmp_path: Path) -> None:
    names = ["source", "variant", "where", "metric", "epoch", "value", "kind", "note", "against", "check"]
    (tmp_path / "claims.csv").write_text(",".join([*names, "tolerance", "needs"]) + "\na,,,m,,1,number,,,result x,,\n")
    with pytest.raises(RequestError, match="needs a tolerance for each check"):
        claims.read_claims(tmp_path)


# The audit


def test_a_run_that_agrees_reproduces_everything_that_can_be(folders: dict[str, dict[str, str]]) -> None:
    found = audit.audit(evidence(folders))
    assert len(found) == len(WHOLE)
    wrong = {each.claim.metric for each in found if each.outcome.status == NOT_REPRODUCED}
    assert wrong == set()
    # The claims without a check and those that need predictions, and of the contradictions none
    untested = [each.claim for each in found if each.outcome.status == NOT_TESTED]
    assert {claim.check for claim in untested} == {"", "result binary_accuracy", "predicts 3 8 8 0 6"}
    undecided = {each.claim.metric for each in found if each.outcome.status == UNDECIDED}
    assert undecided == {"tuned beats first by"}
    assert all(each.outcome.reason for each in found)


CHANGES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("simple_cnn", "test_accuracy", "number", {"test_accuracy": 0.74}),
    ("simple_cnn", "test_loss", "number", {"test_loss": 1.3}),
    ("gray_cnn", "test_accuracy", "number", {"test_accuracy": 0.636}),
    ("resnet50_transfer", "accuracy", "number", {"test_accuracy": 0.8}),
    ("ann", "parameters", "parameters", {"parameters": 12230011}),
    ("resnet50_transfer", "million parameters before / after", "number", {"parameters": 50_000_000}),
    ("inceptionv3_transfer", "train_hours", "number", {"train_seconds": 90_000}),
    ("resnet50_transfer", "train_hours", "contradiction", {"train_seconds": 90_000}),
    ("batchnorm_cnn", "test_accuracy", "contradiction", {"test_accuracy": 0.7}),
    ("inceptionv3_transfer", "best of all seven", "ordering", {"test_accuracy": 0.6}),
    ("augmented_inceptionv3", "raw validation images explain the result", "hypothesis", {"test_accuracy": 0.6}),
    ("vgg16_transfer", SCALING, "hypothesis", {"test_accuracy": 0.8}),
    ("tutorial_cnn", "overfitted", "conclusion", {"test_accuracy": 0.92}),
]


@pytest.mark.parametrize(("variant", "metric", "kind", "change"), CHANGES)
def test_a_run_that_differs_does_not_reproduce(
    folders: dict[str, dict[str, str]], variant: str, metric: str, kind: str, change: dict[str, Any]
) -> None:
    as_claimed = judged(evidence(folders), variant, metric, kind)
    assert as_claimed.outcome.status == REPRODUCED
    finding = judged(evidence(folders, row(variant) | change), variant, metric, kind)
    assert finding.outcome.status == NOT_REPRODUCED
    assert finding.outcome.ours and finding.outcome.difference is not None and finding.outcome.tolerance is not None


SHARED: list[tuple[str, str, dict[str, Any]]] = [
    ("cnn better than ann with less computation", "ann", {"test_accuracy": 0.9}),
    ("tuned beats first by", "gray_cnn", {"test_accuracy": 0.62}),
    ("fewer layers: better and faster", "tuner_cnn_shallow", {"train_seconds": 900}),
    ("gain by BatchNorm", "batchnorm_cnn", {"test_accuracy": 0.7}),
    ("BatchNorm is the reason for the gain", "batchnorm_ablation", {"test_accuracy": 0.9}),
]


@pytest.mark.parametrize(("metric", "variant", "change"), SHARED)
def test_a_conclusion_about_several_variants_can_fail(
    folders: dict[str, dict[str, str]], metric: str, variant: str, change: dict[str, Any]
) -> None:
    # By the source's own figures a gain of over 10 points, 11.8, is not certain enough on 10 000 images.
    as_claimed = evidence(folders, *([row("gray_tuned", test_accuracy=0.70)] if variant == "gray_cnn" else []))
    assert judged(as_claimed, "", metric).outcome.status == REPRODUCED
    assert judged(evidence(folders, row(variant) | change), "", metric).outcome.status == NOT_REPRODUCED
    gone = evidence(folders)
    gone = replace(gone, runs={name: runs for name, runs in gone.runs.items() if name != variant})
    finding = judged(gone, "", metric)
    assert (finding.outcome.status, finding.outcome.reason) == (NOT_TESTED, f"{variant} is not part of this run")


@pytest.mark.parametrize("column", ["train_accuracy", "validation_accuracy", "validation_loss"])
def test_a_log_is_judged_by_its_whole_curve(folders: dict[str, dict[str, str]], tmp_path: Path, column: str) -> None:
    found = evidence(folders)
    assert judged(found, "tutorial_cnn", column).outcome.status == REPRODUCED
    text = (Path(folders["tutorial_cnn"]["train"]) / "history.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))

    def judge(changed: list[dict[str, str]]) -> audit.Finding:
        with (tmp_path / "history.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(changed)
        run = Run(row("tutorial_cnn"), folders["tutorial_cnn"] | {"train": str(tmp_path)})
        return judged(replace(found, runs={"tutorial_cnn": [run]}), "tutorial_cnn", column)

    last = judge(rows).outcome.ours
    for epoch in (1, 9, 20):  # one epoch that is far off is enough, and it is named; ours stays the last epoch's
        far = judge([each | {column: "0.01"} if each["epoch"] == str(epoch) else each for each in rows]).outcome
        assert far.status == NOT_REPRODUCED and f"farthest at epoch {epoch}, 0.0100 against" in far.reason
        assert far.ours == ("0.0100" if epoch == 20 else last)
    factor = 1.0 if column.endswith("accuracy") else float(rows[4][column])
    amount = 1.5 * TOLERANCES["accuracy" if factor == 1.0 else "loss"].amount * factor
    near = judge([*rows[:4], rows[4] | {column: str(float(rows[4][column]) + amount)}, *rows[5:]]).outcome
    assert near.status == UNDECIDED and "farthest at epoch 5" in near.reason and near.reason.count("undecided") == 1
    assert judge([*rows[:-1], rows[-1] | {column: ""}]).outcome.reason.endswith(f"has no {column}")
    assert "did not reach epoch 20" in judge(rows[:-1]).outcome.reason
    assert "shows 19 of the log's 20 epochs" in judge(rows[1:]).outcome.reason


def test_a_contradiction_says_which_side_ours_is_on(folders: dict[str, dict[str, str]]) -> None:
    for accuracy, words in ((0.81, "agrees with 0.8318, not with 0.8600"), (0.845, "agrees with both")):
        finding = judged(
            evidence(folders, row("batchnorm_cnn", test_accuracy=accuracy)),
            "batchnorm_cnn",
            "test_accuracy",
            "contradiction",
        )
        assert finding.outcome.status == REPRODUCED and words in finding.outcome.reason
    layers = judged(evidence(folders), "tuner_cnn_deep", "layers")
    assert layers.outcome.reason.startswith("ours agrees with 2, not with 6")


def test_a_copy_that_lacks_images_tells_which_of_two_numbers_cannot_be(folders: dict[str, dict[str, str]]) -> None:
    for images, status, words in (
        (9980, REPRODUCED, "rules out 1000; it can be 10000; the source gives both"),
        (10_000, REPRODUCED, "rules out 1000; it can be 10000; the source gives both"),
        (10_001, NOT_REPRODUCED, "rules out 1000 and 10000"),
        (1000, NOT_TESTED, "holds 1000 test images, which rules out neither"),
    ):
        outcome = judged(evidence(folders, row("simple_cnn", test_images=images)), "", "test images").outcome
        assert outcome.status == status and words in outcome.reason


def test_examples_of_predictions_are_looked_for_with_every_seed(
    folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    def of(name: str, predicted: Sequence[int], labels: Sequence[int] = (3, 8, 8, 0, 6)) -> Run:
        (tmp_path / name).mkdir()
        ids = np.array([f"{number:05d}" for number in range(len(labels))])
        arrays = {"labels": np.array(labels), "probabilities": np.eye(10)[list(predicted)]}
        np.savez(tmp_path / name / "predictions.npz", ids=ids, **arrays)
        accuracy = float(np.mean(np.equal(predicted, labels)))
        more = {"test_accuracy": accuracy, "test_images": len(labels)}
        return Run(row("simple_cnn", **more), folders["simple_cnn"] | {"evaluate": str(tmp_path / name)})

    def judge(*runs: Run) -> Outcome:
        found = replace(evidence(folders), runs={"simple_cnn": runs})
        return judged(found, "simple_cnn", "first five predicted classes").outcome

    same, frog, others = of("same", (3, 8, 8, 0, 4)), of("frog", (3, 8, 8, 0, 6)), of("others", range(5), range(5))
    assert judge(same).status == REPRODUCED
    assert judge(frog, frog).status == NOT_REPRODUCED and judge(frog).reason == "4 of 5 the same"
    assert judge(same, frog).status == UNDECIDED
    assert judge(others).status == NOT_TESTED and "are others" in judge(others).reason
    assert "not stored" in judge(Run(row("simple_cnn"), folders["simple_cnn"])).reason


@pytest.mark.parametrize(
    ("metric", "worth"),
    [
        ("sgd is the worst optimizer", {"adam": -0.02, "rmsprop": 0.02}),
        ("adam beats rmsprop", {"adam": 0.0}),
        ("smaller regularizer wins", {"0.001": -0.03}),
        ("more dense units win", {"512": -0.03}),
        ("lower dropout wins", {"0.2": -0.03}),
        ("medium first layer is worse", {"32": 0.1}),
        ("best point", {"32": 0.2}),
    ],
)
def test_the_grid_is_judged_as_a_whole(
    folders: dict[str, dict[str, str]], tmp_path: Path, metric: str, worth: dict[str, float]
) -> None:
    found = evidence(folders)
    run = Run(row("gray_grid"), folders["gray_grid"] | {"search": str(tmp_path)})
    found = replace(found, runs={"gray_grid": [run]})
    for points, values, status in (
        (144, WORTH, REPRODUCED),
        (144, WORTH | worth, NOT_REPRODUCED),
        (24, WORTH, NOT_TESTED),
    ):
        write_grid(tmp_path, values, points)
        fresh = replace(found, runs={"gray_grid": [Run(run.row, run.folders)]})
        assert judged(fresh, "gray_grid", metric).outcome.status == status
    assert "24 of 144 points" in judged(fresh, "gray_grid", metric).outcome.reason
    write_grid(tmp_path, {})
    even = replace(found, runs={"gray_grid": [Run(run.row, run.folders)]})
    assert judged(even, "gray_grid", metric).outcome.reason.startswith("undecided")


def test_what_chance_gives_decides_nothing(folders: dict[str, dict[str, str]]) -> None:
    near = evidence(folders, row("ann", test_accuracy=0.69), row("simple_cnn", test_accuracy=0.70, test_images=1000))
    finding = judged(near, "", "cnn better than ann with less computation")
    assert finding.outcome.status == UNDECIDED and "undecided: 1.0 points apart" in finding.outcome.reason


@pytest.mark.parametrize(
    ("accuracy", "images", "status"),
    [
        # Wilson's interval by statsmodels: of 1 000 images 2.8 points either way, of 10 000 images 0.9, of 10 none
        (0.7000, 10_000, REPRODUCED),  # 69.1 to 70.9 against 69.7: within 3 points
        (0.7000, 1_000, UNDECIDED),  # 67.1 to 72.8: within 3.1, but not 3
        (0.7400, 1_000, UNDECIDED),
        (0.7350, 10_000, UNDECIDED),  # 72.6 to 74.4: 2.9 to 4.7 away
        (0.7400, 10_000, NOT_REPRODUCED),  # 73.1 to 74.8: 3.4 to 5.1 away
        (0.7300, 100, UNDECIDED),  # a smaller test set never makes it easier
        (0.7000, 10, UNDECIDED),
    ],
)
def test_a_smaller_test_set_decides_less(
    folders: dict[str, dict[str, str]], accuracy: float, images: int, status: str
) -> None:
    changed = evidence(folders, row("simple_cnn", test_accuracy=accuracy, test_images=images))
    found = judged(changed, "simple_cnn", "test_accuracy").outcome
    low, high = proportion_confint(round(accuracy * images), images, method="wilson")
    stated, allowed = 0.6970999, TOLERANCES["accuracy"].amount
    assert found.bounds == pytest.approx((low - stated, high - stated))
    within, outside = abs(low - stated) <= allowed >= abs(high - stated), low - stated > allowed
    assert found.status == (REPRODUCED if within else NOT_REPRODUCED if outside else UNDECIDED)
    assert found.status == status
    assert f"{images} test images" in found.reason and "3 points" in found.reason


def replicated(
    found: Evidence, variant: str, folders: dict[str, str], column: str, values: Sequence[float]
) -> Evidence:
    runs = [Run(row(variant) | {column: value}, folders) for value in values]
    return replace(found, runs={**found.runs, variant: runs})


def test_the_mean_over_replicates_is_judged(folders: dict[str, dict[str, str]]) -> None:
    found = replicated(evidence(folders), "simple_cnn", folders["simple_cnn"], "test_accuracy", (0.69, 0.71))
    failed = Run(row("simple_cnn", status="failed", message="out of memory"), {})
    runs = [*found.runs["simple_cnn"], failed]
    finding = judged(replace(found, runs={"simple_cnn": runs}), "simple_cnn", "test_accuracy", "number")
    assert (finding.outcome.status, finding.outcome.ours) == (REPRODUCED, "0.7000")


def test_from_three_seeds_on_the_interval_counts_them(folders: dict[str, dict[str, str]]) -> None:
    values = (0.66, 0.70, 0.74)
    found = replicated(evidence(folders), "simple_cnn", folders["simple_cnn"], "test_accuracy", values)
    outcome = judged(found, "simple_cnn", "test_accuracy").outcome
    seeds = stats.t.interval(0.95, 2, loc=0.70, scale=stats.sem(values))
    low, high = proportion_confint(7000, 10_000, method="wilson")
    reach = (seeds[1] - seeds[0]) / 2
    expected = (0.70 - math.hypot(0.70 - low, reach) - 0.6970999, 0.70 + math.hypot(high - 0.70, reach) - 0.6970999)
    assert outcome.status == UNDECIDED and outcome.bounds == pytest.approx(expected)
    assert "10000 test images and 3 seeds" in outcome.reason


def test_a_training_figure_has_an_interval_from_three_seeds_on(
    folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    found = evidence(folders)

    def judge(*figures: float) -> Outcome:
        runs = []
        for number, figure in enumerate(figures):
            folder = tmp_path / f"{len(figures)}-{number}"
            folder.mkdir(exist_ok=True)
            (folder / "history.csv").write_text(f"epoch,train_accuracy\n5,{figure}\n")
            runs.append(Run(row("simple_cnn"), folders["simple_cnn"] | {"train": str(folder)}))
        fresh = replace(found, runs={"simple_cnn": runs})
        return judged(fresh, "simple_cnn", "train_accuracy", "contradiction").outcome

    # The source gives .70 and .7153: within one tolerance of either, beyond two of both, between
    assert (judge(0.73).status, judge(0.80).status, judge(0.76).status) == (REPRODUCED, NOT_REPRODUCED, UNDECIDED)
    assert judge(0.73).bounds is None and judge(0.72, 0.74).bounds is None
    three = judge(0.70, 0.73, 0.76)
    assert three.status == UNDECIDED
    expected = np.array(stats.t.interval(0.95, 2, loc=0.73, scale=stats.sem((0.70, 0.73, 0.76)))) - 0.70
    assert three.bounds == pytest.approx(tuple(expected))
    assert judge(0.72, 0.7201, 0.7202).status == REPRODUCED


def predictions(folder: Path, correct: np.ndarray, confidence: float = 0.7, ids: int = 0) -> dict[str, str]:
    """predictions.npz and metrics.json of a network of ten classes that got these images right."""
    folder.mkdir(parents=True)
    labels = np.arange(len(correct)) % 10
    probabilities = np.full((len(correct), 10), (1 - confidence) / 9)
    probabilities[np.arange(len(correct)), np.where(correct, labels, (labels + 1) % 10)] = confidence
    names = np.array([f"{ids + number:06d}" for number in range(len(correct))])
    np.savez(folder / "predictions.npz", ids=names, labels=labels, probabilities=probabilities)
    (folder / "metrics.json").write_text(json.dumps({"loss_name": "sparse_categorical_crossentropy"}))
    return {"evaluate": str(folder)}


def test_a_test_loss_has_the_interval_of_its_mean_over_images(
    folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    correct = np.random.default_rng(0).random(1000) < 0.75
    more = predictions(tmp_path / "evaluate", correct)
    losses = np.where(correct, -np.log(0.7), -np.log(0.3 / 9))
    run = Run(row("simple_cnn", test_loss=losses.mean(), test_images=1000), folders["simple_cnn"] | more)
    outcome = judged(replace(evidence(folders), runs={"simple_cnn": [run]}), "simple_cnn", "test_loss").outcome
    low, high = DescrStatsW(losses).tconfint_mean()
    assert outcome.bounds == pytest.approx((low - 0.9480656, high - 0.9480656))
    assert (
        outcome.status == UNDECIDED and "15 % of a loss" in outcome.reason
    )  # its interval reaches over the 0.14 allowed
    other = replace(run, row=run.row | {"test_loss": 0.95})  # not that of these predictions: of no use to it
    outcome = judged(replace(evidence(folders), runs={"simple_cnn": [other]}), "simple_cnn", "test_loss").outcome
    assert outcome.bounds is None and outcome.status == REPRODUCED


def test_the_audit_and_the_table_of_pairs_compare_two_variants_alike(
    folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Paired by image where the predictions are stored: 71.0 against 69.0 % is clear when one alone gets 20 right."""
    first, second = np.ones(1000, bool), np.ones(1000, bool)
    first[:290], second[:310] = False, False
    sides = {"simple_cnn": first, "ann": second}
    rows = {name: row(name, test_accuracy=float(each.mean()), test_images=1000) for name, each in sides.items()}
    paths = {name: predictions(tmp_path / name, each) for name, each in sides.items()}
    runs = {name: [Run(rows[name], folders[name] | paths[name])] for name in sides}
    found = evidence(folders)
    (claim,) = [each for each in CLAIMS if each.metric == "cnn better than ann with less computation"]
    words, _ = claim.checks[0]
    tolerance = replace(TOLERANCES["order"], amount=0.005)
    outcome = CHECKS["order"](words[1:], claim, replace(found, runs=runs), tolerance)
    expected = paired_difference(first, second)
    assert outcome.difference == expected.difference and outcome.bounds == (expected.low, expected.high)
    assert outcome.status == REPRODUCED and "McNemar" in outcome.reason
    unpaired = {name: [replace(each[0], folders=folders[name])] for name, each in runs.items()}
    assert CHECKS["order"](words[1:], claim, replace(found, runs=unpaired), tolerance).status == UNDECIDED


@pytest.mark.parametrize(("confidence", "expected"), [(0.7, 1 - 2 * 0.25 / 10), (0.4, 0.9)])
def test_what_binary_accuracy_would_have_been_is_computed_from_the_predictions(
    folders: dict[str, dict[str, str]], tmp_path: Path, confidence: float, expected: float
) -> None:
    """A wrong class above a half is wrong twice, and no class above a half once, whichever is the likeliest."""
    more = predictions(tmp_path / "evaluate", np.arange(1000) % 4 > 0, confidence)
    run = Run(row("augmented_cnn", test_accuracy=0.75, test_images=1000), folders["augmented_cnn"] | more)
    with np.load(tmp_path / "evaluate" / "predictions.npz") as kept:
        by_hand = ((kept["probabilities"] > 0.5) == np.eye(10)[kept["labels"]]).mean()
    assert binary_accuracy([run]).value == pytest.approx(expected) == pytest.approx(by_hand)
    assert all(np.isfinite(binary_accuracy([run]).bounds or ()))


def test_hypotheses_stand_under_the_claims_and_do_not_count(folders: dict[str, dict[str, str]]) -> None:
    found = evidence(folders, row("tutorial_cnn_batch32", hypothesis_of="tutorial_cnn", test_accuracy=0.75))
    findings = audit.audit(found)
    at = next(i for i, each in enumerate(findings) if each.claim.metric == "test_accuracy" and each.about)
    claim, hypothesis = findings[at - 1].row, findings[at].row
    assert claim["variant"] == hypothesis["variant"] == "tutorial_cnn" and claim["ours"] == "0.6800"
    assert (hypothesis["ours"], hypothesis["hypothesis"]) == ("0.7500", "tutorial_cnn_batch32")
    assert audit.count(findings) == audit.count(audit.audit(evidence(folders)))
    assert "by tutorial_cnn_batch32: 0.68; ours 0.7500" in "\n".join(audit.describe(findings))


def test_the_parameters_of_a_source_s_best_network_are_those_of_a_hypothesis(
    folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Where our own search chose other values."""
    network = json.loads((Path(folders["tuner_cnn_deep"]["build"]) / "network.json").read_text())
    network["options"] |= {"dense_units": 32}
    (tmp_path / "network.json").write_text(json.dumps(network))
    ours = {**folders, "tuner_cnn_deep": folders["tuner_cnn_deep"] | {"build": str(tmp_path)}}
    found = judged(evidence(ours), "tuner_cnn_deep", "trainable_parameters")
    assert found.outcome.status == NOT_TESTED and "other values" in found.outcome.reason
    best = row("tuner_cnn_deep_best", hypothesis_of="tuner_cnn_deep")
    ours["tuner_cnn_deep_best"] = folders["tuner_cnn_deep"]
    found = judged(evidence(ours, best), "tuner_cnn_deep", "trainable_parameters")
    assert found.outcome.status == REPRODUCED
    assert found.outcome.reason == "the same, with the source's values (tuner_cnn_deep_best)"


def test_variants_of_different_backends_are_not_compared(folders: dict[str, dict[str, str]]) -> None:
    rows = [row("batchnorm_cnn", backend="jax"), row("batchnorm_ablation", backend="tensorflow")]
    (found,) = [
        each
        for each in audit.audit(evidence(folders, *rows))
        if each.claim.metric == "BatchNorm is the reason for the gain"
    ]
    assert found.outcome.status == NOT_TESTED
    assert "batchnorm_cnn on jax, batchnorm_ablation on tensorflow" in found.outcome.reason


def test_seconds_of_three_seeds_each_have_an_interval() -> None:
    one, other = (110.0, 112.0, 111.0), (100.0, 101.0, 99.0)
    found = seconds_difference(one, other)
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert found.value == pytest.approx(0.11) and f"p = {expected.pvalue:.2g}" in found.over
    assert found.bounds == pytest.approx([each / 100 for each in expected.confidence_interval()])
    assert seconds_difference(one[:2], other).bounds is None
    assert seconds_difference((1.0,) * 3, (2.0,) * 3).bounds is None  # no clock measures that


def test_an_order_by_accuracy_and_time_shows_both(folders: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """Of single trainings the epochs tell how much the seconds vary; what is undecided does not hide what is not."""
    runs = {}
    for name, epochs in (("tuner_cnn_deep", (30, 33, 31, 30)), ("tuner_cnn_shallow", (31, 29, 30, 32))):
        (tmp_path / name).mkdir()
        lines = [f"{number},{seconds}" for number, seconds in enumerate(epochs, start=1)]
        (tmp_path / name / "history.csv").write_text("\n".join(["epoch,seconds", *lines]))
        (tmp_path / name / "step.json").write_text(json.dumps(STEP))
        more = row(name, train_seconds=float(sum(epochs)))
        runs[name] = [Run(more, folders[name] | {"train": str(tmp_path / name)})]
    found = judged(replace(evidence(folders), runs=runs), "", "fewer layers: better and faster").outcome
    accuracy, time = found.reason.split("; train seconds ")
    assert found.status == UNDECIDED
    assert accuracy.startswith("test accuracy reproduced: by 12.4 points; 95 % interval +11.2 to +13.7")
    assert time.startswith("undecided: 1.6 % of the time apart; 95 % interval ")
    assert "Welch's t test of 4 and 4 epochs, p = " in time and time.endswith("at this distance no interval would")


def changed_step(folders: dict[str, str], folder: Path, **change: Any) -> dict[str, str]:
    """The folders with a training whose step.json is changed."""
    folder.mkdir()
    (folder / "history.csv").write_text((Path(folders["train"]) / "history.csv").read_text())
    (folder / "step.json").write_text(json.dumps(STEP | change))
    return folders | {"train": str(folder)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": MACHINE | {"device": "gpu"}}, "different machines"),
        ({"key_inputs": {"settings": {"device": "cpu", "threads": 2}}}, "other threads (ann 2, simple_cnn 1)"),
        ({"key_inputs": {"settings": {"device": "gpu", "threads": 1}}}, "other device (ann gpu, simple_cnn cpu)"),
        ({"key_inputs": {}}, "the device of their trainings are not on record"),
    ],
)
def test_seconds_compare_only_between_equal_means(
    folders: dict[str, dict[str, str]], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    found = evidence(folders)
    other = Run(row("ann"), changed_step(folders["ann"], tmp_path / "train", **change))
    found = replace(found, runs={**found.runs, "ann": [other]})
    for variant, metric in (("ann", "epoch_seconds"), ("", "cnn better than ann with less computation")):
        outcome = judged(found, variant, metric).outcome
        assert outcome.status == NOT_TESTED and words in outcome.reason, outcome
        assert outcome.difference is None and outcome.bounds is None and " s," not in outcome.ours


@pytest.mark.parametrize(
    ("alone", "words"), [(False, "; ann shared the machine with other steps"), (None, "whether ann ran beside")]
)
def test_seconds_of_steps_that_shared_the_machine_say_so(
    folders: dict[str, dict[str, str]], tmp_path: Path, alone: bool | None, words: str
) -> None:
    found = evidence(folders)
    other = Run(row("ann"), changed_step(folders["ann"], tmp_path / "train", ran_alone=alone))
    outcome = judged(replace(found, runs={**found.runs, "ann": [other]}), "ann", "epoch_seconds").outcome
    assert outcome.status == REPRODUCED and words in outcome.reason
    assert "shared" not in judged(found, "ann", "epoch_seconds").outcome.reason


LIMITS: list[dict[str, Any]] = [
    {"limited": "epochs 1 (catalogue: 5)"},
    {"dataset": "shapes10"},
    {"dataset": "mnist"},
    {"dataset": ""},
    {"weights": "random"},
    {"status": "failed", "message": "train, code cell 3: out of memory"},
    {"status": "failed", "message": ""},
    {"status": "blocked", "message": "no weights"},
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(st.sampled_from(LIMITS), min_size=1, max_size=3),
    accuracy=st.floats(0, 1),
    seconds=st.floats(0.1, 1e6),
)
def test_a_limited_run_never_refutes_a_source(
    folders: dict[str, dict[str, str]], limits: list[dict[str, Any]], accuracy: float, seconds: float
) -> None:
    change: dict[str, Any] = {"test_accuracy": accuracy, "train_seconds": seconds, "parameters": 3}
    for limit in limits:
        change |= limit
    found = audit.audit(evidence(folders, *(row(name) | change for name in folders)))
    for each in found:
        about_network = each.claim.check and "network" in each.claim.needs
        assert about_network or each.outcome.status == NOT_TESTED, each
        assert each.outcome.status != NOT_TESTED or each.outcome.difference is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, REPRODUCED),
        ({"limited": "epochs 1 (catalogue: 5); 200 of 50000 train images", "dataset": "shapes10"}, REPRODUCED),
        ({"weights": "random"}, REPRODUCED),
        ({"parameters": 7}, NOT_REPRODUCED),
        ({"limited": "epochs 1 (catalogue: 5); image_size 96 (catalogue: 256)", "parameters": 7}, NOT_TESTED),
        ({"limited": "builder_options {'units': [3]} (catalogue: x)", "parameters": 7}, NOT_TESTED),
        ({"dataset": "mnist", "parameters": 7}, NOT_TESTED),
        ({"status": "failed", "message": "x", "parameters": ""}, NOT_TESTED),
        ({"parameters": ""}, NOT_TESTED),
    ],
)
def test_a_number_of_parameters_needs_neither_data_nor_schedule(
    folders: dict[str, dict[str, str]], change: dict[str, Any], status: str
) -> None:
    finding = judged(evidence(folders, row("vgg16_transfer") | change), "vgg16_transfer", "parameters")
    assert finding.outcome.status == status


def test_a_base_keeps_its_parameters_at_any_size(folders: dict[str, dict[str, str]]) -> None:
    small = evidence(folders, row("vgg16_transfer", limited="image_size 96 (catalogue: 256)"))
    assert judged(small, "vgg16_transfer", "base_parameters").outcome.status == REPRODUCED
    assert judged(small, "vgg16_transfer", "trainable_parameters").outcome.status == NOT_TESTED


def test_a_search_that_found_other_values_has_another_network(
    folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    network = json.loads((Path(folders["tuner_cnn_deep"]["build"]) / "network.json").read_text())
    network["options"]["conv1_filters"] = 48
    (tmp_path / "network.json").write_text(json.dumps(network))
    run = Run(row("tuner_cnn_deep", parameters=5), folders["tuner_cnn_deep"] | {"build": str(tmp_path)})
    finding = judged(replace(evidence(folders), runs={"tuner_cnn_deep": [run]}), "tuner_cnn_deep", "parameters")
    assert finding.outcome.status == NOT_TESTED and "other values" in finding.outcome.reason


def test_a_selection_is_asked_only_about_its_own(folders: dict[str, dict[str, str]]) -> None:
    found = evidence(folders)
    few = audit.audit(replace(found, runs={"ann": found.runs["ann"]}))
    assert {each.claim.variant for each in few} == {"ann", ""}
    assert {each.claim.source for each in few} == {"fourstages"}
    assert audit.audit(replace(found, runs={})) == []


def test_the_audit_as_text_says_every_claim(folders: dict[str, dict[str, str]]) -> None:
    found = audit.audit(evidence(folders))
    lines = audit.describe(found)
    headings = [line for line in lines[:-1] if not line.startswith(" ")]
    assert len(lines) == len(found) + len(headings) + 1
    assert headings[0] == "ann (fourstages)" and len(headings) == len(set(headings))
    assert "reproduced: parameters, parameter table: 12230010; ours 12230010. the same." in lines[1:6][3].strip()
    assert lines[-1].startswith(f"{len(found)} claims: ")
    assert audit.describe([])[-1] == "0 claims: 0 reproduced, 0 not reproduced, 0 undecided, 0 not tested."
    read = list(csv.DictReader(audit.to_csv(found).splitlines()))
    assert [line["metric"] for line in read] == [each.claim.metric for each in found]
    assert set(read[0]) == set(audit.COLUMNS)


def test_no_claim_is_no_fault() -> None:
    claim = Claim("s", "v", "w", "m", "", "about .70", "number", "", "", "", "", "nothing")
    assert (claim.checks, claim.variants, claim.numbers) == ([], ["v"], [0.7])


# The command


def make_store(workplace: Workplace, parameters: int) -> None:
    """A store in which `ann` is finished, with files as small as the table of results needs."""
    options = ("dataset=shapes10",)
    request = Request(
        variants=("ann",),
        profile="smoke",
        settings=options,
        jobs=1,
        data_dir=workplace.root,
        runs_dir=workplace.runs,
        reports_dir=workplace.reports,
    )
    pipeline = Pipeline(request, print)
    files = {
        "dataset.json": {"available": {}},
        "network.json": {"parameters": parameters, "forward_gflop": 0.1, "layers": []},
        "training.json": {"validation_source": "none"},
        "metrics.json": {"test_accuracy": 0.1, "test_images": 60},
    }
    for step in pipeline.plan(look=False).steps:
        for name in step.stage.outputs:
            path = pipeline.store.folder(*step.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(files.get(name, {})))
        manifest = {"page_key": step.page_key, "key_inputs": step.key_inputs, "machine": MACHINE}
        commit(pipeline.store, *step.name, manifest)


@pytest.mark.parametrize(("parameters", "strict", "code"), [(12230010, True, 0), (3, True, 1), (3, False, 0)])
def test_the_command_prints_the_audit_and_strict_claims_decide_its_end(
    workplace: Workplace, parameters: int, strict: bool, code: int
) -> None:
    make_store(workplace, parameters)
    before = sorted(path for path in workplace.runs.rglob("*") if path.is_file())
    words = ["--claims", "--variants", "ann", "--profile", "smoke", "--set", "dataset=shapes10"]
    done = workplace.run(*words, *["--strict-claims"] * strict)
    assert done.returncode == code, done.stdout + done.stderr
    right = parameters == 12230010
    assert f"{int(right)} reproduced, {int(not right)} not reproduced, 0 undecided, 4 not tested" in done.stdout
    assert ("--strict-claims: 1 not reproduced." in done.stdout) == bool(code)
    assert set(before) <= {path for path in workplace.runs.rglob("*") if path.is_file()}
    assert not list(workplace.runs.rglob("notebook.ipynb")) and not workplace.reports.exists()


HISTORIES = [
    ("gray_tuned", "test accuracy flattens", "validation_accuracy", [0.1 * epoch for epoch in range(1, 11)]),
    ("tutorial_cnn", "validation peaks after epoch", "validation_accuracy", [0.01 * epoch for epoch in range(1, 21)]),
    ("simple_cnn", "train_accuracy", "train_accuracy", [0.2] * 10),
    ("batchnorm_cnn", "train_accuracy", "train_accuracy", [0.2] * 20),
    ("ann", "epoch_seconds", "seconds", [10.0] * 5),
]


@pytest.mark.parametrize(("variant", "metric", "column", "values"), HISTORIES)
def test_a_training_that_went_otherwise_does_not_reproduce(
    folders: dict[str, dict[str, str]], tmp_path: Path, variant: str, metric: str, column: str, values: list[float]
) -> None:
    kind = "contradiction" if metric in ("train_accuracy", "validation peaks after epoch") else ""
    assert judged(evidence(folders), variant, metric, kind).outcome.status == REPRODUCED
    with (tmp_path / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", column])
        writer.writerows(enumerate(values, start=1))
    (tmp_path / "step.json").write_text(json.dumps(STEP))
    found = evidence(folders)
    run = Run(row(variant), folders[variant] | {"train": str(tmp_path)})
    assert judged(replace(found, runs={**found.runs, variant: [run]}), variant, metric, kind).outcome.status == (
        NOT_REPRODUCED
    )


def curves(folders: dict[str, str], folder: Path, *curves: Sequence[float]) -> list[Run]:
    """Trainings whose validation accuracies are these, one a seed."""
    runs = []
    for number, values in enumerate(curves):
        path = folder / str(number)
        path.mkdir(parents=True)
        lines = [f"{epoch},{value}" for epoch, value in enumerate(values, start=1)]
        (path / "history.csv").write_text("\n".join(["epoch,validation_accuracy", *lines]) + "\n")
        runs.append(Run(row("tutorial_cnn"), folders | {"train": str(path)}))
    return runs


LEVEL_CURVE = [0.5, 0.6, 0.62, 0.64, 0.65, 0.66, 0.66, 0.67, 0.66, 0.66]


@pytest.mark.parametrize(
    ("later", "status"),
    [
        ([LEVEL_CURVE], REPRODUCED),
        ([[*LEVEL_CURVE[:6], 0.66, 0.3, 0.1, 0.1]], NOT_REPRODUCED),  # a collapse
        ([[*LEVEL_CURVE[:6], 0.1, 0.1, 0.66, 0.66]], NOT_REPRODUCED),  # one that is made good
        ([[*LEVEL_CURVE[:6], 0.67, 0.69, 0.69, 0.69]], UNDECIDED),
        ([[*LEVEL_CURVE[:6], 0.7, 0.72, 0.74, 0.75]], NOT_REPRODUCED),
        ([LEVEL_CURVE, LEVEL_CURVE], REPRODUCED),
        ([LEVEL_CURVE, [*LEVEL_CURVE[:6], 0.66, 0.3, 0.1, 0.1]], UNDECIDED),  # the seeds do not agree
    ],
)
def test_flat_is_neither_up_nor_down_with_every_seed(
    folders: dict[str, dict[str, str]], tmp_path: Path, later: list[list[float]], status: str
) -> None:
    runs = {"gray_tuned": curves(folders["gray_tuned"], tmp_path, *later)}
    outcome = judged(replace(evidence(folders), runs=runs), "gray_tuned", "test accuracy flattens").outcome
    assert outcome.status == status, outcome


@pytest.mark.parametrize(
    ("peaks", "status", "ours"),
    [((2,), REPRODUCED, "2"), ((18,), NOT_REPRODUCED, "18"), ((2, 18), UNDECIDED, "2; 18"), ((13,), UNDECIDED, "13")],
)
def test_a_peak_is_looked_for_with_every_seed(
    folders: dict[str, dict[str, str]], tmp_path: Path, peaks: tuple[int, ...], status: str, ours: str
) -> None:
    """The source names epoch 2 and epoch 10; the mean of 2 and 18 is neither seed's."""
    each = [[0.5 + 0.1 * (epoch == peak) for epoch in range(1, 21)] for peak in peaks]
    runs = {"tutorial_cnn": curves(folders["tutorial_cnn"], tmp_path, *each)}
    found = replace(evidence(folders), runs=runs)
    outcome = judged(found, "tutorial_cnn", "validation peaks after epoch", "contradiction").outcome
    assert (outcome.status, outcome.ours) == (status, ours), outcome


def test_parts_of_a_claim_are_combined_in_one_way() -> None:
    def of(*statuses: str) -> Outcome:
        return together([Outcome(each, each, each, "", float(at), 1.0) for at, each in enumerate(statuses)])

    assert of(REPRODUCED, NOT_REPRODUCED, NOT_TESTED, UNDECIDED).status == NOT_REPRODUCED
    assert of(REPRODUCED, NOT_TESTED, UNDECIDED).status == NOT_TESTED and of(REPRODUCED, NOT_TESTED).difference is None
    assert of(UNDECIDED, REPRODUCED).status == UNDECIDED and of(REPRODUCED, REPRODUCED).difference == 1.0


def test_an_undecided_pair_of_a_grid_does_not_vanish(folders: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """adam beats sgd clearly, rmsprop hardly: that sgd is the worst is undecided, whichever pair is nearer."""
    write_grid(tmp_path, WORTH | {"rmsprop": 0.0015})
    run = Run(row("gray_grid"), folders["gray_grid"] | {"search": str(tmp_path)})
    found = replace(evidence(folders), runs={"gray_grid": [run]})
    outcome = judged(found, "gray_grid", "sgd is the worst optimizer").outcome
    assert outcome.status == UNDECIDED and "rmsprop over sgd" in outcome.ours and "adam over sgd" in outcome.ours


def test_the_best_of_many_points_is_so_partly_by_luck() -> None:
    """143 other points of equal truth: their largest beats a fixed one by 1.96 standard errors every other time."""
    rng = np.random.default_rng(0)
    plain, corrected = 0, 0
    for _ in range(100):
        scores = rng.binomial(1000, 0.6, 144) / 1000
        others = scores[1:].max()
        plain += others - scores[0] > 1.96 * math.sqrt(2 * 0.24 / 1000)
        found = direction(difference_of_best(scores[0], others, 1000, 143), 0.0, "")
        corrected += found.status != UNDECIDED
    assert plain > 30 and corrected <= 5


def test_the_interval_that_would_decide_is_never_written_as_none() -> None:
    found = direction(Measured(0.0013, (-0.002, 0.005)), 0.001, "")
    assert found.status == UNDECIDED and found.reason.endswith("an interval of ±0.03 points would")


def test_a_training_of_no_epoch_has_no_peak(folders: dict[str, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,validation_accuracy\n")
    found = evidence(folders)
    runs = found.runs | {"tutorial_cnn": [Run(row("tutorial_cnn"), folders["tutorial_cnn"] | {"train": str(tmp_path)})]}
    outcome = judged(replace(found, runs=runs), "tutorial_cnn", "validation peaks after epoch", "contradiction").outcome
    assert outcome.status == NOT_TESTED and "did not reach epoch 1" in outcome.reason


def test_overfitting_is_looked_for_where_the_images_are_prepared_alike(folders: dict[str, dict[str, str]]) -> None:
    as_source = judged(evidence(folders), "augmented_inceptionv3", "overfitted")
    assert as_source.outcome.status == REPRODUCED
    better = evidence(folders, row("augmented_inceptionv3_fixed", test_accuracy=0.55))
    finding = judged(better, "augmented_inceptionv3", "overfitted")
    assert finding.outcome.status == NOT_REPRODUCED and "-4.0 points" in finding.outcome.reason
    few = evidence(folders, row("augmented_inceptionv3_fixed", optimizer_steps=51))
    finding = judged(few, "augmented_inceptionv3", "overfitted")
    assert finding.outcome.status == NOT_TESTED and "51 optimizer steps, and below 300" in finding.outcome.reason
    close = evidence(folders, row("augmented_inceptionv3_fixed", test_accuracy=0.46, test_images=1000))
    finding = judged(close, "augmented_inceptionv3", "overfitted")  # a gap of 5.0 points, of 1 000 test images
    assert finding.outcome.status == UNDECIDED and "+1.9 to +8.1" in finding.outcome.reason


@pytest.mark.parametrize(
    ("accuracy", "status", "words"),
    [
        (0.70, REPRODUCED, "by 4.9 points more than the 10.0 claimed"),
        (0.655, UNDECIDED, "undecided: 0.4 points from the margin claimed"),
        (0.60, NOT_REPRODUCED, "5.1 points less than the 10.0 claimed"),
    ],
)
def test_a_margin_is_part_of_the_claim(
    folders: dict[str, dict[str, str]], accuracy: float, status: str, words: str
) -> None:
    finding = judged(evidence(folders, row("gray_tuned", test_accuracy=accuracy)), "", "tuned beats first by")
    assert finding.outcome.status == status and finding.outcome.reason.startswith(words)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_step_says_whether_other_steps_ran_beside_it(stub_template: Path, tmp_path: Path, jobs: int) -> None:
    project = make_stub_project(tmp_path, stub_template, seconds=0.1)
    code, said = project.run(tmp_path, ["stub_0", "stub_1"], "--no-pdf", "--jobs", str(jobs))
    assert code == 0, said
    trainings = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "train").glob("*/step.json")]
    assert [each["ran_alone"] for each in trainings] == [jobs == 1] * 2

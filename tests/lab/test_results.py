from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bakeoff.lab import files, results
from bakeoff.lab.plots import comparison, verdict

Row = dict[str, object]


def row(variant: str, accuracy: float, **more: object) -> Row:
    """A row of results.csv that may be ranked."""
    base: Row = {"variant": variant, "status": "ok", "task": "classes", "dataset": "cifar10", "weights": "none"}
    base |= {"test_images": 1000, "test_accuracy": accuracy, "optimizer_steps": 3000, "train_seconds": 100.0}
    return base | {"parameters": 1000, "limited": ""} | more


def read(folder: Path, *rows: Row) -> results.Results:
    pd.DataFrame(list(rows)).to_csv(folder / "results.csv", index=False)
    return results.read(folder / "results.csv")


def write_predictions(folder: Path, variant: str, right: np.ndarray) -> dict[str, str]:
    labels = np.zeros(len(right), np.int64)
    chance = np.where(right, 0.9, 0.2).astype(np.float32)
    arrays = {"labels": labels, "probabilities": np.column_stack([chance, 1 - chance])}
    ids = np.array([f"test_{at}" for at in range(len(right))])
    files.write_npz(folder / variant / "predictions.npz", ids=ids, **arrays)
    return {"evaluate": str(folder / variant)}


def test_ranks_by_accuracy_and_shares_a_rank(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6), row("b", 0.8, train_seconds=9), row("c", 0.8, train_seconds=5))
    assert found.ranked["variant"].tolist() == ["c", "b", "a"]
    assert found.ranked["rank"].tolist() == [1, 1, 3]


def test_interval_is_computed_where_the_file_has_none(tmp_path: Path) -> None:
    best = read(tmp_path, row("a", 0.6)).ranked.iloc[0]
    assert (best["accuracy_low"], best["accuracy_high"]) == pytest.approx((0.5693, 0.6299), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"optimizer_steps": 299}, "299 optimizer steps, fewer than 300"),
        ({"optimizer_steps": ""}, "not known"),
        ({"weights": "random"}, "random weights in place of ImageNet's"),
        ({"task": "binary"}, "another task"),
        ({"task": "labels_only", "test_accuracy": ""}, "no accuracy"),
        ({"test_accuracy": ""}, "no test accuracy"),
        ({"test_images": 50}, "tested on 50 images of cifar10, the ranking is on 1000 of cifar10"),
        ({"dataset": "shapes10"}, "tested on 1000 images of shapes10"),
    ],
)
def test_says_why_a_row_is_not_ranked(tmp_path: Path, change: Row, reason: str) -> None:
    found = read(tmp_path, row("a", 0.6), row("b", 0.7), row("odd", 0.9) | change)
    assert found.ranked["variant"].tolist() == ["b", "a"]
    assert reason in found.below.set_index("variant").loc["odd", "reason"]


def test_every_reason_is_given(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6, weights="random", optimizer_steps=16))
    assert found.below["reason"][0].count(";") == 1 and found.ranked.empty


def test_three_hundred_steps_are_enough(tmp_path: Path) -> None:
    assert len(read(tmp_path, row("a", 0.6, optimizer_steps=300)).ranked) == 1


def test_failed_and_blocked_rows_keep_their_message(tmp_path: Path) -> None:
    lost: Row = {"variant": "x", "status": "failed", "message": "out of memory\nTraceback ..."}
    found = read(tmp_path, row("a", 0.6), lost, {"variant": "y", "status": "blocked", "message": "train failed"})
    assert found.failed["variant"].tolist() == ["x", "y"]
    assert comparison.failed(found)["message"].tolist() == ["out of memory", "train failed"]


def test_only_the_named_columns_are_needed(tmp_path: Path) -> None:
    found = read(tmp_path, {"variant": "a", "status": "ok"}, {"variant": "b", "status": "failed"})
    assert len(found.below) == 1 and len(found.failed) == 1 and found.rows["title"].tolist() == ["a", "b"]


def test_a_file_without_variants_is_refused_kindly(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="needs at least the columns variant and status"):
        results.read(tmp_path / "results.csv")


@pytest.mark.parametrize("content", ["", "variant,status\n"])
def test_an_empty_file_has_no_rows_and_no_winner(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.csv").write_text(content)
    found = results.read(tmp_path / "results.csv")
    assert found.ranked.empty and found.below.empty and found.failed.empty
    assert "no result yet" in verdict.answer(found, results.against_best(found.ranked, pd.DataFrame()))


def test_replicates_become_one_row_with_their_mean_and_spread(tmp_path: Path) -> None:
    rows = [row("a", accuracy, replicate=at, seed=at) for at, accuracy in enumerate((0.6, 0.7, 0.8))]
    best = read(tmp_path, *rows, row("b", 0.5)).ranked.iloc[0]
    assert best["test_accuracy"] == pytest.approx(0.7) and best["replicates"] == 3
    assert best["spread"] == pytest.approx(0.1)


def test_a_failed_replicate_does_not_take_its_variant_away(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6), row("a", 0.7) | {"status": "failed"})
    assert found.ranked["replicates"].tolist() == [1] and len(found.failed) == 1


def test_pairs_are_compared_on_the_same_images(tmp_path: Path) -> None:
    first = np.arange(1000) < 800
    second = first & (np.arange(1000) >= 30)
    folders = {"a": write_predictions(tmp_path, "a", first), "b": write_predictions(tmp_path, "b", second)}
    ranked = read(tmp_path, row("a", 0.8), row("b", 0.77)).ranked
    against = results.against_best(ranked, results.correctness(folders, list(ranked["variant"])))
    assert bool(against["paired"][0]) and bool(against["told_apart"][0])
    alone = results.against_best(ranked, pd.DataFrame())
    assert not alone["paired"][0] and not alone["told_apart"][0]


def test_predictions_of_another_training_are_not_paired(tmp_path: Path) -> None:
    folders = {name: write_predictions(tmp_path, name, np.arange(1000) < 500) for name in "ab"}
    ranked = read(tmp_path, row("a", 0.8), row("b", 0.77)).ranked
    against = results.against_best(ranked, results.correctness(folders, ["a", "b"]))
    assert not against["paired"][0] and against["difference"][0] == pytest.approx(0.03)


def test_variants_tested_on_other_images_are_left_out_of_correctness(tmp_path: Path) -> None:
    folders = {"a": write_predictions(tmp_path, "a", np.ones(9, bool))}
    folders["b"] = write_predictions(tmp_path, "b", np.ones(5, bool))
    folders["gone"] = {"evaluate": str(tmp_path / "gone")}
    folders["none"] = {}
    assert list(results.correctness(folders, ["a", "b", "gone", "none"]).columns) == ["a"]


def test_recalls_keep_the_classes_that_most_variants_have(tmp_path: Path) -> None:
    folders = {}
    for variant, names in {"a": "xyz", "b": "xyz", "c": "no"}.items():
        classes = [{"class_name": name, "recall": 0.5, "support": int(name != "z")} for name in names]
        files.write_json(tmp_path / variant / "metrics.json", {"per_class": classes})
        folders[variant] = {"evaluate": str(tmp_path / variant)}
    found = results.recalls(folders, ["b", "a", "c"])
    assert list(found.index) == ["b", "a"] and found["z"].isna().all() and (found["x"] == 0.5).all()


def answer(found: results.Results) -> str:
    return verdict.answer(found, results.against_best(found.ranked, pd.DataFrame()))


def test_answer_names_a_clear_winner_and_its_cost(tmp_path: Path) -> None:
    text = answer(read(tmp_path, row("a", 0.9, title="Deep", parameters=1_500_000), row("b", 0.5)))
    assert "**Deep (`a`) is first**" in text and "40.0 percentage points more" in text
    assert "1 500 000 parameters" in text and "100 s of training" in text
    assert "cannot be told apart" not in text


def test_answer_does_not_name_a_winner_where_chance_could_order_them(tmp_path: Path) -> None:
    text = answer(read(tmp_path, row("a", 0.701), row("b", 0.700, train_seconds=20), row("c", 0.2)))
    assert "cannot be told apart from `b`" in text and "cheapest of these is `b`" in text and "5.0 times less" in text


def test_answer_for_equal_accuracies_one_row_and_none(tmp_path: Path) -> None:
    assert "`a` and `b` share the first place" in answer(read(tmp_path, row("a", 0.7), row("b", 0.7)))
    assert "only variant that can be ranked" in answer(read(tmp_path, row("a", 0.7)))
    none = answer(read(tmp_path, row("a", 0.7, optimizer_steps=3), row("b", 0.8, optimizer_steps=3)))
    assert "There is no winner" in none and "is first" not in none
    assert "no variant has finished" in answer(read(tmp_path, {"variant": "a", "status": "failed"}))


def test_answer_says_what_the_figures_are_not(tmp_path: Path) -> None:
    odd = {"dataset": "shapes10", "limited": "epochs 3 of 10", "weights": "random", "validation_source": "test"}
    text = answer(read(tmp_path, row("a", 0.7, **odd), {"variant": "x", "status": "blocked"}))
    for word in ("Stand-in data", "Limited runs", "Weights missing", "A leak", "Not finished"):
        assert word in text
    assert answer(read(tmp_path, row("a", 0.7))).count("\n\n") == 0


def test_tables_of_forty_variants_are_whole(tmp_path: Path) -> None:
    rows = [row(f"v{at}", 0.5 + at / 100, limited="epochs 3 of 10" if at % 2 else "") for at in range(40)]
    found = read(tmp_path, *rows)
    against = results.against_best(found.ranked, pd.DataFrame())
    assert len(comparison.ranking(found, against)) == 40 and len(comparison.departures(found)) == 20
    assert comparison.ranking(found, against)["points behind the first"][0] == ""
    assert comparison.below(found).empty and comparison.failed(found).empty
    assert "widest gap" not in verdict.gap_words(found)


def test_words_about_images_that_only_one_gets_right() -> None:
    right = pd.DataFrame({"a": [True, True, False, False], "b": [True, False, False, False]})
    assert "1 were predicted right by all 2 variants, 2 by none, and 1 by one alone" in verdict.agreement_words(right)
    assert "no two ranked variants" in verdict.agreement_words(right[["a"]])


DURATIONS = [(0.5, "500 ms"), (4.2, "4.2 s"), (100, "100 s"), (1800, "30 min"), (9000, "2.5 h")]


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations_read_as_one_would_say_them(seconds: float, text: str) -> None:
    assert verdict.duration(seconds) == text

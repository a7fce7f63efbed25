from pathlib import Path

import pandas as pd
import pytest

from bakeoff.lab import files, pairs, results
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
        ({"unseen_classes": 2}, "training images lack classes"),
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
    assert "no result yet" in verdict.answer(found, pairs.against_best(pairs.every_pair(found, {})))


def test_replicates_become_one_row_with_their_mean_and_spread(tmp_path: Path) -> None:
    rows = [row("a", accuracy, replicate=at, seed=at) for at, accuracy in enumerate((0.6, 0.7, 0.8))]
    best = read(tmp_path, *rows, row("b", 0.5)).ranked.iloc[0]
    assert best["test_accuracy"] == pytest.approx(0.7) and best["replicates"] == 3
    assert best["spread"] == pytest.approx(0.1)


def test_a_failed_replicate_does_not_take_its_variant_away(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6), row("a", 0.7) | {"status": "failed"})
    assert found.ranked["replicates"].tolist() == [1] and len(found.failed) == 1


def test_recalls_keep_the_classes_that_most_variants_have(tmp_path: Path) -> None:
    folders = {}
    for variant, names in {"a": "xyz", "b": "xyz", "c": "no"}.items():
        classes = [{"class_name": name, "recall": 0.5, "support": int(name != "z")} for name in names]
        files.write_json(tmp_path / variant / "metrics.json", {"per_class": classes})
        folders[variant] = {"evaluate": str(tmp_path / variant)}
    rows = read(tmp_path, *(row(variant, 0.5) for variant in "abc"))
    found = results.recalls(rows, folders, ["b", "a", "c"])
    assert list(found.index) == ["b", "a"] and found["z"].isna().all() and (found["x"] == 0.5).all()


def test_trainings_of_a_variant_are_found_by_their_folders(tmp_path: Path) -> None:
    rows = [row("a", 0.6 + seed / 100, replicate=seed, seed=7 + seed) for seed in range(3)]
    found = read(tmp_path, *rows, row("b", 0.5))
    assert found.rows["folder"].tolist() == ["a", "a-1", "a-2", "b"]
    assert found.rows["label"].tolist() == ["a", "a (seed 8)", "a (seed 9)", "b"]
    folders = {}
    for number, folder in enumerate(("a", "a-1", "a-2")):
        folders[folder] = {"train": str(tmp_path / folder), "evaluate": str(tmp_path / folder)}
        files.write_csv(tmp_path / folder / "history.csv", pd.DataFrame({"epoch": range(number)}))
        classes = [{"class_name": "x", "recall": number / 4, "support": 9}]
        files.write_json(tmp_path / folder / "metrics.json", {"per_class": classes})
    assert [len(history) for history in results.histories(found, folders)["a"]] == [1, 2]
    assert results.recalls(found, folders, ["b", "a"]).to_dict() == {"x": {"a": 0.25}}


def test_rows_that_are_not_ranked_say_which_training_they_are(tmp_path: Path) -> None:
    few = [row("a", 0.6, replicate=seed, seed=seed, optimizer_steps=9) for seed in range(2)]
    found = read(tmp_path, *few, {"variant": "x", "status": "failed", "replicate": 1, "seed": 1})
    assert comparison.below(found)["variant"].tolist() == ["a", "a (seed 1)"]
    assert comparison.failed(found)["variant"].tolist() == ["x (seed 1)"]


def test_ranking_says_how_many_trainings_and_how_they_spread(tmp_path: Path) -> None:
    rows = [row("a", accuracy, replicate=at, seed=at) for at, accuracy in enumerate((0.6, 0.7, 0.8))]
    found = read(tmp_path, *rows, row("b", 0.5))
    compared = pairs.every_pair(found, {})
    letters = pairs.letters(["a", "b"], compared)
    table = comparison.ranking(found, pairs.against_best(compared), letters)
    assert table["trainings"].tolist() == [3, 1] and table["standard deviation"].tolist() == ["10.00", ""]
    assert "1 000 test images, means of 1 to 3 trainings" in comparison.ranking_caption(found)
    assert "the mean of 3 trainings" in answer(found) and "100 s of training each time" in answer(found)


def answer(found: results.Results) -> str:
    return verdict.answer(found, pairs.against_best(pairs.every_pair(found, {})))


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
    compared = pairs.every_pair(found, {})
    against, letters = pairs.against_best(compared), pairs.letters(list(found.ranked["variant"]), compared)
    assert len(comparison.ranking(found, against, letters)) == 40 and len(comparison.departures(found)) == 20
    assert comparison.ranking(found, against, letters)["points behind the first"][0] == ""
    assert comparison.below(found).empty and comparison.failed(found).empty
    assert "widest gap" not in verdict.gap_words(found)


DURATIONS = [(0.5, "500 ms"), (4.2, "4.2 s"), (100, "100 s"), (1800, "30 min"), (9000, "2.5 h")]


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations_read_as_one_would_say_them(seconds: float, text: str) -> None:
    assert verdict.duration(seconds) == text


def test_a_network_that_diverged_is_not_ranked_and_the_reason_says_so(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6), row("b", float("nan"), diverged_epoch=2, test_images=0))
    assert found.ranked["variant"].tolist() == ["a"]
    assert found.below["reason"].tolist() == ["its training diverged at epoch 2, so its answers are not numbers"]

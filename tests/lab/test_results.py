from pathlib import Path

import pandas as pd
import pytest

from bakeoff.lab import files, pairs, results
from bakeoff.lab.plots import comparison, verdict
from bakeoff.lab.ranking import HELD_OUT

Row = dict[str, object]


LONG: Row = {"train_images": 4000, "epochs": 3}
CUT: Row = {"limited": "epochs 2 (catalogue: 10)", "epochs": 2}
AT_CHANCE: Row = {"test_accuracy": 0.112, "accuracy_low": 0.094, "baseline_accuracy": 0.1}


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


def test_a_held_out_test_set_cuts_no_training(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6, limited=HELD_OUT, train_images=120, epochs=10))
    assert found.ranked["variant"].tolist() == ["a"] and found.unranked.empty


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (CUT | {"train_images": 2499}, "4998 training images in all its epochs, fewer than 5000"),
        (CUT | {"train_images": ""}, "not known"),
        (CUT | LONG | AT_CHANCE, "accuracy (0.112) is not significantly above that of the most frequent class (0.100)"),
        ({"unseen_classes": 2}, "training images lack classes"),
        ({"weights": "random"}, "random weights in place of ImageNet's"),
        ({"task": "binary"}, "another task"),
        ({"task": "labels_only", "test_accuracy": ""}, "no accuracy"),
        ({"test_accuracy": ""}, "no test accuracy"),
        ({"test_images": 50}, "tested on 50 images, the ranking on 1000"),
        ({"dataset": "shapes10"}, "tested on 1000 images of shapes10"),
    ],
)
def test_says_why_a_row_is_not_ranked(tmp_path: Path, change: Row, reason: str) -> None:
    found = read(tmp_path, row("a", 0.6), row("b", 0.7), row("odd", 0.9) | change)
    assert found.ranked["variant"].tolist() == ["b", "a"]
    assert reason in found.unranked.set_index("variant").loc["odd", "reason"]


def test_every_reason_is_given(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6, weights="random", train_images=16, **CUT))
    assert found.unranked["reason"][0].count(";") == 1 and found.ranked.empty
    others = row("b", 0.6, weights="random", train_images=16, test_images=177, **CUT)
    reason = read(tmp_path, row("a", 0.6), others).unranked["reason"][0]
    assert reason.count(";") == 2 and "tested on 177 images, the ranking on 1000" in reason


@pytest.mark.parametrize("steps", [1, 12, 299, 5000])
def test_a_rank_does_not_hang_on_the_batch_size(tmp_path: Path, steps: int) -> None:
    """Equal images shown, in few large batches or many small ones; a whole schedule is long enough whatever it is."""
    limited = row("a", 0.372, train_images=4000, optimizer_steps=steps, limited="epochs 3 (catalogue: 30)", epochs=3)
    assert read(tmp_path, limited, row("b", 0.175)).ranked["variant"].tolist() == ["a", "b"]
    assert len(read(tmp_path, row("own", 0.6, train_images=90, epochs=1, optimizer_steps=steps)).ranked) == 1


def test_a_whole_schedule_may_end_at_chance(tmp_path: Path) -> None:
    assert read(tmp_path, row("a", 0.6), row("b", 0.2) | AT_CHANCE).ranked["variant"].tolist() == ["a", "b"]


def test_failed_and_blocked_rows_keep_their_message(tmp_path: Path) -> None:
    lost: Row = {"variant": "x", "status": "failed", "message": "out of memory\nTraceback ..."}
    found = read(tmp_path, row("a", 0.6), lost, {"variant": "y", "status": "blocked", "message": "train failed"})
    assert found.failed["variant"].tolist() == ["x", "y"]
    assert comparison.failed(found)["message"].tolist() == ["out of memory", "train failed"]


def test_only_the_named_columns_are_needed(tmp_path: Path) -> None:
    found = read(tmp_path, {"variant": "a", "status": "ok"}, {"variant": "b", "status": "failed"})
    assert len(found.unranked) == 1 and len(found.failed) == 1 and found.rows["title"].tolist() == ["a", "b"]


def test_a_file_without_variants_is_refused_kindly(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="needs at least the columns variant and status"):
        results.read(tmp_path / "results.csv")


@pytest.mark.parametrize("content", ["", "variant,status\n"])
def test_an_empty_file_has_no_rows_and_no_winner(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.csv").write_text(content)
    found = results.read(tmp_path / "results.csv")
    assert found.ranked.empty and found.unranked.empty and found.failed.empty
    assert "no result yet" in verdict.answer(found, pairs.versus_best(pairs.pairwise_tests(found, {})))


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
    rows = read(tmp_path, *(row(variant, accuracy) for variant, accuracy in zip("bac", (0.7, 0.6, 0.5), strict=True)))
    found = results.recalls(rows, folders)
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
    assert results.histories(found, folders).groupby(["variant", "training"]).size().tolist() == [1, 2]
    assert results.recalls(found, folders).to_dict() == {"x": {"a": 0.25}}
    assert list(results.histories(found, {}).columns) == list(results.HISTORY)


def test_rows_that_are_not_ranked_say_which_training_they_are(tmp_path: Path) -> None:
    few = [row("a", 0.6, replicate=seed, seed=seed, train_images=9, **CUT) for seed in range(2)]
    found = read(tmp_path, *few, {"variant": "x", "status": "failed", "replicate": 1, "seed": 1})
    assert comparison.unranked(found)["variant"].tolist() == ["a", "a (seed 1)"]
    assert comparison.failed(found)["variant"].tolist() == ["x (seed 1)"]


def test_seconds_of_other_numbers_of_threads_are_marked_and_not_compared(tmp_path: Path) -> None:
    rows = [row("a", 0.8, threads=2, train_seconds=90), row("b", 0.7, threads=2, train_seconds=50)]
    alike = read(tmp_path, *rows)
    quick = read(tmp_path, *rows, row("c", 0.75, threads=1, train_seconds=5, parameters=500))
    for found, caption in ((alike, "trained on 2 threads."), (quick, "different numbers of threads do not compare.")):
        assert comparison.ranking_caption(found).endswith(caption)
    compared = pairs.pairwise_tests(quick, {})
    table = comparison.ranking(quick, pairs.versus_best(compared), pairs.letters(["a", "c", "b"], compared))
    assert table["training"].tolist() == ["90 s on 2 threads", "5.0 s on 1 thread", "50 s on 2 threads"]
    assert results.of_equal_threads(quick.ranked).tolist() == [True, False, True]


def test_ranking_says_how_many_trainings_and_how_they_spread(tmp_path: Path) -> None:
    rows = [row("a", accuracy, replicate=at, seed=at) for at, accuracy in enumerate((0.6, 0.7, 0.8))]
    found = read(tmp_path, *rows, row("b", 0.5))
    compared = pairs.pairwise_tests(found, {})
    letters = pairs.letters(["a", "b"], compared)
    table = comparison.ranking(found, pairs.versus_best(compared), letters)
    assert table["trainings"].tolist() == [3, 1] and table["standard deviation"].tolist() == ["10.00", ""]
    assert "1 000 test images, means of 1 to 3 trainings" in comparison.ranking_caption(found)
    assert "the mean of 3 trainings" in answer(found) and "100 s of training each time" in answer(found)


def answer(found: results.Results) -> str:
    return verdict.answer(found, pairs.versus_best(pairs.pairwise_tests(found, {})))


def test_answer_names_a_clear_winner_and_its_cost(tmp_path: Path) -> None:
    text = answer(read(tmp_path, row("a", 0.9, title="Deep", parameters=1_500_000), row("b", 0.5)))
    assert "**Deep (`a`) leads 2 ranked variants**" in text and "40.0 percentage points above `b`" in text
    assert "1 500 000 parameters" in text and "100 s of training" in text
    assert "does not differ significantly" not in text
    assert "The difference is significant on these images; where there is one training" in text


def test_answer_does_not_name_a_winner_where_chance_could_order_them(tmp_path: Path) -> None:
    text = answer(read(tmp_path, row("a", 0.701), row("b", 0.700, train_seconds=20), row("c", 0.2)))
    assert (
        "does not differ significantly from `b`" in text
        and "cheapest of these is `b`" in text
        and "5.0 times less" in text
    )


def test_answer_for_equal_accuracies_one_row_and_none(tmp_path: Path) -> None:
    assert "`a` and `b` share the first place of 2" in answer(read(tmp_path, row("a", 0.7), row("b", 0.7)))
    alone = answer(read(tmp_path, row("a", 0.7)))
    assert "There is no ranking:" in alone and "only variant that can be ranked" in alone and "leads" not in alone
    none = answer(read(tmp_path, *(row(name, 0.7, train_images=3, **CUT) for name in "ab")))
    assert "There is no winner" in none and "leads" not in none
    assert "no variant has finished" in answer(read(tmp_path, {"variant": "a", "status": "failed"}))


def test_a_limited_run_names_its_leader_with_its_limits(tmp_path: Path) -> None:
    cut: Row = {"dataset": "shapes10", "limited": "epochs 3 (catalogue: 10)", "train_images": 4000, "epochs": 3}
    text = answer(read(tmp_path, row("a", 0.9, **cut), row("b", 0.5, **cut)))
    assert text.startswith(
        "**On synthetic images and cut schedules, `a` leads 2 ranked variants; CIFAR-10 may differ**"
    )
    text = answer(read(tmp_path, row("a", 0.9, **LONG, limited="epochs 3 (published: 10)"), row("b", 0.5)))
    assert text.startswith("**On cut schedules, `a` leads 2 ranked variants; whole schedules may differ**")
    text = answer(read(tmp_path, row("a", 0.9, limited=HELD_OUT), row("b", 0.5, limited=HELD_OUT)))
    assert text.startswith("**`a` leads 2 ranked variants**")


def test_a_lead_is_the_difference_of_the_accuracies_as_printed(tmp_path: Path) -> None:
    """12.6 and 11.9 % are 0.7 points apart for whoever reads them, in every table."""
    found = read(tmp_path, row("a", 0.1264, test_images=10000), row("b", 0.1186, test_images=10000))
    compared = pairs.pairwise_tests(found, {})
    against = pairs.versus_best(compared)
    assert "That is 0.7 percentage points above `b`" in answer(found)
    ranking = comparison.ranking(found, against, pairs.letters(["a", "b"], compared))
    assert ranking["points behind the first"][1].startswith("0.7 (")
    assert comparison.pairs(compared, ["a", "b"])["difference in points"][0].startswith("+0.7 (")


def test_a_pair_of_single_trainings_is_marked(tmp_path: Path) -> None:
    rows = [row("a", 0.9 + at / 1000, replicate=at, seed=at) for at in range(3)]
    rows += [row("b", 0.7 + at / 1000, replicate=at, seed=at) for at in range(3)]
    found = read(tmp_path, *rows, row("c", 0.3), row("d", 0.301))
    compared = pairs.pairwise_tests(found, {})
    table = comparison.pairs(compared, list(found.ranked["variant"])).set_index("pair")["significantly different"]
    assert table["a and b"] == "yes" and table["a and c"] == "on these images" and table["d and c"] == "no"
    assert "another seed could reverse it" in comparison.pairs_caption(compared)


def test_notes_are_symbols_and_one_that_all_share_stands_in_the_caption(tmp_path: Path) -> None:
    cut: Row = {"limited": "epochs 3 (published: 10)", **LONG}
    found = read(tmp_path, row("a", 0.9, **cut, validation_source="test"), row("b", 0.5, search_seconds=9, **cut))
    compared = pairs.pairwise_tests(found, {})
    table = comparison.ranking(found, pairs.versus_best(compared), pairs.letters(["a", "b"], compared))
    assert table["note"].tolist() == ["‡", "§"]
    caption = comparison.ranking_caption(found)
    assert "All with overrides of the published schedule." in caption and "‡ validated on the test images" in caption
    plain = read(tmp_path, row("a", 0.9), row("b", 0.5))
    assert "note" not in comparison.ranking(plain, pairs.versus_best(compared), pairs.letters(["a", "b"], compared))


def test_tables_of_forty_variants_are_whole(tmp_path: Path) -> None:
    rows = [row(f"v{at}", 0.5 + at / 100, limited="epochs 3 of 10" if at % 2 else "", **LONG) for at in range(40)]
    found = read(tmp_path, *rows)
    compared = pairs.pairwise_tests(found, {})
    against, letters = pairs.versus_best(compared), pairs.letters(list(found.ranked["variant"]), compared)
    assert len(comparison.ranking(found, against, letters)) == 40 and len(comparison.overrides(found)) == 20
    assert comparison.ranking(found, against, letters)["points behind the first"][0] == ""
    assert comparison.unranked(found).empty and comparison.failed(found).empty


def test_figures_and_pairs_are_of_the_leading_variants_the_ranking_of_all(tmp_path: Path) -> None:
    cut = [row(f"u{at}", 0.3, limited="epochs 1 of 10", train_images=100) for at in range(3)]
    found = read(tmp_path, *(row(f"v{at}", 0.9 - at / 100) for at in range(6)), *cut)
    first = results.leading(found, 4)
    assert first.ranked["variant"].tolist() == ["v0", "v1", "v2", "v3"] and first.unranked.empty
    compared = pairs.pairwise_tests(first, {})
    against, letters = pairs.versus_best(compared), pairs.letters(list(first.ranked["variant"]), compared)
    assert len(compared) == 6
    table = comparison.ranking(found, against, letters)
    assert len(table) == 6 and table["group"][5] == table["points behind the first"][5] == ""
    assert len(results.leading(found, 8).unranked) == 2


DURATIONS = [(0.5, "500 ms"), (4.2, "4.2 s"), (100, "100 s"), (1800, "30 min"), (9000, "2.5 h")]


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations_read_as_one_would_say_them(seconds: float, text: str) -> None:
    assert verdict.duration(seconds) == text


def test_a_network_that_diverged_is_not_ranked_and_the_reason_says_so(tmp_path: Path) -> None:
    found = read(tmp_path, row("a", 0.6), row("b", float("nan"), diverged_epoch=2, test_images=0))
    assert found.ranked["variant"].tolist() == ["a"]
    assert found.unranked["reason"].tolist() == ["its training diverged at epoch 2, so its predictions are not numbers"]

"""What is on record comes from finished runs, and docs/results.md and the README's table from what is on record."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bakeoff.lab.tested import read_losses, read_predictions
from bakeoff.pipeline import Pipeline, Request
from docs import records, report, results, speedrun
from docs.records import Finished, Record, RecordError, finished_trainings, read_records, read_table, write, write_table
from tests.conftest import PROJECT, SMALL

VARIANTS = ("ann", "gray_cnn", "simple_cnn")


def _pipeline(runs: Path) -> Pipeline:
    request = Request(VARIANTS, "smoke", SMALL, runs, runs, runs / "reports")
    return Pipeline(request, print)


@pytest.fixture(scope="module")
def finished(small_report: Path) -> Sequence[Finished]:
    """The trainings of a small run, with their limits taken away and other data named: as if of the profile `full`."""
    found = finished_trainings(_pipeline(small_report.parent.parent / "runs"))
    return [replace(each, row=each.row | {"limited": "", "dataset": "cifar10"}) for each in found]


@pytest.fixture(scope="module")
def written(finished: Sequence[Finished], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all of them are on record; copy before changing."""
    folder = tmp_path_factory.mktemp("written") / "records"
    for each in finished:
        write(each, folder)
    return folder


@pytest.fixture
def recorded(written: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(written, tmp_path / "records"))


def test_a_record_holds_what_the_audit_reads_of_the_store(recorded: Path, finished: Sequence[Finished]) -> None:
    there = read_records(recorded)
    assert [record.row["variant"] for record in there] == list(VARIANTS)
    for record, training in zip(there, finished, strict=True):
        keys = {stage: step.result_key for stage, step in training.steps.items()}
        assert record.about["result_keys"] == keys and set(keys) >= {"load", "build", "train", "evaluate"}
        stored = training.store.folder("evaluate", keys["evaluate"]) / "predictions.npz"
        accuracies = np.array([float(record.row["test_accuracy"])])
        ours, theirs = (read_predictions([path], accuracies) for path in (record.folder / "predictions.npz", stored))
        assert ours and theirs and ours.same_images(theirs) and np.array_equal(ours.predicted, theirs.predicted)
        np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-3)
        loss = record.run.file("evaluate", "metrics.json")["loss_name"]
        short, whole = (read_losses([path], loss) for path in (record.folder / "predictions.npz", stored))
        assert short is not None and whole is not None
        np.testing.assert_allclose(short, whole, rtol=1e-3)
        assert record.run.at("train_accuracy") == pytest.approx(record.run.number("train_accuracy"))
        assert record.run.file("train", "step.json")["key_inputs"]["settings"] == record.about["settings"]
        assert len(record.about["revision"]) >= 7 and "missing" not in record.about["versions"].values()
        assert all(claim["variant"] == record.row["variant"] for claim in record.claims) and record.claims


def test_the_page_is_written_from_the_records_alone(recorded: Path, tmp_path: Path) -> None:
    shutil.copyfile(PROJECT / "README.md", tmp_path / "README.md")
    places = recorded, tmp_path / "results.md", tmp_path / "README.md"
    results.main(*places)
    page, readme = places[1].read_text(), places[2].read_text()
    for record in read_records(recorded):
        row = record.row
        assert f"| {row['variant']} |" in page and f"| {row['variant']} |" in readme
        assert f"| {float(row['test_accuracy']):.3f} |" in page
    missing = page.partition("## Not on record")[2]
    assert "- vgg16_transfer" in missing and "- simple_cnn" not in missing
    assert "McNemar's exact test" in page  # on equal images, which the records hold
    results.main(*places)
    assert places[2].read_text() == readme


def test_the_report_of_the_records_compares_them_and_shows_no_test_image(recorded: Path, tmp_path: Path) -> None:
    report.main(recorded, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for record in read_records(recorded):
        assert record.row["variant"] in page
        assert f"{100 * float(record.row['test_accuracy']):.1f} %" in page
    assert "Conclusion" in page and "docs/records" in page
    assert not re.search(r"\d images\. true: ", page)  # as the cells that show some begin to describe them


def test_a_changed_figure_is_changed_everywhere(recorded: Path, tmp_path: Path) -> None:
    shutil.copyfile(PROJECT / "README.md", tmp_path / "README.md")
    kept = recorded / "ann" / "seed-0" / "results.csv"
    write_table(kept, [read_table(kept)[0] | {"test_accuracy": "0.98765"}])
    results.main(recorded, tmp_path / "results.md", tmp_path / "README.md")
    assert all("| 0.988 |" in (tmp_path / name).read_text() for name in ("results.md", "README.md"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"limited": "epochs 2 (catalogue: 10)"}, "overrides the published schedule: epochs 2"),
        ({"dataset": "shapes10"}, "overrides the published schedule: data shapes10"),
    ],
)
def test_what_is_no_full_run_is_refused(
    finished: Sequence[Finished], tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(RecordError, match=sentence):
        write(replace(finished[0], row=finished[0].row | change), tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_what_is_finished_is_put_on_record_and_the_rest_is_not_there(
    small_report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here a run with limits, which is refused; of an empty store there is nothing to refuse."""
    assert records.main(_pipeline(small_report.parent.parent / "runs"), tmp_path / "records") == 1
    assert capsys.readouterr().out.count("not put on record; it overrides the published schedule: ") == 3
    assert records.main(_pipeline(tmp_path / "empty"), tmp_path / "records") == 1
    assert "Nothing to put on record" in capsys.readouterr().out


def test_a_newer_training_takes_the_place_of_an_older_one_and_never_the_reverse(
    recorded: Path, finished: Sequence[Finished]
) -> None:
    kept = recorded / "ann" / "seed-0" / "record.json"
    about = json.loads(kept.read_text())
    kept.write_text(json.dumps(about | {"finished": "2001-01-01T00:00:00Z", "revision": "old"}))
    write(finished[0], recorded)
    assert json.loads(kept.read_text()) == about
    kept.write_text(json.dumps(about | {"finished": "2999-01-01T00:00:00Z"}))
    with pytest.raises(RecordError, match="a newer training of this seed, 2999"):
        write(finished[0], recorded)


def _another_seed(recorded: Path, accuracy: str, **about: str) -> None:
    first, other = (recorded / "ann" / f"seed-{seed}" for seed in (0, 1))
    shutil.copytree(first, other)
    write_table(other / "results.csv", [Record(first).row | {"seed": "1", "replicate": "1", "test_accuracy": accuracy}])
    (other / "record.json").write_text(json.dumps(Record(first).about | about))


def test_seeds_are_averaged_and_other_recipes_are_not(recorded: Path) -> None:
    own = float(Record(recorded / "ann" / "seed-0").row["test_accuracy"])
    _another_seed(recorded, "0.9")
    groups = {each.variant: each for each in results.grouped(read_records(recorded))}
    assert len(groups) == 3 and results.result(groups["ann"])["test"] == f"{(own + 0.9) / 2:.3f}"
    shutil.rmtree(recorded / "ann" / "seed-1")
    _another_seed(recorded, "0.9", recipe="another", finished="2001-01-01T00:00:00Z")
    groups_of_two = [each for each in results.grouped(read_records(recorded)) if each.variant == "ann"]
    assert [len(each.records) for each in groups_of_two] == [1, 1]
    assert results.newest(groups_of_two)["ann"].accuracy == own


def test_the_page_and_the_readme_are_what_the_records_say(tmp_path: Path) -> None:
    """Also that each of the three outcomes has its table."""
    shutil.copyfile(PROJECT / "README.md", tmp_path / "README.md")
    results.main(records.RECORDS, tmp_path / "results.md", tmp_path / "README.md")
    for name, path in (("results.md", PROJECT / "docs" / "results.md"), ("README.md", PROJECT / "README.md")):
        assert (tmp_path / name).read_text() == path.read_text(), "make results"
    text = (tmp_path / "results.md").read_text()
    assert all(f"**{status}:**" in text for status in ("Reproduced", "Not reproduced", "Undecided"))


def test_both_pages_count_the_same_claims() -> None:
    """Of whatever backend the records are: report.html compares those of one, and judges by all."""
    table, report_page = ((PROJECT / "docs" / name).read_text() for name in ("results.md", "report.html"))
    told = re.search(r"(\d+) claims about these variants, .*: (.*)\.", table)
    assert told and f"Of {told[1]} claims of the sources: " in report_page, "make results"
    said = report_page.partition(f"Of {told[1]} claims of the sources: ")[2].partition(".")[0]
    assert sorted(said.split(", ")) == sorted(told[2].split(", ")), "make results"


def test_what_each_minute_brings_the_speedrun_is_a_table_and_a_figure(tmp_path: Path) -> None:
    runs = results.newest(results.grouped(read_records()))[speedrun.VARIANT].runs
    found = speedrun.rows(runs)
    epochs = [int(row["epochs"].partition(",")[0]) for row in found]
    assert epochs == sorted(epochs) and epochs[-2:] == [max(runs[0].history)] * 2
    ends = [run.at("validation_accuracy") for run in runs]
    assert found[-2]["validation accuracy"] == f"{sum(ends) / len(ends):.4f}" < found[-1]["validation accuracy"]
    assert float(found[-1]["minutes"]) == pytest.approx(runs[0].number("train_seconds") / 60, rel=0.05)
    for name in ("one.svg", "two.svg"):
        speedrun.draw(runs, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_records_are_small_and_where_their_names_say() -> None:
    for record in read_records():
        assert record.folder == records.RECORDS / record.row["variant"] / f"seed-{record.row['seed']}"
        assert sum(path.stat().st_size for path in record.folder.iterdir()) < 150_000

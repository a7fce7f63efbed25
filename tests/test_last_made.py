"""What each variant made last, a file a variant: nothing that one run writes is lost to another's."""

from __future__ import annotations

import json
from pathlib import Path

from bakeoff.store.last_made import LastMade


def test_a_later_step_replaces_an_earlier_one(tmp_path: Path) -> None:
    made = LastMade(tmp_path)
    assert made.key("ann", "train") is None
    for key in ("a" * 64, "b" * 64):
        made.add(["ann", "simple_cnn"], "train", key)
    made.close()
    assert made.key("ann", "train") == "b" * 64
    again = LastMade(tmp_path)
    assert list(again.items()) == [("ann", "train", "b" * 64), ("simple_cnn", "train", "b" * 64)]


def test_two_runs_on_one_store_lose_nothing(tmp_path: Path) -> None:
    one, other = LastMade(tmp_path), LastMade(tmp_path)
    assert one.key("ann", "load") is other.key("ann", "load") is None  # both have looked
    one.add(["ann"], "load", "1")
    other.add(["ann"], "train", "2")
    one.close()
    other.close()
    assert dict.fromkeys(["load"], "1") | {"train": "2"} == {label: key for _, label, key in LastMade(tmp_path).items()}


def test_what_an_earlier_version_wrote_for_all_variants_is_taken_over(tmp_path: Path) -> None:
    old = tmp_path / "latest.json"
    old.write_text(json.dumps({"ann/train": "1", "ann/load": "2", "cnn/load": "2"}))
    made = LastMade(tmp_path)
    assert made.key("ann", "train") == "1" and old.exists()  # looking writes nothing
    made.add(["ann"], "train", "3")
    made.close()
    assert not old.exists()
    found = {(variant, label): key for variant, label, key in LastMade(tmp_path).items()}
    assert found == {("ann", "train"): "3", ("ann", "load"): "2", ("cnn", "load"): "2"}


def test_a_line_that_was_cut_short_costs_itself_alone(tmp_path: Path) -> None:
    made = LastMade(tmp_path)
    made.add(["ann"], "load", "1")
    made.close()
    with (tmp_path / "latest" / "ann.jsonl").open("a") as stream:
        stream.write('\n{"train": "12')
    assert LastMade(tmp_path).key("ann", "load") == "1"


def test_a_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    made = LastMade(tmp_path)
    for number in range(1000):
        made.add(["ann"], "train", f"{number:064}")
    made.close()
    assert LastMade(tmp_path).key("ann", "train") == f"{999:064}"
    assert (tmp_path / "latest" / "ann.jsonl").stat().st_size < 20_000

"""The audit as the compare page reads and shows it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bakeoff.lab import claims
from bakeoff.lab.claims import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from bakeoff.lab.plots import claims as pages

Row = dict[str, object]
LIMITED = "a: epochs 1 (published: 5)"


def row(status: str = REPRODUCED, **more: object) -> Row:
    base: Row = dict.fromkeys(claims.COLUMNS, "")
    base |= {"source": "s", "variant": "a", "kind": "number", "where": "table", "metric": "test_accuracy"}
    reason = LIMITED if status == NOT_TESTED else "within 3 points"
    ours = "" if status == NOT_TESTED else "0.7100"
    return base | {"claimed": "0.6971", "status": status, "reason": reason, "ours": ours} | more


def read(folder: Path, *rows: Row) -> pd.DataFrame:
    pd.DataFrame(list(rows), columns=list(claims.COLUMNS)).to_csv(folder / "claims.csv", index=False)
    return claims.read(folder / "claims.csv")


def test_a_file_that_is_no_audit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("source,status\ns,reproduced\n")
    with pytest.raises(ValueError, match="lacks variant"):
        claims.read(tmp_path / "claims.csv")
    with pytest.raises(ValueError, match="'perhaps'"):
        read(tmp_path, row("perhaps"))


def test_what_is_not_tested_is_counted_by_what_a_test_would_take(tmp_path: Path) -> None:
    untested = [{}, {"reason": "it would take the images"}, {"reason": "b is not part of this run"}, {}]
    counts = claims.why_not_tested(read(tmp_path, row(), *(row(NOT_TESTED, **more) for more in untested)))
    assert counts["claims"].tolist() == [2, 1, 1]
    assert counts.iloc[0, 0] == "a finished run on the source's data, with its whole schedule and its weights"
    assert claims.why_not_tested(read(tmp_path, row())).empty


PARAMETERS = [
    (
        [row(kind="parameters")] * 2 + [row(kind="parameters", source="")],
        "Of 2 numbers of parameters that were compared, all are exactly the source's.",
    ),
    ([row()], "No source prints a number of parameters"),
    ([row(NOT_TESTED, kind="parameters")], "None of the 1 numbers"),
    (
        [
            row(kind="parameters"),
            row(NOT_REPRODUCED, kind="parameters", ours="7", claimed="8"),
            row(NOT_TESTED, kind="parameters"),
        ],
        "1 are exactly the source's; 1 more are not tested. `a`: 7 here, 8 there.",
    ),
]


@pytest.mark.parametrize(("rows", "words"), PARAMETERS)
def test_the_sentence_on_parameters(tmp_path: Path, rows: list[Row], words: str) -> None:
    assert words in pages.parameter_words(read(tmp_path, *rows))


def test_what_was_tested_stands_beside_ours_in_its_units(tmp_path: Path) -> None:
    times = {"metric": "train_hours", "claimed": "1.00 times b", "ours": "0.31"}
    loss = {"metric": "test_loss", "claimed": "0.95", "ours": "1.2000", "epoch": "3"}
    both = {"kind": "contradiction", "against": "0.8318", "claimed": "0.86", "variant": "", "note": "typed twice"}
    long = {"kind": "ordering", "reason": "undecided: " + "x" * 500, "status": "undecided"}
    audit = read(tmp_path, row(), row(NOT_REPRODUCED, **loss), row(**times), row(NOT_TESTED), row(**both), row(**long))
    table = pages.tested(audit, "number")
    assert table["the source"].tolist() == ["69.7 %", "0.95", "1.00 times b"]
    assert table["here"].tolist() == ["71.0 %", "1.2000", "0.31 times"]
    assert table["claim"][1] == "test loss, epoch 3 (table)" and table["outcome"][1] == NOT_REPRODUCED
    twice = pages.tested(audit, "contradiction").iloc[0]
    assert twice["variant"] == "s" and twice["the source"] == "86.0 % and 83.2 %" and "typed twice" in twice["claim"]
    because = pages.tested(audit, *claims.CONCLUSIONS)["because"][0]
    assert because.startswith("xxx") and len(because) == pages.LONGEST_REASON
    assert pages.tested(audit, "example").empty


def test_the_logs_of_the_sources_have_a_row_an_epoch(tmp_path: Path) -> None:
    accuracy = row(metric="train_accuracy", log="1:0.3 2:0.4 3:0.5")
    validation = row(metric="validation_accuracy", log="1:0.2 3:0.4")
    found = claims.logs(read(tmp_path, accuracy, validation, row(variant="b"))).set_index("epoch")
    assert found["train_accuracy"].tolist() == [0.3, 0.4, 0.5] and set(found["variant"]) == {"a"}
    assert found["validation_accuracy"].isna().tolist() == [False, True, False]
    assert list(claims.logs(read(tmp_path, row())).columns) == ["variant", "epoch"]

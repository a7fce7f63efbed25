"""--check-claims: which rows of claims.csv can be judged, and why the others cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.claims.judgeable import check_claims
from bakeoff.params import DIRECTORY, variant_names

HEAD = "source,variant,where,metric,epoch,value,kind,note,against,check,tolerance,needs\n"


def _said(folder: Path, rows: str) -> tuple[int, list[str]]:
    (folder / "claims.csv").write_text(HEAD + rows)
    (folder / "tolerances.csv").write_text((DIRECTORY / "tolerances.csv").read_text())
    said: list[str] = []
    return check_claims(folder, ["simple_cnn", "my_net"], said.append), said


def test_no_row_of_the_catalogue_is_wrong() -> None:
    said: list[str] = []
    assert check_claims(DIRECTORY, variant_names(), said.append) == 0
    assert said[-1].endswith("0 are wrong.")


def test_a_claim_about_a_variant_of_ones_own_can_be_judged(tmp_path: Path) -> None:
    row = "paper,my_net,table 2,test_accuracy,,0.71,number,,,result test_accuracy,accuracy,cifar10; full schedule\n"
    assert _said(tmp_path, row) == (0, ["1 rows: 1 can be judged, 0 have no check, 0 are wrong."])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p,my_nett,t,test_accuracy,,0.7,number,,,result test_accuracy,accuracy,x", "did you mean 'my_net'?"),
        ("p,my_net,t,test_accuracy,,0.7,number,,,reslt test_accuracy,accuracy,x", "no check 'reslt'; did you mean"),
        ("p,my_net,t,test_accuracy,,0.7,number,,,result test_acuracy,accuracy,x", "no column 'test_acuracy'"),
        ("p,my_net,t,test_accuracy,,0.7,number,,,result test_accuracy,acuracy,x", "no tolerance 'acuracy'"),
        ("p,my_net,t,test_accuracy,,high,number,,,result test_accuracy,accuracy,x", "compares with a number"),
        ("p,,t,better,,yes,order,,,order test_accuracy my_net simple_cnn,order,x", "needs `A > B`"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    code, said = _said(tmp_path, row + "\n")
    assert code == 1 and said[0].startswith("claims.csv:2: ") and message in said[0]


def test_rows_without_a_check_say_what_it_would_take(tmp_path: Path) -> None:
    row = "p,my_net,t,seconds,,3,number,,,,,the source's machine\n"
    code, said = _said(tmp_path, row + row)
    assert (code, said[0]) == (0, "claims.csv:2 to 3: seconds has no check: it would take the source's machine.")

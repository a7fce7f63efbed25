"""Digests of source: the same under every Python that Bakeoff runs on, and of nothing that makes no difference."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.plan.python_source import names, statements, tokens, without_magics
from bakeoff.store import digest_value

PROJECT = Path(__file__).resolve().parent.parent
SOURCE = '''
from . import sibling
from ..models import dense as other

def f(x):
    """A docstring."""
    é = f"ä{x!r:>{10}} {{x}} 🎉 {f'{x}'}" "tail" f"""several
  {x}
 lines"""  # a comment
    return [é for é in x]

def g(): "one"; return rf'\\d{1}'

@f(
  1)
class A:
    "Another docstring."
    a: int = 1

x = f'{1}'; y = (1,
   2)
table = {key: value for key, value in x}
'''
# Of the same source with the code of three Pythons; whoever changes what a key is made of changes it knowingly.
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from bakeoff.plan.python_source import statements, tokens
source = sys.stdin.read()
print(json.dumps([tokens(source), [each.record() for each in statements(source, "bakeoff.lab.plots.page")]]))
"""


DIGEST = "00fea131c2e12574"


def _pythons() -> list[str]:
    """The other Pythons that are here, on the PATH or below pyenv's folder."""
    found = {f"3.{minor}": shutil.which(f"python3.{minor}") for minor in (11, 12, 13)}
    for path in sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python")):
        found[".".join(path.parts[-3].split(".")[:2])] = str(path)
    own = ".".join(map(str, sys.version_info[:2]))
    return [path for version, path in found.items() if path and version != own]


def test_the_digest_is_the_one_on_record() -> None:
    records = [each.record() for each in statements(SOURCE, "bakeoff.lab.plots.page")]
    assert digest_value([tokens(SOURCE), records])[:16] == DIGEST


@pytest.mark.parametrize("python", [sys.executable, *_pythons()])
def test_every_python_gives_the_same_tokens_names_and_imports(python: str) -> None:
    done = subprocess.run(
        [python, "-c", SCRIPT, str(PROJECT)], input=SOURCE, capture_output=True, text=True, check=True
    )
    expected = [tokens(SOURCE), [each.record() for each in statements(SOURCE, "bakeoff.lab.plots.page")]]
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))


def test_an_f_string_is_one_token_and_a_docstring_none() -> None:
    found = tokens(SOURCE)
    assert "rf'\\d{1}'" in found
    assert not [each for each in found if "docstring" in each or each == '"one"' or "comment" in each]


@pytest.mark.parametrize(
    "other",
    [
        "def f(a):\n    # why\n    return a\n",
        "def f(a):\n\n        return a  # what\n",
        'def f(a):\n    """What."""\n    return a\n',
        "def f(\n    a\n):\n    return a",
    ],
)
def test_what_makes_no_difference_makes_none(other: str) -> None:
    assert tokens(other) == tokens("def f(a):\n    return a\n")


def test_a_relative_import_is_an_import() -> None:
    found = {each.assigns[0]: each.imports for each in statements(SOURCE, "bakeoff.lab.plots.page") if each.imports}
    assert found == {"sibling": ("bakeoff.lab.plots:sibling",), "other": ("bakeoff.lab.models:dense",)}
    (inside,) = statements("from .a import b", "bakeoff.lab.models", package=True)
    assert inside.imports == ("bakeoff.lab.models.a:b",)


def test_names_are_those_of_the_top() -> None:
    assigned, read = names(
        "def f(a):\n    global c\n    c = a + d\n    return [e for e in b]\ng = {i: i for i in f(1)}"
    )
    assert assigned == {"f", "c", "g"}
    assert read == {"f", "d", "b"}


def test_magics_are_no_fault() -> None:
    assert statements(without_magics("%matplotlib inline\n!ls 'x'\nif a:\n    !ls\n    b = c % d"))

"""Which GPUs are found: the question, by a process as a backend answers it, and what is remembered of it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff.errors import RequestError
from bakeoff.plan import machine
from bakeoff.store.digests import DigestCache

Find = Callable[[], tuple[str, ...]]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Find, Path, list[str]]:
    """The search on a machine that has a driver; the file with the program that answers; what was said."""
    driver, answer, said = tmp_path / "version", tmp_path / "answer.py", list[str]()
    driver.write_text("NVRM version: 1.0")
    monkeypatch.setattr(machine, "_DRIVER", driver)
    monkeypatch.setitem(machine._GPU_QUESTIONS, "tensorflow", f"exec(open({str(answer)!r}).read())")
    monkeypatch.setattr(machine, "_said", set())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    digests = DigestCache(tmp_path / "digests.sqlite")
    return lambda: machine.find_gpus("tensorflow", digests, said.append)[0], answer, said


def test_a_backend_that_is_not_installed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the code before, the first kernel failed with a ModuleNotFoundError."""
    there = {"jax"}
    monkeypatch.setattr(machine, "find_spec", lambda name: name in there or None)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(RequestError, match="compute with torch, which is not installed here; set KERAS_BACKEND=jax"):
        machine.find_backend()
    there.clear()
    with pytest.raises(RequestError, match=r"pip install 'bakeoff\[torch\]'"):
        machine.find_backend()


def test_gpus_are_remembered_for_each_host_of_a_store(
    find: tuple[Find, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the code before, a store that two machines share leased the first one's GPUs on the second."""
    gpus, answer, _ = find
    monkeypatch.setattr(platform, "node", lambda: "four")
    answer.write_text('print(\'[["A", "A", "A", "A"], "9"]\')')
    assert gpus() == ("0", "1", "2", "3")
    answer.write_text('print(\'[["A"], "9"]\')')
    assert gpus() == ("0", "1", "2", "3")  # remembered
    monkeypatch.setattr(platform, "node", lambda: "one")
    assert gpus() == ("0",)


def test_a_question_that_failed_is_asked_again_by_the_next_command(find: tuple[Find, Path, list[str]]) -> None:
    """On the code before, it was remembered as a machine without GPUs."""
    gpus, answer, said = find
    answer.write_text("raise SystemExit('the driver is too old')")
    assert gpus() == ()
    assert "tensorflow did not say which it can compute on (the driver is too old; mend its installation" in said[0]
    answer.write_text('print(\'[["A"], "9"]\')')
    assert gpus() == ("0",)


def test_a_question_without_an_answer_is_a_sentence(
    find: tuple[Find, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the code before, it was a traceback after 180 seconds."""
    gpus, answer, said = find
    assert machine.GPU_SECONDS == 180
    monkeypatch.setattr(machine, "GPU_SECONDS", 1)
    answer.write_text("import time; time.sleep(60)")
    assert gpus() == ()
    assert said == [
        "No GPU is used, since tensorflow did not say which it can compute on (no answer within 1 s; run the command "
        "again, or set KERAS_BACKEND)."
    ]

"""What several tests use: a Bakeoff in a folder of its own, run as a user runs it."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakeoff import fast_imports, warm
from bakeoff.plan.resources import usable_cores
from bakeoff.store.locks import alone
from tests import environment
from tests.stubs import HALF_WRITTEN, StubProject, make_stub_project, make_template

PROJECT = Path(__file__).resolve().parent.parent


# A shell that begins tests in the background has them ignore Ctrl-C, and so would what they start: it is tested here.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The files of tests that take longest: begun first, so that no process of pytest waits for another in the end. The
# first makes what stubs copy, and the two after it do without that.
LONGEST = (
    *("test_faults.py", "test_models.py", "test_search.py", "test_report.py"),
    *("test_interactive.py", "test_data_sets.py", "test_inspect.py", "test_trials.py", "test_plan.py"),
    *("test_report_browser.py", "test_publish.py", "test_training.py", "test_crate.py", "test_side_by_side.py"),
)
# The settings of `small_report`.
SMALL = (
    *("dataset=shapes10", "threads=1", "max_train_examples=2600", "max_test_examples=300"),
    *("max_epochs=2", "max_training_tflop=10", "image_size=16"),
)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: there is a test that waits at any time."""
    return usable_cores() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_configure(config: pytest.Config) -> None:
    """See `environment`; pytest's further processes inherit it."""
    fast_imports()
    if not hasattr(config, "workerinput"):
        place = Path(tempfile.mkdtemp(prefix="bakeoff-tests-"))
        config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))
        environment.choose(place)
    environment.remember()


@dataclass(frozen=True)
class Workplace:
    """Folders of one test, and the command run in them."""

    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    def run(self, *arguments: str, timeout: float = 600, **more: str) -> subprocess.CompletedProcess[str]:
        """`python pipeline.py ARGUMENTS` with folders of this test's own."""
        places = ["--runs-dir", str(self.runs), "--reports-dir", str(self.reports)]
        return subprocess.run(
            [sys.executable, str(PROJECT / "pipeline.py"), *arguments, *places],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment.at_start() | more,
        )

    def results(self, name: str) -> dict[str, dict[str, str]]:
        """results.csv of a report: variant -> row."""
        with (self.reports / name / "results.csv").open(newline="") as stream:
            return {row["variant"]: row for row in csv.DictReader(stream)}


@pytest.fixture
def workplace(tmp_path: Path, fork_server: None) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all of pytest's processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def prepared_workplace(workplace: Workplace, stub_template: Path) -> Workplace:
    """A workplace in which the report's background is made."""
    return _with_background(workplace, stub_template)


def _with_background(place: Workplace, template: Path) -> Workplace:
    """It is the same for every run, and takes seconds each time."""
    shutil.copytree(template / "runs" / "background", place.runs / "background")
    return place


@pytest.fixture(scope="session")
def fork_server(common_folder: Path) -> None:
    """A server that runs fork theirs from, as one that a user leaves standing: each would import for itself."""
    if warm.supported():
        _once(common_folder / "fork_server", lambda: environment.start_fork_server(common_folder / "fork_server.log"))


def _once(folder: Path, make: Callable[[], None]) -> Path:
    """`folder`, made by whichever of pytest's processes needs it first."""
    done = folder.with_suffix(".done")
    with alone(folder.with_suffix(".lock"), lambda _: None, folder.name):
        if not done.exists():
            make()
            done.touch()
    return folder


@pytest.fixture(scope="session")
def small_report(common_folder: Path, stub_template: Path) -> Path:
    """Folder of a finished report of three variants, trained just long enough to be ranked."""
    place = Workplace(common_folder / "small")
    arguments = [part for setting in SMALL for part in ("--set", setting)]

    def make() -> None:
        _with_background(place, stub_template)
        done = place.run("--variants", "ann,simple_cnn,gray_cnn", "--profile", "smoke", *arguments, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr

    return _once(place.root, make) / "reports" / "smoke-selection"


@pytest.fixture(scope="session")
def stub_template(common_folder: Path, fork_server: None) -> Path:
    """The real files that stubs copy."""
    folder = common_folder / "template"
    return _once(folder, lambda: make_template(folder))


@pytest.fixture(scope="session")
def stub_run(common_folder: Path, stub_template: Path) -> tuple[StubProject, Path]:
    """A stub project of two variants, and the folder of its finished run with report and PDF; copy before changing."""
    folder, project = common_folder / "stub_run", common_folder / "stub_project"

    def make() -> None:
        code, said = make_stub_project(project, stub_template, real_comparison=True).run(folder, ["stub_0", "stub_1"])
        assert code == 0, said

    return StubProject(_once(project, make) / "project"), folder


@pytest.fixture
def project_copy(tmp_path: Path) -> Callable[[], Path]:
    """A copy of the project's code and notebooks, to change things in."""

    def copy() -> Path:
        target = tmp_path / "project"
        for name in ("bakeoff", "notebooks", "params"):
            shutil.copytree(PROJECT / name, target / name, ignore=HALF_WRITTEN)
        return target

    return copy

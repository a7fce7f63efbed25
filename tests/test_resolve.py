"""What the outside decides: data that are here, hosts that do not answer, weights that are missing."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from bakeoff.errors import DataUnavailableError, RequestError
from bakeoff.plan import resolve
from bakeoff.plan.prepared import find_prepared
from bakeoff.plan.resolve import SYNTHETIC, Resolver, import_environment
from bakeoff.store import Store
from tests.conftest import Workplace
from tests.prepared_sets import describe


@pytest.fixture
def silent_host(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that answers nobody: this machine, where nothing listens on port 443."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(resolve, "DATA_HOSTS", {"cifar10": "127.0.0.2"})
    monkeypatch.setattr(resolve, "WEIGHTS_HOST", "127.0.0.2")
    return "127.0.0.2"


def _resolver(tmp_path: Path, profile: str = "quick", look: bool = True, said: list[str] | None = None) -> Resolver:
    lines: list[str] = [] if said is None else said
    return Resolver(Store(tmp_path / "runs"), profile, tmp_path / "data", lines.append, look)


def _prepare(tmp_path: Path, version: str) -> Path:
    folder = tmp_path / "data" / "cifar10" / version
    return describe(folder)


def test_the_newest_prepared_version_is_found(tmp_path: Path) -> None:
    for version in ("3.0.2", "3.0.10", "not.a.version"):
        _prepare(tmp_path, version)
    found = find_prepared("cifar10", tmp_path / "data")
    assert found is not None and found.name == "3.0.10"
    assert find_prepared("mnist", tmp_path / "data") is None


@pytest.mark.parametrize("name", ["../../etc", "a b", "cifar10/../..", ""])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="no name of a TFDS data set"):
        find_prepared(name, tmp_path)


def test_prepared_data_are_used_with_the_digest_of_their_files(tmp_path: Path) -> None:
    folder = _prepare(tmp_path, "3.0.2")
    first = _resolver(tmp_path).dataset("cifar10")
    assert (first.name, first.in_tables, first.in_notebooks) == ("cifar10 3.0.2", "cifar10", "cifar10")
    assert first.packages == ("tensorflow", "tensorflow-datasets")
    assert not _resolver(tmp_path).dataset(SYNTHETIC).packages
    (folder / "more").write_text("x")
    assert _resolver(tmp_path).dataset("cifar10").digest != first.digest


def test_quick_goes_on_with_the_synthetic_data_set_and_says_so(tmp_path: Path, silent_host: str) -> None:
    said: list[str] = []
    assert _resolver(tmp_path, said=said).dataset("cifar10").name == SYNTHETIC
    assert "cannot be had here" in said[0]


def test_full_stops_and_names_three_ways_out(tmp_path: Path, silent_host: str) -> None:
    with pytest.raises(DataUnavailableError) as caught:
        _resolver(tmp_path, "full").dataset("cifar10")
    assert all(word in str(caught.value) for word in ("--download", "--data-dir", "--set dataset=shapes10"))


@pytest.mark.parametrize(
    ("asked", "there", "hint"),
    [
        ("CIFAR10", "cifar10/3.0.2", "write --set dataset=cifar10"),
        ("cifar10", "cifar10/plain/3.0.2", "write --set dataset=cifar10/plain"),
        ("cifar10", "deeper/cifar10/3.0.2", "data/deeper"),
        ("cifar10", "../cifar10/3.0.2", "write --data-dir"),
        ("cifar11", "cifar10/3.0.2", "did you mean 'cifar10'"),
        ("mnist", "cifar10/3.0.2", "there are cifar10"),
        ("mnist", "", "no data set is prepared there"),
    ],
)
def test_data_that_were_asked_for_are_not_replaced(
    tmp_path: Path, silent_host: str, asked: str, there: str, hint: str
) -> None:
    """The synthetic data set replaces the default data set alone, and only where nobody named data or their folder."""
    (tmp_path / "data").mkdir()
    if there:
        folder = _prepare(tmp_path, "1.0.0")
        target = tmp_path / "data" / there
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    resolver = Resolver(Store(tmp_path / "runs"), "quick", tmp_path / "data", print, look=True, asked=True)
    with pytest.raises(DataUnavailableError) as caught:
        resolver.dataset(asked)
    assert hint in str(caught.value) and str(tmp_path / "data") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_was_asked_for_and_is_not_there(workplace: Workplace) -> None:
    done = workplace.run("--variants", "ann", "--profile", "smoke", "--data-dir", str(workplace.root / "none"))
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr and done.stderr.count("\n") == 1
    assert not workplace.reports.exists()


def test_a_dry_run_refuses_what_a_run_has_found_unreachable(workplace: Workplace) -> None:
    """Before any look nobody knows: then it says that a run would try to download the data."""
    (workplace.root / "data").mkdir()
    asked = ("--dry-run", "--variants", "ann", "--profile", "smoke", "--data-dir", str(workplace.root / "data"))
    before = workplace.run(*asked, "--set", "dataset=mnist")
    assert before.returncode == 0 and "a run tries to download it" in before.stdout
    (workplace.runs / "hosts").mkdir(parents=True, exist_ok=True)
    (workplace.runs / "hosts" / resolve.WEIGHTS_HOST).touch()
    after = workplace.run(*asked, "--set", "dataset=mnist")
    assert (after.returncode, after.stdout.count("to run")) == (2, 0)
    assert "mnist is not in" in after.stderr and "could not be downloaded" in after.stderr
    assert workplace.run(*asked, "--set", "dataset=mnist", "--download").returncode == 0


def test_a_failed_look_is_remembered_for_an_hour(tmp_path: Path, silent_host: str) -> None:
    _resolver(tmp_path).dataset("cifar10")
    failed = tmp_path / "runs" / "hosts" / silent_host
    before = failed.stat().st_mtime_ns
    _resolver(tmp_path).dataset("cifar10")
    assert failed.stat().st_mtime_ns == before
    long_ago = time.time() - resolve.REMEMBER_SECONDS - 1
    os.utime(failed, (long_ago, long_ago))
    _resolver(tmp_path).dataset("cifar10")
    assert failed.stat().st_mtime_ns > before


def test_without_a_look_no_host_is_asked(tmp_path: Path, silent_host: str) -> None:
    _resolver(tmp_path, look=False).dataset("cifar10")
    assert not (tmp_path / "runs" / "hosts").exists()


def test_weights_that_cannot_be_had_are_none(tmp_path: Path, silent_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert _resolver(tmp_path).weights("vgg16/weights.h5") is None
    (tmp_path / "keras" / "models").mkdir(parents=True)
    (tmp_path / "keras" / "models" / "weights.h5").write_text("w")
    source = _resolver(tmp_path).weights("vgg16/weights.h5")
    assert source is not None and source.name == "weights.h5"


def test_weights_for_a_size_give_way_to_those_for_224_pixels(
    tmp_path: Path, silent_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    for side in (224, 160):  # the file of the size itself comes first
        name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_{side}_no_top.h5"
        (tmp_path / "keras" / "models" / name).write_text(str(side))
        source = _resolver(tmp_path).weights("mobilenet_v2/" + name.replace("224", "160"))
        assert source is not None and source.name == name


def test_an_unknown_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorfow")
    with pytest.raises(RequestError, match="KERAS_BACKEND"):
        _resolver(tmp_path).machine()


def test_full_without_data_ends_within_ten_seconds(workplace: Workplace) -> None:
    started = time.monotonic()
    done = workplace.run("--variants", "ann", "--profile", "full", "--set", "dataset=bakeoff_has_no_such_set")
    assert done.returncode == 2
    assert "Three ways out" in done.stderr and done.stderr.count("\n") == 1
    assert time.monotonic() - started < 10
    assert not workplace.reports.exists()


def test_kernels_get_full_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel runs in its step's folder, where a relative KERAS_HOME would name another place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", "keras")
    environment = import_environment(_resolver(tmp_path).machine().backend, tmp_path / "data")
    assert environment["KERAS_HOME"] == str(tmp_path / "keras")


def test_a_host_behind_a_proxy_can_be_reached_when_the_proxy_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert not resolve._connects("127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"127.0.0.1:{proxy.getsockname()[1]}"
        for written in (f"http://{address}", address, f"http://name:word@{address}/"):
            monkeypatch.setenv("https_proxy", written)
            assert resolve._connects("no-such-host.invalid")
        monkeypatch.setenv("no_proxy", "127.0.0.2")
        assert not resolve._connects("127.0.0.2")
    assert not resolve._connects("no-such-host.invalid")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:port")
    assert not resolve._connects("no-such-host.invalid")

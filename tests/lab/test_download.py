from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.lab import download

CONTENT = b"weights" * 400_000


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class BrokenHandler(QuietHandler):
    """Promises more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])


class StallingHandler(QuietHandler):
    """Sends the beginning, and then nothing more."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])
        self.wfile.flush()
        time.sleep(3)


def served(handler: type[QuietHandler], folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site" / "some_net").mkdir(parents=True)
    (tmp_path / "site" / "some_net" / "weights.h5").write_bytes(CONTENT)
    yield from served(QuietHandler, tmp_path / "site")


@pytest.fixture
def broken_site(tmp_path: Path) -> Iterator[str]:
    yield from served(BrokenHandler, tmp_path)


@pytest.fixture
def stalling_site(tmp_path: Path) -> Iterator[str]:
    yield from served(StallingHandler, tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def test_weights_come_to_where_keras_looks(site: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert download.weights_bytes("some_net/weights.h5", site) == len(CONTENT)
    assert download.fetch_weights("some_net/weights.h5", site) == home / "weights.h5"
    assert (home / "weights.h5").read_bytes() == CONTENT
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("Downloading 2.8 MB for weights.h5")
    assert told[-1].startswith("weights.h5: 100 %")


def test_weights_that_are_there_are_not_fetched_again(site: str, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "weights.h5").write_bytes(b"already here")
    download.fetch_weights("some_net/weights.h5", site)
    assert (home / "weights.h5").read_bytes() == b"already here"


def test_a_wrong_sum_is_refused(site: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(download.MD5, "weights.h5", hashlib.md5(b"other").hexdigest())
    with pytest.raises(ValueError, match="MD5"):
        download.fetch_weights("some_net/weights.h5", site)
    assert list(home.iterdir()) == []


def test_half_a_file_is_refused(broken_site: str, home: Path) -> None:
    with pytest.raises((ValueError, OSError), match=r"broke off|IncompleteRead"):
        download._fetch(broken_site + "weights.h5", home / "weights.h5")
    assert list(home.iterdir()) == []


def test_a_download_that_stalls_is_given_up(stalling_site: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_ANSWER_SECONDS", 1)
    with pytest.raises(ValueError, match="stopped coming halfway"):
        download._fetch(stalling_site + "weights.h5", home / "weights.h5")
    assert not list(home.iterdir())


def test_what_the_host_lacks_is_said(site: str, home: Path) -> None:
    with pytest.raises(ValueError, match="404"):
        download.fetch_weights("some_net/other.h5", site)


def test_a_network_with_its_top_brings_the_names_of_its_classes() -> None:
    urls = download._weights_urls("vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5", "http://host/")
    assert [url.rsplit("/", 1)[1] for url in urls][1:] == ["imagenet_class_index.json"]
    assert len(download._weights_urls("vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "http://host/")) == 1


def test_a_data_set_says_its_size_before_anything_is_asked_of_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = download.main(["dataset", "cifar10", "--data-dir", str(tmp_path / "new"), "--size-only"])
    assert status == 0
    assert json.loads(capsys.readouterr().out) == {"bytes": 170_052_171}
    assert not (tmp_path / "new").exists()


def test_an_unknown_data_set_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert download.main(["dataset", "no_such_set", "--data-dir", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "knows no data set 'no_such_set'" in told


def test_a_silent_host_is_one_line_and_status_1(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "WEIGHTS_URL", "http://127.0.0.1:9/")  # the port "discard": nobody listens
    monkeypatch.setattr(download.fetch_weights, "__defaults__", ("http://127.0.0.1:9/",))
    assert download.main(["weights", "some_net/weights.h5"]) == 1
    assert "does not answer" in capsys.readouterr().err

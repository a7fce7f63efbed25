"""What is loaded holds data, never code; and no name leads out of its folder."""

from __future__ import annotations

import ast
import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from bakeoff.errors import ParameterError, RequestError
from bakeoff.params import load_parameters, rules
from bakeoff.plan.python_source import without_magics
from bakeoff.report import Report
from bakeoff.store import Store
from tests.conftest import PROJECT, Workplace
from tests.stubs import commit

# The only uses of names that could run what they read, each with its reason.
ALLOWED = {
    ("bakeoff/params/yaml_file.py", "yaml.parse"): "events only",
    ("bakeoff/params/yaml_file.py", "yaml.compose"): "nodes only, by CSafeLoader",
    ("bakeoff/params/yaml_file.py", "yaml.constructor.SafeConstructor"): "plain scalars, by their kind",
    ("bakeoff/export/model_card.py", "yaml.safe_dump"): "writes",
    ("bakeoff/params/new_variant.py", "yaml.safe_dump"): "writes",
    ("benchmarks/quick.py", "yaml.safe_dump"): "writes",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "tarfile", "xmlrpc"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_ATTRIBUTES = {
    *("system", "popen", "extract", "extractall", "unpack_archive", "enable_unsafe_deserialization", "getoutput"),
    *("read_pickle", "to_pickle", "fromregex", "genfromtxt", "get_file", "mktemp", "loads_unsafe"),
}


def _sources() -> list[tuple[str, ast.AST]]:
    """Every Python file that runs, and the code of every notebook."""
    paths = [PROJECT / "pipeline.py", *(PROJECT / "bakeoff").rglob("*.py"), *(PROJECT / "benchmarks").rglob("*.py")]
    found = [(path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text())) for path in sorted(paths)]
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        code = "\n".join("".join(cell["source"]) for cell in cells)
        found.append((f"notebooks/{path.name}", ast.parse(without_magics(code))))
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _dangers(name: str, tree: ast.AST) -> Iterator[str]:
    """What could run something in a file."""
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (module for module in modules if module.split(".")[0] in FORBIDDEN_MODULES)
    for called, call in _calls(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        last = called.split(".")[-1]
        if called in FORBIDDEN_CALLS or ("." in called and last in FORBIDDEN_ATTRIBUTES):
            yield called
        if called.startswith("yaml.") and (name, called) not in ALLOWED:
            yield called
        if keywords.get("allow_pickle", "False") != "False" or keywords.get("safe_mode", "True") != "True":
            yield f"{called} {keywords}"
        if keywords.get("shell", "False") != "False" or "custom_objects" in keywords:
            yield f"{called} {keywords}"
        if last == "load_model" and keywords.get("compile") != "False":  # compiling looks up losses and metrics
            yield f"{called} {keywords}"


def test_nothing_runs_what_it_reads() -> None:
    found = [(name, danger) for name, tree in _sources() for danger in _dangers(name, tree)]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import tarfile",
        "eval('1')",
        "exec(x)",
        "os.system('x')",
        "yaml.load(x, Loader=yaml.Loader)",
        "yaml.unsafe_load(x)",
        "np.load(x, allow_pickle=True)",
        "keras.models.load_model(x, compile=False, safe_mode=False)",
        "keras.models.load_model(x)",
        "subprocess.run(x, shell=True)",
        "archive.extractall()",
        "keras.config.enable_unsafe_deserialization()",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(_dangers("bakeoff/x.py", ast.parse(code)))


def test_every_loader_is_one_of_ours() -> None:
    """Who loads arrays and networks; a new place must be looked at, and named here."""
    loads = {
        (name, called)
        for name, tree in _sources()
        for called, _ in _calls(tree)
        if called.split(".")[-1] in ("load_model", "load_weights") or called == "np.load"
    }
    assert loads == {
        ("bakeoff/lab/tested.py", "np.load"),
        ("bakeoff/lab/data.py", "np.load"),
        ("bakeoff/lab/array_file.py", "np.load"),  # allow_pickle=False
        ("bakeoff/lab/plots/digits.py", "np.load"),
        ("bakeoff/lab/evaluation.py", "np.load"),
        ("bakeoff/lab/files.py", "np.load"),
        ("bakeoff/lab/preprocessing.py", "np.load"),
        ("bakeoff/lab/export.py", "keras.models.load_model"),
        ("bakeoff/lab/training/checkpoint.py", "keras.models.load_model"),
        ("bakeoff/lab/training/results.py", "keras.models.load_model"),
        ("bakeoff/lab/training/results.py", "split_base(model)[1].load_weights"),
        ("bakeoff/store/equivalence.py", "np.load"),
        ("benchmarks/bare_script.py", "np.load"),
        ("benchmarks/gpu_worker.py", "np.load"),
    }


class _Runs:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["train_labels.npy", "train_ids.npy", "train_images.npy"])
def test_arrays_that_hold_a_pickle_are_refused(tmp_path: Path, name: str) -> None:
    from bakeoff.lab import data

    data.load("shapes10", tmp_path, max_train_examples=10, max_test_examples=10, seed=0)
    np.save(tmp_path / name, np.array([_Runs(tmp_path / "ran")], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"allow_pickle|Object arrays|Array can't be memory-mapped"):
        data.open_dataset(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["objects", "a plain pickle"])
def test_a_saved_state_that_holds_a_pickle_counts_as_none(tmp_path: Path, content: str) -> None:
    from bakeoff.lab import files
    from bakeoff.lab.training.checkpoint import STATE

    path = tmp_path / STATE
    if content == "objects":
        np.savez(path, epoch=np.array([_Runs(tmp_path / "ran")], dtype=object))
    else:
        path.write_bytes(pickle.dumps(_Runs(tmp_path / "ran")))
    assert files.read_npz_if_whole(path) == {}
    assert not (tmp_path / "ran").exists()


def test_no_array_is_written_as_a_pickle(tmp_path: Path) -> None:
    from bakeoff.lab import files

    objects = np.array([{}], dtype=object)
    with pytest.raises(ValueError, match=r"pickle|objects"):
        files.write_npy(tmp_path / "x.npy", objects)
    with pytest.raises(ValueError, match=r"pickle|objects"):
        files.write_npz(tmp_path / "x.npz", x=objects)
    assert list(tmp_path.iterdir()) == []


def _trained(folder: Path, content: bytes) -> dict[str, str]:
    """A training's folder with a network of somebody else's making."""
    from bakeoff.lab import training

    (folder / training.SUMMARY).write_text(json.dumps({"partly_saved": False, "precision": "float32"}))
    (folder / training.MODEL).write_bytes(content)
    return {"train": str(folder)}


def _crafted(layer: dict[str, object]) -> bytes:
    """A .keras file whose network has this layer."""
    import keras

    network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)])
    buffer = Path("plain.keras")
    network.save(buffer)
    crafted = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(crafted, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] = layer
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return crafted.getvalue()


def _lambda() -> bytes:
    import keras

    network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    network.save("lambda.keras")
    return Path("lambda.keras").read_bytes()


def _called(module: str, name: str) -> dict[str, object]:
    """A layer whose description names any function of any module."""
    return {
        "module": module,
        "class_name": name,
        "config": {"name": "x", "args": ["touch ran"]},
        "registered_name": name,
        "build_config": None,
    }


def _weights_only() -> bytes:
    import keras

    network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)])
    network.save_weights("x.weights.h5")
    return Path("x.weights.h5").read_bytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lambda", "os.system", "builtins.eval", "pickle", "HDF5", "nothing"])
def test_a_network_that_brings_code_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.lab import training

    monkeypatch.chdir(tmp_path)
    contents = {
        "lambda": _lambda,
        "os.system": lambda: _crafted(_called("os", "system")),
        "builtins.eval": lambda: _crafted(_called("builtins", "eval")),
        "pickle": lambda: pickle.dumps(_Runs(tmp_path / "ran")),
        "HDF5": _weights_only,
        "nothing": lambda: b"",
    }
    inputs = _trained(tmp_path, contents[kind]())
    with pytest.raises((ValueError, TypeError, OSError)):
        training.load_trained(inputs)
    assert not (tmp_path / "ran").exists()


def test_a_sound_network_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from bakeoff.lab import training

    monkeypatch.chdir(tmp_path)
    network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)])
    network.save("sound.keras")
    assert training.load_trained(_trained(tmp_path, Path("sound.keras").read_bytes())).count_params() == 6


def test_a_step_whose_network_was_exchanged_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("train", "k" * 64)
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"ours")
    commit(store, "train", "k" * 64, {})
    assert store.first_bad_file("train", "k" * 64) is None
    (folder / "model.keras").write_bytes(b"evil")  # of the same size
    assert store.first_bad_file("train", "k" * 64) == "model.keras"


@pytest.mark.parametrize(
    "name", ["../x", "..", "cifar10/..", "/etc", "a\\..\\b", "a/b/c", "~", "", "a\n", "--help", "C:x", "a/.hidden"]
)
def test_no_data_set_s_name_leaves_its_folder(name: str) -> None:
    with pytest.raises(ParameterError, match="TFDS"):
        load_parameters(["ann"], "full", [f"dataset={json.dumps(name)}"])


@pytest.mark.parametrize(
    "name", ["../../x.h5", "a/../x.h5", "/x.h5", "a/.h5", "a/b", "a/..", "a//x.h5", "x.h5", "-a/x.h5"]
)
def test_no_file_of_weights_leaves_its_folder(name: str) -> None:
    with pytest.raises(ParameterError, match=r"keras\.applications"):
        load_parameters(["ann"], "full", [f"weights_file={json.dumps(name)}"])


def test_the_lab_refuses_such_data_sets_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.lab import prepared

    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    for place in ("1.0.0", "data/1.0.0"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "dataset_info.json").write_text("{}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    for name in ("..", "../", "cifar10/..", "cifar10/../.."):
        with pytest.raises(ValueError, match="not prepared"):
            prepared._prepared_folder(name)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "."])
def test_no_report_s_name_leaves_its_folder(workplace: Workplace, name: str) -> None:
    done = workplace.run("--report-only", "--variants", "ann", "--set", "dataset=shapes10", "--report-name", name)
    assert done.returncode == 2, done.stderr
    assert "report-name" in done.stderr and done.stderr.count("\n") == 1


def test_no_report_is_written_over_what_lies_beside_the_reports(tmp_path: Path) -> None:
    """It would clear away the folder notebooks/ there."""
    plan: Any = None  # not looked at
    with pytest.raises(RequestError, match="--report-name"):
        Report(tmp_path / "reports" / "..", "quick", plan, [], "", plan, list)


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "a\nb", "", "-h", "ann.yaml", "CON/x"])
def test_no_variant_s_name_leaves_its_folder(name: str) -> None:
    assert not rules.is_name(name)


class _Host(BaseHTTPRequestHandler):
    """Answers everything with the same wrong bytes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"wrong")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def host() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Host)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_weights_with_a_wrong_digest_are_never_put_in_place(
    tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bakeoff.lab import download

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "efficientnetv2-b0_notop.h5"):
        with pytest.raises(ValueError, match="MD5"):
            download.fetch_weights(f"folder/{name}", host)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("recorded", [True, False])
def test_data_with_a_wrong_digest_or_none_are_never_unpacked(tmp_path: Path, host: str, recorded: bool) -> None:
    """TFDS compares what came with the digest that it has recorded, before it unpacks anything."""
    import tensorflow_datasets as tfds

    url = f"{host}data.tar.gz"
    known = tfds.download.checksums.UrlInfo(size=5, checksum="0" * 64, filename="data.tar.gz")
    manager = tfds.download.DownloadManager(
        download_dir=str(tmp_path / "down"),
        extract_dir=str(tmp_path / "out"),
        url_infos={url: known} if recorded else {},
        force_checksums_validation=True,  # as bakeoff.lab.download asks for
    )
    with pytest.raises((tfds.download.download_manager.NonMatchingChecksumError, ValueError), match=r"(?i)checksum"):
        manager.download_and_extract(url)
    assert not any((tmp_path / "out").rglob("*.*"))

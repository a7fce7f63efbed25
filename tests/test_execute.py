"""One notebook in a real kernel: what counts as success, and what each failure is called."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from bakeoff import warm
from bakeoff.errors import StepError
from bakeoff.executors.kernels import Kernels
from bakeoff.plan.machine import Machine
from bakeoff.plan.steps import STAGES, Step
from bakeoff.run.execute import FAILED, Job, execute
from bakeoff.run.runner import Runner, kernel_environment
from bakeoff.store import Store
from bakeoff.warm.provisioner import WarmProvisioner, make_known


def _job(tmp_path: Path, *sources: str, outputs: tuple[str, ...] = (), timeout_seconds: int = 60) -> Job:
    cells = [nbformat.v4.new_code_cell("output = None", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "stub.ipynb"
    nbformat.write(notebook, path)
    folder = tmp_path / "step"
    return Job(
        "train", path, folder, {"output": str(folder)}, outputs, {"GREETING": "hello"}, "python3", timeout_seconds
    )


def test_a_step_runs_in_its_folder_with_its_parameters_and_environment(tmp_path: Path) -> None:
    source = "import os, pathlib\npathlib.Path(output, 'a.txt').write_text(os.environ['GREETING'] + os.getcwd())"
    assert execute(_job(tmp_path, source, outputs=("a.txt",))).seconds > 0
    assert (tmp_path / "step" / "a.txt").read_text() == f"hello{tmp_path / 'step'}"
    executed = nbformat.read(tmp_path / "step" / "notebook.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('the learning rate is too high')", "code cell 3: the learning rate is too high"),
        ("from bakeoff.lab.models import NetworkError\nraise NetworkError('no width')", "code cell 3: no width"),
        ("{}['image']", "code cell 3: KeyError: 'image'"),
        ("raise ValueError", "code cell 3: ValueError: no message"),
        ("import sys; sys.exit(0)", "code cell 3: SystemExit: 0"),
        ("import os; os._exit(0)", "code cell 3: the kernel died"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "code cell 3: the kernel died"),
    ],
)
def test_a_failure_is_named_with_its_cell(tmp_path: Path, source: str, reason: str) -> None:
    with pytest.raises(StepError) as caught:
        execute(_job(tmp_path, source, "done = True"))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "step" / "notebook.ipynb").exists()
    assert (tmp_path / "step" / FAILED).exists() or "kernel died" in reason


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="code cell 3: the stage ran longer than 5 s"):
        execute(_job(tmp_path, "import time; time.sleep(60)", timeout_seconds=5))


def test_the_time_limit_is_that_of_all_cells_together(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="longer than 6 s"):
        execute(_job(tmp_path, *["import time; time.sleep(2.5)"] * 5, timeout_seconds=6))


def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    job = _job(tmp_path, "open('/dev/full', 'w').write('x' * 100_000)")
    with pytest.raises(StepError, match="No space left on device"):
        execute(job)
    (tmp_path / "stub.ipynb").write_text("{")
    with pytest.raises(StepError, match="train: "):
        execute(job)


def test_every_line_of_the_first_cell_arrives(tmp_path: Path) -> None:
    for _ in range(3):
        execute(_job(tmp_path, "print('\\n'.join(map(str, range(1000))))"))
        executed = nbformat.read(tmp_path / "step" / "notebook.ipynb", as_version=4)
        assert executed.cells[-1].outputs[0].text.split() == [str(number) for number in range(1000)]


def test_a_kernel_that_ends_at_its_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "jupyter" / "kernels" / "mute"
    folder.mkdir(parents=True)
    mute = {"argv": ["python", "-c", "pass"], "display_name": "Mute", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(mute))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    with pytest.raises(StepError, match="the kernel died before it answered"):
        execute(dataclasses.replace(_job(tmp_path, "1"), kernel="mute"))


def test_a_notebook_that_writes_nothing_has_failed(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"did not write metrics\.json"):
        execute(_job(tmp_path, "1 + 1", outputs=("metrics.json",)))


def test_a_good_run_takes_the_place_of_a_failed_one(tmp_path: Path) -> None:
    with pytest.raises(StepError):
        execute(_job(tmp_path, "1 / 0"))
    execute(_job(tmp_path, "1 / 1"))
    assert not (tmp_path / "step" / FAILED).exists()
    assert not list((tmp_path / "step").glob(".*"))


_ENVIRONMENT = """
import json, os, pathlib
pathlib.Path(output, "environment.json").write_text(json.dumps(dict(os.environ)))
"""


def _seen(tmp_path: Path, **environment: str) -> dict[str, str]:
    """The environment of a kernel that is given these variables."""
    execute(dataclasses.replace(_job(tmp_path, _ENVIRONMENT), environment=environment))
    return dict(json.loads((tmp_path / "step" / "environment.json").read_text()))


def test_an_environment_is_that_of_its_step_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--of_the_user")
    before = dict(os.environ)
    assert _seen(tmp_path, TF_DETERMINISTIC_OPS="1", XLA_FLAGS="--of_a_step")["TF_DETERMINISTIC_OPS"] == "1"
    assert dict(os.environ) == before
    later = _seen(tmp_path)
    assert "TF_DETERMINISTIC_OPS" not in later
    assert later["XLA_FLAGS"] == "--of_the_user"


def test_what_the_user_asked_of_xla_stays_beside_determinism(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_user=1")
    settings = {"deterministic": True}
    step = Step(STAGES["train"], {}, {}, {"settings": settings}, "key", "page")
    chosen = kernel_environment(step, Machine("jax", 2, {}, ("0",)), tmp_path, "0")
    assert chosen["XLA_FLAGS"] == "--xla_of_the_user=1 --xla_gpu_deterministic_ops=true"


@pytest.mark.parametrize(
    ("share", "chosen"),
    [
        (0.0, {"JAX_PLATFORMS": "cpu"}),
        (1.0, {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.900"}),
        (0.25, {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.225"}),
    ],
)
def test_jax_takes_its_share_of_a_gpu_and_none_for_steps_on_the_cpu(
    tmp_path: Path, share: float, chosen: dict[str, str]
) -> None:
    step = Step(STAGES["train"], {}, {}, {"settings": {}}, "key", "page", gpu_share=share)
    seen = kernel_environment(step, Machine("jax", 2, {}, ("0",)), tmp_path, "0" if share else "")
    assert {name: value for name, value in seen.items() if name.startswith(("JAX_PLAT", "XLA_"))} == chosen


def test_packages_on_the_user_s_path_reach_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the code before, a kernel had the project's folder alone, and not the packages beside it."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "brought_along.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    with Runner(Store(tmp_path / "runs"), Machine("tensorflow", 2, {}), tmp_path, print) as runner:
        step = Step(STAGES["load"], {}, {}, {"settings": {}}, "key", "page")
        environment = runner.kernel_environment(step)
        execute(dataclasses.replace(_job(tmp_path, "import bakeoff, brought_along"), environment=environment))
        monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
        assert runner.kernel_environment(step)["PYTHONPATH"] == environment["PYTHONPATH"]  # not longer each time


def test_the_warm_kernel_is_known_where_bakeoff_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KernelProvisionerFactory, "provisioners", {})
    make_known()
    assert KernelProvisionerFactory.provisioners[warm.KERNEL].load() is WarmProvisioner


def test_a_kernel_reads_no_start_up_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("smuggled = 1")
    (tmp_path / "python.py").write_text("smuggled_too = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "python.py"))
    source = "assert not {'smuggled', 'smuggled_too'} & {*globals()}, 'a start-up file was read'"
    with pytest.raises(StepError, match="a start-up file was read"):
        execute(_job(tmp_path, source))
    kernels = Kernels({}, tmp_path / "log", print, cold=True)
    execute(kernels.equip(_job(tmp_path, source)))
    kernels.close()


# Stands for a backend that came up on a device: what `bakeoff.lab.device` looks at.
_BACKEND = """
import os, sys, types
os.environ["KERAS_BACKEND"] = "jax"
sys.modules["jax._src.xla_bridge"] = types.SimpleNamespace(_backends={{"cpu": 1}})
sys.modules["jax"] = types.SimpleNamespace(
    devices=lambda: [types.SimpleNamespace(platform="{0}", device_kind="{0} kind")]
)
"""


@pytest.mark.parametrize(("device", "measured"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_a_step_on_another_device_than_its_key_says_is_stopped(tmp_path: Path, device: str, measured: str) -> None:
    job = _job(tmp_path, "1 + 1", _BACKEND.format(measured), "open('too_late', 'w')")
    with pytest.raises(StepError, match=f"computes on a {measured.upper()} where its key says {device.upper()}"):
        execute(dataclasses.replace(job, device=device))
    assert not (tmp_path / "step" / "too_late").exists()


def test_what_a_kernel_computed_on_is_measured(tmp_path: Path) -> None:
    assert execute(_job(tmp_path, "1 + 1")).device is None
    made = execute(dataclasses.replace(_job(tmp_path, _BACKEND.format("gpu")), device="gpu"))
    assert made.device == {"device": "gpu", "kind": "gpu kind"}


def test_tensorflow_is_asked_what_it_computes_on(tmp_path: Path) -> None:
    made = execute(_job(tmp_path, "import tensorflow as tf", "tf.ones(1)"))
    assert made.device == {"device": "cpu", "kind": ""}

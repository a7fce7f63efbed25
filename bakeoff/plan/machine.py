"""What computes: Keras' backend, processor or GPU, and every setting outside the parameters that changes numbers."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError
from bakeoff.store.digests import DigestCache

BACKEND_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "tensorflow": ("tensorflow",),
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
}
GPU_SECONDS = 180  # a backend that has not said by then which GPUs it has is taken for one that cannot compute on them
# Each prints the names of the GPUs and the version of cuDNN, as JSON.
_GPU_QUESTIONS = {
    "tensorflow": """
import json, tensorflow as tf
found = tf.config.list_physical_devices("GPU")
names = [tf.config.experimental.get_device_details(each).get("device_name", "GPU") for each in found]
print(json.dumps([names, str(tf.sysconfig.get_build_info().get("cudnn_version"))]))
""",
    "jax": """
import json, jax
names = [each.device_kind for each in jax.devices() if each.platform == "gpu"]
try:
    from jax._src.lib import cuda_versions
    cudnn = str(cuda_versions.cudnn_get_version())
except Exception:
    cudnn = "unknown"
print(json.dumps([names, cudnn]))
""",
    "torch": """
import json, torch
names = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
print(json.dumps([names, str(torch.backends.cudnn.version())]))
""",
}
# Environment variables that change numbers, beside what the parameters say.
NUMERIC_VARIABLES = (
    *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG", "TF_CUDNN_USE_FRONTEND"),
    # Instruction sets and arithmetic of oneDNN, MKL, OpenBLAS, NumPy and PyTorch.
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS", "DNNL_CPU_ISA_HINTS"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "TF_SET_ONEDNN_FPMATH_MODE"),
    *("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "OPENBLAS_CORETYPE"),
    *("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY"),
    *("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_DTYPE_BITS"),
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"),
)
# What keras.json may say beside the backend, with Keras' own defaults.
_KERAS_DEFAULTS = {"floatx": "float32", "epsilon": 1e-07, "image_data_format": "channels_last", "nnx_enabled": False}
_INSTRUCTION_SETS = re.compile(r"fma|avx\w*|amx\w*|sve\w*|asimd\w*")
_DRIVER = Path("/proc/driver/nvidia/version")
_DEVICES = Path("/dev")  # in containers without the driver's page in /proc
_WSL = (Path("/usr/lib/wsl/lib/libcuda.so"), Path("/dev/dxg"))  # Windows' own driver, seen from WSL2


@dataclass(frozen=True)
class Machine:
    """What computes: Keras' backend, cpu or gpu, cores, and the settings that change numbers."""

    backend: str
    cores: int
    settings: Mapping[str, Any]
    gpus: Sequence[str] = ()  # ids, as CUDA_VISIBLE_DEVICES names them
    processor: str = "unknown"  # its kind: on another one a CPU rounds otherwise
    gpu: str = ""  # the GPUs' kind
    cudnn: str = ""
    threads: int = 0  # what the parameter `threads: 0` stands for; 0: the cores

    @property
    def device(self) -> str:
        """What the heavy steps compute on: gpu where there is one, else cpu."""
        return "gpu" if self.gpus else "cpu"

    def record(self) -> dict[str, Any]:
        """What is written down about it."""
        return {**asdict(self), "device": self.device}

    def key_settings(self, on_gpu: bool, threads: int) -> dict[str, Any]:
        """The settings that change the numbers of a step that computes, for its key.

        A GPU's numbers do not depend on the processor that feeds it, nor on its number of threads.
        """
        of_gpu = {"device": "gpu", "gpu": self.gpu, "cudnn": self.cudnn}
        of_cpu = {"device": "cpu", "threads": threads, "processor": self.processor}
        return {"backend": self.backend, **(of_gpu if on_gpu else of_cpu), **self.settings}


def find_machine(digests: DigestCache, cores: int, say: Callable[[str], None]) -> Machine:
    """This machine. A GPU counts only if the backend can compute on it."""
    backend = find_backend()
    ids, kind, cudnn = find_gpus(backend, digests, say)
    return Machine(backend, cores, numeric_settings(), ids, processor(), kind, cudnn)


def numeric_variables() -> dict[str, str]:
    """The environment variables that are set here and change numbers."""
    return {name: os.environ[name] for name in NUMERIC_VARIABLES if name in os.environ}


def numeric_settings() -> dict[str, Any]:
    """The environment variables that are set and change numbers, and what keras.json says."""
    keras = read_keras_settings()
    return numeric_variables() | {name: keras.get(name, default) for name, default in _KERAS_DEFAULTS.items()}


def find_gpus(backend: str, digests: DigestCache, say: Callable[[str], None]) -> tuple[tuple[str, ...], str, str]:
    """Ids and kind of the GPUs that `backend` can compute on, and cuDNN's version.

    Asked of the backend once a host, driver and version; a question that failed is asked again by the next command.
    """
    driver, visible = _driver(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1") or not driver:
        return (), "", ""
    versions = "-".join(package_version(each) for each in BACKEND_PACKAGES[backend])
    purpose = f"gpus-{platform.node()}-{backend}-{versions}-{driver}-{visible or 'all'}"
    try:
        kinds, cudnn = digests.recall(Path(sys.executable), purpose, lambda _: _ask(backend))
    except RuntimeError as error:
        say_once(say, f"No GPU is used, since {backend} did not say which it can compute on ({error}).")
        return (), "", ""
    ids = tuple(visible.split(",") if visible else map(str, range(len(kinds))))[: len(kinds)]
    return ids, ", ".join(sorted(set(kinds))), cudnn if kinds else ""


@cache
def processor() -> str:
    """The processor's kind, as far as bits depend on it: model and instruction sets."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return _processor_by_name()
    pairs = (line.partition(":")[::2] for line in first.splitlines())
    info = {name.strip().lower(): value.strip() for name, value in pairs}
    numbers = [info[name] for name in ("cpu family", "model", "cpu implementer", "cpu part") if name in info]
    flags = sorted(filter(_INSTRUCTION_SETS.fullmatch, (info.get("flags") or info.get("features") or "").split()))
    name = info.get("model name") or platform.machine()
    return " ".join([name, *([f"({'.'.join(numbers)})"] if numbers else []), *flags])


def keras_home() -> Path:
    """Where Keras keeps its configuration and downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser().resolve()


def read_keras_settings() -> dict[str, Any]:
    """What keras.json says; nothing where there is none or, as Keras has it, it cannot be read."""
    try:
        said = json.loads((keras_home() / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def find_backend() -> str:
    """Keras' backend: KERAS_BACKEND, else what Keras' own settings say, else TensorFlow."""
    backend = os.environ.get("KERAS_BACKEND") or read_keras_settings().get("backend") or "tensorflow"
    if backend not in BACKEND_PACKAGES:
        raise RequestError(f"KERAS_BACKEND is {backend!r}; set it to one of {', '.join(BACKEND_PACKAGES)}")
    if find_spec(backend) is None:
        there = [name for name in BACKEND_PACKAGES if find_spec(name)]
        mend = f"set KERAS_BACKEND={there[0]}, which is" if there else f"pip install 'bakeoff[{backend}]'"
        raise RequestError(f"Keras is to compute with {backend}, which is not installed here; {mend}")
    return str(backend)


@cache
def package_version(package: str) -> str:
    """The installed version, or "missing"; of "python" the version that decides what its library computes."""
    if package == "python":
        return ".".join(platform.python_version_tuple()[:2])
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _driver() -> str:
    """What tells one NVIDIA driver from another; nothing where there is none."""
    if _DRIVER.is_file():
        return re.sub(r"\s+", " ", _DRIVER.read_text(encoding="utf-8", errors="replace")).strip()
    library, device = _WSL
    if library.exists() and device.exists():
        stat = library.stat()
        return f"WSL {stat.st_size} {stat.st_mtime_ns}"
    return "unknown" if any(_DEVICES.glob("nvidia[0-9]*")) else ""


def _ask(backend: str) -> tuple[list[str], str]:
    """The names of the GPUs and cuDNN's version, by a process that imports the backend; RuntimeError says why not."""
    command = [sys.executable, "-c", _GPU_QUESTIONS[backend]]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=GPU_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {GPU_SECONDS} s; run the command again, or set KERAS_BACKEND") from None
    lines = answer.stdout.splitlines()
    if answer.returncode or not lines:
        reason = (answer.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise RuntimeError(f"{reason[:200]}; mend its installation, or set CUDA_VISIBLE_DEVICES=-1 to use none")
    names, cudnn = json.loads(lines[-1])
    return names, cudnn


def _processor_by_name() -> str:
    """Where there is no /proc: what sysctl says, else the architecture."""
    try:
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        said = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        said = ""
    return said or platform.processor() or platform.machine()


_said: set[str] = set()


def say_once(say: Callable[[str], None], sentence: str) -> None:
    """Say what each of a command's plans would say again."""
    if sentence not in _said:
        _said.add(sentence)
        say(sentence)

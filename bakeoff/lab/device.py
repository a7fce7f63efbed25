"""What this kernel computes on, asked of the backend itself once it has come up."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def used() -> str:
    """The device as JSON: {"device": cpu or gpu, "kind": its name}; null while no backend has come up.

    Nothing is imported or started here: to ask a backend for its devices would start it.
    """
    look = {"tensorflow": _of_tensorflow, "jax": _of_jax, "torch": _of_torch}
    found = look[os.environ.get("KERAS_BACKEND") or "tensorflow"]()
    return json.dumps(None if found is None else {"device": "gpu" if found else "cpu", "kind": ", ".join(found)})


def _of_tensorflow() -> list[str] | None:
    """Names of the GPUs; None before the runtime is up."""
    context = sys.modules.get("tensorflow.python.eager.context")
    if context is None or getattr(context.context(), "_context_handle", None) is None:
        return None
    config: Any = sys.modules["tensorflow"].config
    if not config.list_logical_devices("GPU"):
        return []
    found = config.list_physical_devices("GPU")
    return [str(config.experimental.get_device_details(each).get("device_name", "GPU")) for each in found]


def _of_jax() -> list[str] | None:
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is None or not getattr(bridge, "_backends", None):
        return None
    return [each.device_kind for each in sys.modules["jax"].devices() if each.platform == "gpu"]


def _of_torch() -> list[str] | None:
    torch = sys.modules.get("torch")
    if torch is None or "keras" not in sys.modules:
        return None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(each) for each in range(count)]

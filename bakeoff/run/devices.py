"""GPUs leased by id to the steps that ask for one; several small steps may share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bakeoff.plan.steps import Name, Step

_ROUNDING = 1e-9  # shares are decimal fractions: ten times 0.1 must fit


@dataclass
class Devices:
    """The GPUs of this machine and who has which share of them."""

    ids: Sequence[str]
    _used: dict[str, float] = field(default_factory=dict)
    _leases: dict[Name, tuple[str, float]] = field(default_factory=dict)

    def room(self, share: float) -> str | None:
        """The id of the fullest GPU that has `share` free, so that others stay free as a whole; None without one."""
        fitting = [each for each in self.ids if self._used.get(each, 0.0) + share <= 1 + _ROUNDING]
        return max(fitting, key=lambda each: self._used.get(each, 0.0), default=None)

    def lease(self, step: Step) -> str:
        """Lease a GPU to a step that starts, once; the id, or nothing for a step that computes on the CPU.

        Raises RuntimeError where no GPU has room: whoever starts a step looks for `room` first.
        """
        if not step.gpu_share:
            return ""
        if step.name not in self._leases:
            device = self.room(step.gpu_share)
            if device is None:
                raise RuntimeError(f"no GPU has {step.gpu_share:g} free for {' '.join(step.name)}")
            self._used[device] = self._used.get(device, 0.0) + step.gpu_share
            self._leases[step.name] = device, step.gpu_share
        return self._leases[step.name][0]

    def release(self, step: Step) -> None:
        """End a step's lease, if it has one."""
        device, share = self._leases.pop(step.name, ("", 0.0))
        if device:
            self._used[device] -= share

"""Ctrl-C at moments spread over `make setup`, and each time `make setup` after it: does it mend what was left?

python -m tests.faults.stopped_setups --moments 20
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """The command. 0 when every set-up was mended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--moments", type=int, default=20)
    moments = parser.parse_args().moments
    with tempfile.TemporaryDirectory(prefix="bakeoff-setups-") as place:
        checkout = _copy(Path(place) / "checkout")
        whole = _set_up(checkout)
        print(f"A set-up that nobody stops takes {whole:.1f} s.", flush=True)
        mended = sum(_stopped_and_mended(checkout, whole * (number + 0.5) / moments) for number in range(moments))
    print(f"{mended} of {moments} set-ups that were stopped were mended by `make setup`.")
    return 0 if mended == moments else 1


def _copy(checkout: Path) -> Path:
    """The files of the project that git knows, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, checkout / name)
    return checkout


def _set_up(checkout: Path) -> float:
    """`make setup` from nothing; the seconds that it took."""
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    begun = time.monotonic()
    subprocess.run(["make", "setup"], cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def _stopped_and_mended(checkout: Path, moment: float) -> bool:
    """Whether `make setup`, stopped after `moment` seconds, is mended by the next one."""
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    first = subprocess.Popen(
        ["make", "setup"], cwd=checkout, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with suppress(subprocess.TimeoutExpired):
        first.wait(moment)
    with suppress(ProcessLookupError):  # it was quicker than the moment
        os.killpg(first.pid, signal.SIGINT)
    left = "ended by itself" if first.wait() == 0 else "stopped"
    second = subprocess.run(["make", "setup"], cwd=checkout, capture_output=True, encoding="utf-8", check=False)
    python = checkout / ".venv" / "bin" / "python"
    works = second.returncode == 0 and not subprocess.run([python, "-c", "import tensorflow"], check=False).returncode
    print(
        f"{left} after {moment:.1f} s: {'mended' if works else f'NOT mended: {second.stdout}{second.stderr}'}",
        flush=True,
    )
    return works


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background would have it ignored
    sys.exit(main())

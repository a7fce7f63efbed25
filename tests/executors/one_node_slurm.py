"""A Slurm of one node, this machine, from Debian's packages, with keys, ports and folders of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bakeoff.plan.resources import free_memory, usable_cores

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
_PATIENCE = 60.0
# A job that is queued again waits for cred_expire seconds.
_CONFIGURATION = """ClusterName=bakeoff
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket,cred_expire=20
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={megabytes} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why there can be none here; nothing where there can."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"a real Slurm was not shown: {missing[0]} is missing (Debian: apt-get install slurm-wlm munge)"
    return "" if os.getuid() == 0 else "a real Slurm was not shown: its daemons need root"


@contextmanager
def slurm(place: Path) -> Iterator[str]:
    """The daemons, for the block; gives the path for SLURM_CONF. `place` has a short name: sockets lie there."""
    place.chmod(0o711)
    for name in ("state", "spool"):
        (place / name).mkdir()
    (place / "key").write_bytes(secrets.token_bytes(128))
    (place / "key").chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    known = {"host": host, "ports": _free_ports(2), "place": place}
    room = {"cores": usable_cores(), "megabytes": free_memory() // 2**20}
    configuration = place / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(**known, **room))
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    files = [f"--{name}-file={place}/{file}" for name, file in (("key", "key"), ("pid", "pid"), ("log", "munge.log"))]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={place}/munge.socket", f"--seed-file={place}/seed", *files],
        ["slurmctld", "-D", "-c", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration), "-N", host],
    ]
    daemons = []
    try:
        for command in commands:
            with (place / f"{command[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            time.sleep(0.5)
        _wait_for_node(place, environment)
        yield str(configuration)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_for_node(place: Path, environment: dict[str, str]) -> None:
    end, said = time.monotonic() + _PATIENCE, ""
    while time.monotonic() < end:
        done = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = {path.name: path.read_text(errors="replace")[-1000:] for path in place.glob("*.[ol][ou][tg]")}
    raise RuntimeError(f"Slurm did not come up: {said} {logs}")

"""Starts a stage in several processes by torchrun, and ends them together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from carvana.base.errors import UserError
from carvana.base.processes import cores, die_with_parent

_RESTARTS = 3  # how often the processes are started again after one has died
_COMPLAINT = "CARVANA_COMPLAINT"  # in the environment: the file for an error that the user can fix
_LOOPBACK = "127.0.0.1"


def launched() -> bool:
    """Returns whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def machine() -> int:
    """Returns this machine's number, from 0, among those that share the work; only the first writes results."""
    return int(os.environ.get("PET_NODE_RANK", "0")) if "PET_NNODES" in os.environ else 0


def command_for(processes: int) -> tuple[list[str], dict[str, str]]:
    """Returns the start of a torchrun command, to which the program is added, and the environment that it needs.

    Raises UserError if the address of the first of several machines is unknown.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    if "PET_NNODES" not in os.environ:
        # By default the processes would meet at the machine's name, which need not resolve.
        command += ["--standalone", "--local-addr", _LOOPBACK]
    # By default gloo takes the interface of the machine's name, and torchrun allows each process one core.
    first = os.environ.get("PET_MASTER_ADDR", _LOOPBACK) if "PET_NNODES" in os.environ else _LOOPBACK
    defaults = {"GLOO_SOCKET_IFNAME": _interface_to(first), "OMP_NUM_THREADS": str(max(cores() // processes, 1))}
    return command, defaults | os.environ


def _interface_to(host: str) -> str:
    """Returns the name of the network interface by which this machine reaches a host."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing
            own = probe.getsockname()[0]
    except OSError as error:
        raise UserError(
            f"PET_MASTER_ADDR: {host} is no address that this machine can reach ({error}); take the first one's"
        ) from error
    return next(name for name, known in psutil.net_if_addrs().items() if own in (each.address for each in known))


def launch(processes: int, module: str, *arguments: str) -> bool:
    """Runs `python -m module` in several processes with torchrun, and waits; they end if this process ends.

    Returns False at once if the work is this process's own: torchrun started it, or one process is to do it all.
    Several machines can share the work if torchrun's own environment variables are set: PET_NNODES, PET_NODE_RANK,
    PET_MASTER_ADDR, PET_MASTER_PORT. After a process has died, the processes of all machines are started again. Raises
    UserError if a process complains (see `complain`), or if they have died too often.
    """
    if launched() or (processes == 1 and "PET_NNODES" not in os.environ):
        return False
    line = " ".join([module, *arguments])
    if machine() and "DVC_STAGE" in os.environ:
        raise UserError(f"only the first machine runs DVC; here, run `python -m {line}` with the same variables")
    for _ in range(1 + _RESTARTS):
        if "PET_NNODES" in os.environ and not machine():
            print(
                f"waiting for {os.environ['PET_NNODES']} machines, this one included; on each other one, run "
                f"`python -m {line}` with the same PET_ variables and a PET_NODE_RANK of its own",
                file=sys.stderr,
                flush=True,
            )
        if not (status := _run_torchrun(processes, module, *arguments)):
            return True
    raise UserError(f"torchrun ended with status {status}; the first error above says why")


def _run_torchrun(processes: int, module: str, *arguments: str) -> int:
    """Returns torchrun's exit status. Raises UserError if a process complains."""
    command, environment = command_for(processes)
    with tempfile.TemporaryDirectory() as folder:
        complaint = Path(folder) / "complaint"
        child = subprocess.Popen(  # noqa: S603
            [*command, "-m", module, *arguments],
            env=environment | {_COMPLAINT: str(complaint)},
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
        try:
            while child.poll() is None and not complaint.exists():
                time.sleep(0.1)
            if complaint.exists():
                parent = psutil.Process(child.pid)
                # torchrun first, or it would report the others; those that wait for others may not react to SIGTERM.
                for process in [parent, *parent.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                raise UserError(complaint.read_text(encoding="utf-8"))
        finally:
            child.terminate()
            status = child.wait()
    return status


def complain(message: str) -> None:
    """Ends all processes of `launch`, which then raises UserError with this message; does nothing without `launch`.

    If this process merely exited, all of them would be started again, and the error would occur again.
    """
    if _COMPLAINT not in os.environ:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    own = Path(f"{os.environ[_COMPLAINT]}-{os.getpid()}")
    own.write_text(message, encoding="utf-8")
    own.replace(os.environ[_COMPLAINT])
    time.sleep(60)  # `launch` kills this process long before that

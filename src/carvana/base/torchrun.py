"""Starts a stage in several processes by torchrun, and ends them together."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from carvana.base.errors import UserError
from carvana.base.processes import cores, die_with_parent

_RESTARTS = 3  # how often torchrun restarts the processes after one has died
_COMPLAINT = "CARVANA_COMPLAINT"  # in the environment: the file for an error that the user can fix


def launched() -> bool:
    """Returns whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def command_for(processes: int) -> tuple[list[str], dict[str, str]]:
    """Returns the start of a torchrun command, to which the program is added, and the environment that it needs."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--max-restarts", str(_RESTARTS)]
    if "PET_NNODES" not in os.environ:
        command.append("--standalone")
    # Otherwise restarted processes would find their predecessors' addresses, and wait (pytorch/pytorch#135712).
    environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    # By default torchrun allows each process one core.
    environment.setdefault("OMP_NUM_THREADS", str(max(cores() // processes, 1)))
    return command, environment


def launch(processes: int, module: str, *arguments: str) -> bool:
    """Runs `python -m module` in several processes with torchrun, and waits; they end if this process ends.

    Returns False at once if the work is this process's own: torchrun started it, or one process is to do it all.
    Several machines can share the work if torchrun's own environment variables are set: PET_NNODES, PET_NODE_RANK,
    PET_MASTER_ADDR, PET_MASTER_PORT. Raises UserError if a process complains (see `complain`) or torchrun gives up.
    """
    if launched() or (processes == 1 and "PET_NNODES" not in os.environ):
        return False
    command, environment = command_for(processes)
    with tempfile.TemporaryDirectory() as folder:
        complaint = Path(folder) / "complaint"
        child = subprocess.Popen(  # noqa: S603
            [*command, "-m", module, *arguments],
            env=environment | {_COMPLAINT: str(complaint)},
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
        try:
            while (status := child.poll()) is None and not complaint.exists():
                time.sleep(0.1)
            if complaint.exists():
                parent = psutil.Process(child.pid)
                # torchrun first, or it would restart the others; those that wait for others may not react to SIGTERM.
                for process in [parent, *parent.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                raise UserError(complaint.read_text(encoding="utf-8"))
        finally:
            child.terminate()
            child.wait()
    if status:
        raise UserError(f"torchrun ended with status {status}; the first error above says why")
    return True


def complain(message: str) -> None:
    """Ends all processes of `launch`, which then raises UserError with this message; does nothing without `launch`.

    If this process merely exited, torchrun would restart all of them, and the error would occur again.
    """
    if _COMPLAINT not in os.environ:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    own = Path(f"{os.environ[_COMPLAINT]}-{os.getpid()}")
    own.write_text(message, encoding="utf-8")
    own.replace(os.environ[_COMPLAINT])
    time.sleep(60)  # `launch` kills this process long before that

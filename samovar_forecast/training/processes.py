"""Processes of one machine that run a function together, as a launcher such as torchrun would start them."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, start_processes

from samovar_forecast.training.interrupts import Interrupt, interrupts_held_back

Result = TypeVar("Result")
_SECONDS_BETWEEN_LOOKS, _SECONDS_TO_END = 0.2, 5.0


class ProcessEndedError(RuntimeError):
    """A process of a training that is divided over several has ended before the training."""


def own_number() -> int | None:
    """The number of this process on its machine, where a launcher has started several; else None.

    torchrun and `run_together` say it by ``LOCAL_RANK``, SLURM by ``SLURM_LOCALID``.
    """
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        if name in os.environ and not (name == "SLURM_LOCALID" and os.environ.get("SLURM_NTASKS", "1") == "1"):
            return int(os.environ[name])
    return None


def run_together(
    function: Callable[..., Result], arguments: tuple[Any, ...], n_processes: int, interrupt: Interrupt
) -> Result:
    """Call a function in several fresh processes at once; what the first one returns.

    The processes find one another by the environment that Lightning and PyTorch read. Tensors among the arguments lie
    in memory once, which all of them share; threads of the processor are divided among them. Ctrl-C, which this process
    holds back, is handed on to all of them once, and their results count.

    Parameters
    ----------
    function : callable
        Of a module that can be imported.
    arguments : tuple
        Can be pickled.
    n_processes : int
    interrupt : Interrupt
        See `interrupts_held_back`.

    Raises
    ------
    ProcessEndedError
        If a process was killed. The others are ended.
    TypeError
        If an argument cannot be pickled.
    Exception
        What the function raised in a process.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(_free_port()),
            "WORLD_SIZE": str(n_processes),
            "NODE_RANK": "0",
        }
        n_threads = max(1, torch.get_num_threads() // n_processes)
        try:
            context = start_processes(
                _run,
                (function, arguments, Path(folder), environment, n_threads),
                nprocs=n_processes,
                join=False,
                start_method="spawn",  # a forked process can use neither a GPU nor the threads of its parent
            )
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"what is trained cannot be sent to other processes: {error}; leave it out (callbacks, a logger, a "
                "network of a notebook), or start the processes by torchrun"
            ) from error
        try:
            _wait(context, interrupt)
        except ProcessException as error:
            raised = [_outcome(Path(folder), number) for number in range(n_processes)]
            for one in raised:
                if isinstance(one, BaseException) and not _is_of_another_process(one):
                    raise one from None
            if interrupt.asked:
                raise KeyboardInterrupt from None
            raise ProcessEndedError(_told(error, n_processes)) from None
        finally:
            for process in context.processes:
                if process.is_alive():
                    process.kill()
        outcome = _outcome(Path(folder), 0)
    if isinstance(outcome, BaseException):  # Ctrl-C before there was a result
        raise outcome
    return outcome


def _wait(context: Any, interrupt: Interrupt) -> None:
    is_told = False
    while not context.join(timeout=_SECONDS_BETWEEN_LOOKS, grace_period=_SECONDS_TO_END):
        if interrupt.asked and not is_told:
            is_told = True
            for process in context.processes:
                if process.is_alive():
                    os.kill(process.pid, signal.SIGINT)


def _run(
    number: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    folder: Path,
    environment: dict[str, str],
    n_threads: int,
) -> None:
    """One of the processes; it leaves what the function returns or raises in a file."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C goes to the process that started this one, which hands it on
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it was started in the background
    os.environ.update(environment | {"LOCAL_RANK": str(number)})
    torch.set_num_threads(n_threads)
    if number:
        warnings.simplefilter("ignore")  # the first process tells them
    outcome: Any
    try:
        with interrupts_held_back() as interrupt:
            outcome = function(*arguments)
            interrupt.asked = False  # the result is complete, and the process that gets it has seen Ctrl-C too
    except BaseException as error:
        _leave(folder, number, error)
        raise
    if number == 0:
        _leave(folder, number, outcome)


def _leave(folder: Path, number: int, outcome: Any) -> None:
    try:
        content = pickle.dumps(outcome)
        pickle.loads(content)
    except Exception:
        content = pickle.dumps(RuntimeError(repr(outcome)))
    (folder / str(number)).write_bytes(content)


def _outcome(folder: Path, number: int) -> Any:
    path = folder / str(number)
    return pickle.loads(path.read_bytes()) if path.exists() else None


def _is_of_another_process(error: BaseException) -> bool:
    """Whether a process failed because another one of them has ended."""
    # What gloo says of a connection (closed, reset, broken, timed out) is a plain RuntimeError, with its place in gloo.
    of_gloo = "gloo/transport" in str(error) or "onnection closed by peer" in str(error)
    return isinstance(error, torch.distributed.DistError) or of_gloo


def _told(error: ProcessException, n_processes: int) -> str:
    told = f"process {error.error_index} of the {n_processes} of this training"
    if isinstance(error, ProcessExitedException) and error.signal_name is not None:
        hint = ", perhaps for want of memory" if error.signal_name == "SIGKILL" else ""
        told += f" was ended by {error.signal_name}{hint}"
    else:
        told += (
            f" ended early, see what it printed ({error}); a script that trains on several devices must do so under "
            '`if __name__ == "__main__":`, because every process imports it'
        )
    return f"{told}. With checkpoint_dir the same fit goes on after the last epoch that was written"


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port

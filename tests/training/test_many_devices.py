"""A training over several devices is that on one; here they are processes of the CPU."""

import os
import signal
import time

import numpy as np
import pytest
import torch

from samovar_forecast import SAMoVARForecaster, StoredSeries
from samovar_forecast.training.batches import WindowBatches
from samovar_forecast.training.devices import count_devices
from samovar_forecast.training.interrupts import Interrupt
from samovar_forecast.training.processes import ProcessEndedError, own_number, run_together
from tests.conftest import TINY, waves


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize(("n_windows", "batch_size", "n_ranks"), [(24, 8, 2), (17, 8, 2), (25, 6, 3), (5, 8, 4)])
def test_devices_have_the_steps_of_one_between_them(n_windows, batch_size, n_ranks, n_parts, accumulated):
    def loader(**own):
        return WindowBatches(
            torch.arange(n_windows), batch_size, torch.Generator().manual_seed(0), accumulate_batches=accumulated,
            count=lambda starts: (torch.tensor(len(starts)),), **own,
        )  # fmt: skip

    whole = [set(part.starts.tolist()) for part in loader()]
    loaders = [loader(rank=rank, n_ranks=n_ranks, n_parts=n_parts) for rank in range(n_ranks)]
    by_rank = [list(one) for one in loaders]
    assert {len(parts) for parts in by_rank} == {len(one) for one in loaders}  # none waits for another
    shares = [[set() if part.idle else set(part.starts.tolist()) for part in parts] for parts in by_rank]
    step, seen = n_parts * accumulated, []
    for first in range(0, len(shares[0]), step):
        together = [one for parts in shares for one in parts[first : first + step]]
        assert sum(map(len, together)) == len(set().union(*together))  # each window once
        seen.append(set().union(*together))
        own = {int(parts[first].counts[0]) for parts in by_rank}
        assert sum(int(parts[first].counts[0]) for parts in by_rank) == len(seen[-1])
        assert max(own) - min(own) <= n_parts * accumulated
    assert seen == [set().union(*whole[at : at + accumulated]) for at in range(0, len(whole), accumulated)]


def test_a_fit_on_two_processes_is_that_on_one(tmp_path):
    """With gaps, an objective of the network's own, batches of batches, SAM, and a last batch of a single window."""
    y = waves()
    y.iloc[20:30, 0], y.iloc[::7, 1] = np.nan, np.nan
    settings = TINY | {
        "dropout": 0.0, "batch_size": 8, "accumulate_batches": 2, "sharpness_rho": 0.1, "max_epochs": 3,
        "learning_rate": 1e-3, "checkpoint_dir": str(tmp_path),
    }  # fmt: skip
    one, two = (SAMoVARForecaster(**settings, devices=n_devices).fit(y) for n_devices in (1, 2))
    for name, weights in one.network_.state_dict().items():
        torch.testing.assert_close(two.network_.state_dict()[name], weights, rtol=0, atol=1e-5)
    ours, theirs = two.training_summary_, one.training_summary_
    assert (ours.steps, ours.best_epoch, ours.n_windows) == (theirs.steps, theirs.best_epoch, theirs.n_windows)
    np.testing.assert_allclose(ours.history, theirs.history, rtol=1e-4)
    np.testing.assert_allclose(two.calibration_.scores, one.calibration_.scores, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(two.predict(), one.predict(), rtol=1e-4)
    assert list(tmp_path.iterdir()) == []
    assert own_number() is None  # what the processes were told has not reached this one


def killed_or_told(message):
    if own_number() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)
    raise RuntimeError(message)


@pytest.mark.parametrize(
    "told", ["Read error [127.0.0.1]:39581: Connection reset by peer", "Connection closed by peer"]
)
def test_of_two_processes_that_end_the_killed_one_is_named(told):
    """The other says that it lost its connection, in one of gloo's ways."""
    told = f"[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] {told}"
    with pytest.raises(ProcessEndedError, match="process 1 of the 2 of this training was ended by SIGKILL"):
        run_together(killed_or_told, (told,), 2, Interrupt())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"devices": 0}, ValueError, "devices must be at least 1, or 'auto', got 0"),
        ({"devices": "all"}, ValueError, r"devices must be one of \('auto',\) or an integer, got 'all'"),
        ({"devices": 1.5}, TypeError, "devices must be an integer, got 1.5"),
        ({"devices": True}, TypeError, "devices must be an integer, got True"),
        ({"num_nodes": 0}, ValueError, "num_nodes must be at least 1, got 0"),
        ({"strategy": "fsdp"}, ValueError, r"strategy must be one of .*, got 'fsdp': .* lower batch_size"),
        ({"num_nodes": 2, "devices": 4}, ValueError, "torchrun --nnodes=2 --nproc-per-node=4"),
        ({"devices": 2, "batch_size": 1}, ValueError, "batch_size=1 leaves some of 2 devices without a window"),
    ],
)
def test_what_cannot_be_divided_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        SAMoVARForecaster(**TINY | options).fit(waves())


def test_stored_series_are_not_sent_through_memory(tmp_path):
    stored = StoredSeries.write(tmp_path / "series", [waves()])
    with pytest.raises(ValueError, match="by torchrun, so that each of them maps the folder"):
        SAMoVARForecaster(**TINY, devices=2).fit(stored)


def test_a_launcher_needs_a_seed(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert own_number() == 0
    with pytest.raises(ValueError, match="give random_state a whole number, got None"):
        SAMoVARForecaster(**TINY | {"devices": 2, "random_state": None}).fit(waves())


def test_gpus_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert count_devices("auto", torch.device("cuda")) == 2
    with pytest.raises(ValueError, match="devices=3 is not there: PyTorch finds 2 CUDA devices"):
        count_devices(3, torch.device("cuda"))
    with pytest.raises(ValueError, match="a machine has one 'mps'"):
        count_devices(2, torch.device("mps"))

"""A training whose processes torchrun has started: on one machine, and on two that are one here."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from samovar_forecast import SAMoVARForecaster, StoredSeries
from samovar_forecast.training.processes import _free_port
from tests.conftest import TINY, waves

SETTINGS = TINY | {"dropout": 0.0, "batch_size": 8, "max_epochs": 3, "learning_rate": 1e-3}
FIT = """
import os, sys
import pandas as pd, torch
from samovar_forecast import SAMoVARForecaster, StoredSeries

folder, settings, rank = sys.argv[1], {settings}, os.environ["RANK"]
for name, y in (("frame", pd.read_pickle(folder + "/y.pkl")), ("stored", StoredSeries(folder + "/stored"))):
    fitted = SAMoVARForecaster(**settings).fit(y)
    torch.save(fitted.network_.state_dict(), folder + f"/{{name}}{{rank}}.pt")
    if name == "frame":
        fitted.predict().to_pickle(folder + f"/forecast{{rank}}.pkl")
        if rank == "0":
            fitted.save(folder + "/model")
torch.distributed.destroy_process_group()
"""
RESUME = """
import os, sys
import pandas as pd
from pytorch_lightning.callbacks import Callback
from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training.checkpoints import CheckpointError

class Fault(Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 2:
            raise OSError("a fault")

folder, settings, rank = sys.argv[1], {settings}, os.environ["RANK"]
y = pd.read_pickle(folder + "/y.pkl")
own = folder + "/of machine " + rank  # not on a disk that both see
told = []
for callbacks in ([Fault()], None):
    try:
        SAMoVARForecaster(**settings, checkpoint_dir=own, callbacks=callbacks).fit(y)
        told.append("done")
    except (OSError, CheckpointError) as error:
        told.append(str(error))
with open(folder + "/told" + rank, "w") as file:
    file.write("\\n".join(told))
os._exit(0)  # the connection was broken on purpose: at the end of Python its threads sometimes abort the process
"""


def launch(folder, script, n_machines, processes_of_each):
    """Run a script under torchrun, once for each machine; it must end well."""
    settings = SETTINGS | {"devices": processes_of_each, "num_nodes": n_machines}
    (folder / "script.py").write_text(script.format(settings=repr(settings)))
    waves().to_pickle(folder / "y.pkl")
    command = [
        sys.executable, "-m", "torch.distributed.run", f"--nnodes={n_machines}", "--local-addr=127.0.0.1",
        f"--nproc-per-node={processes_of_each}", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{_free_port()}",
        str(folder / "script.py"), str(folder),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    machines = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(n_machines)
    ]
    try:
        told = [machine.communicate(timeout=240)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()  # it ends its processes
            machine.wait()
    assert [machine.returncode for machine in machines] == [0] * n_machines, "\n".join(told)


@pytest.mark.parametrize(("n_machines", "processes_of_each"), [(1, 2), (2, 1)], ids=["one machine", "two machines"])
def test_a_training_under_torchrun_is_that_of_one_process(tmp_path, n_machines, processes_of_each):
    StoredSeries.write(tmp_path / "stored", [waves()])
    launch(tmp_path, FIT, n_machines, processes_of_each)
    for name, y in (("frame", waves()), ("stored", StoredSeries(tmp_path / "stored"))):
        expected = SAMoVARForecaster(**SETTINGS).fit(y)
        for rank in range(2):  # every process has the whole forecaster
            weights = torch.load(tmp_path / f"{name}{rank}.pt")
            for key, value in expected.network_.state_dict().items():
                torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-5)
        if name == "frame":
            for rank in range(2):
                forecast = pd.read_pickle(tmp_path / f"forecast{rank}.pkl")
                np.testing.assert_allclose(forecast, expected.predict(), rtol=1e-4)
            saved = SAMoVARForecaster.load(tmp_path / "model")
            np.testing.assert_allclose(saved.predict(), expected.predict(), rtol=1e-4)


def test_a_checkpoint_that_not_every_machine_sees_is_refused(tmp_path):
    """Else some would go on after its epoch while the others begin: they would wait for each other without end."""
    launch(tmp_path, RESUME, 2, 1)
    for rank in range(2):
        fault, refused = (tmp_path / f"told{rank}").read_text().splitlines()
        assert fault == "a fault"
        assert "on a disk that all machines share" in refused
        assert "process 0" in refused

"""PyTorch's generators: one user at a time, and no other states are changed."""

import threading

import pytest
import torch

from samovar_forecast.training.random_state import forked, seeded

CPU = torch.device("cpu")


@pytest.mark.parametrize("block", [lambda: forked(CPU), lambda: seeded(CPU, 3)], ids=["forked", "seeded"])
def test_the_states_come_back_from_an_error_too(block):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)

    def fail():
        with block():
            torch.rand(5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.rand(3), expected)


def test_a_fork_goes_on_from_the_states_it_finds():
    torch.manual_seed(0)
    with forked(CPU):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), inside)


def test_blocks_may_lie_inside_each_other():
    with seeded(CPU, 1):
        first = torch.rand(2)
    with seeded(CPU, 1), forked(CPU):
        assert torch.equal(torch.rand(2), first)


@pytest.mark.parametrize("other", [lambda: forked(CPU), lambda: seeded(CPU, 3)], ids=["forked", "seeded"])
def test_another_thread_waits_and_changes_nothing(other):
    """The draws of a training, made while a second thread wants the generators, are those it makes alone."""
    with seeded(CPU, 1):
        alone = torch.rand(4)
    inside, done = threading.Event(), []

    def draw():
        inside.wait(10)
        with other():
            done.append(torch.rand(1))

    thread = threading.Thread(target=draw)
    thread.start()
    with seeded(CPU, 1):
        first = torch.rand(2)
        inside.set()
        thread.join(0.3)
        assert thread.is_alive()  # it waits for the end of this block
        assert not done
        rest = torch.rand(2)
    thread.join(10)
    assert len(done) == 1
    assert torch.equal(torch.cat([first, rest]), alone)

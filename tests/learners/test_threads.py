"""Fits in threads of one process: each is limited, none leaves its limit behind, and bits are always the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from homing.learners.network import Form, Network
from homing.learners.threads import few_threads

TIMEOUT = 60.0


@pytest.fixture(params=[1, 2])
def setting(request) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def in_a_new_thread(work: Callable[[], object]) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(TIMEOUT)
    return found[0]


def test_threads_that_overlap_leave_the_setting_as_it_was(setting) -> None:
    """The second enters while the first is limited, and is limited still when the first has left."""
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    seen: dict[str, int] = {}

    def first() -> None:
        with few_threads():
            first_in.set()
            second_in.wait(TIMEOUT)
        seen["first, after"] = torch.get_num_threads()
        first_out.set()

    def second() -> None:
        first_in.wait(TIMEOUT)
        with few_threads():
            with few_threads():
                second_in.set()
            first_out.wait(TIMEOUT)
            seen["second, within"] = torch.get_num_threads()
        seen["second, after"] = torch.get_num_threads()

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert seen == {"first, after": setting, "second, within": 1, "second, after": setting}
    assert in_a_new_thread(torch.get_num_threads) == torch.get_num_threads() == setting


def test_gradients_off_the_main_thread_have_the_same_bits(setting) -> None:
    """Products that are large enough for torch to share them out among threads where it may."""
    form = Form(64, 4, 1, 1, 0, (256, 256))
    context = torch.randn(2_048, 64, generator=torch.Generator().manual_seed(0))

    def gradient() -> torch.Tensor:
        net = Network.new(form, [(256, 256)], [1], torch.zeros(1, 1).numpy(), "cpu")
        net.layer["heads"].detach().fill_(0.1)
        with few_threads():
            net.heads(context)[0].square().mean().backward()
        return net.gradient

    found = in_a_new_thread(gradient)
    torch.set_num_threads(1)
    assert torch.equal(found, gradient())

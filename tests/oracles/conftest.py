"""One thread for the tiny models of this folder: two cost thirty times as much, because they wait for each other."""

import pytest
import torch


@pytest.fixture(autouse=True)
def single_thread_count():
    torch.set_num_threads(1)

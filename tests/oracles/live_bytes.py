"""How many bytes of tensors are alive at once while something runs, counted operator by operator on any device."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operators give out, from their first sight until they are freed.

    peak  the most that was alive at once. What was there before is not counted, nor what an operator takes and gives
          back inside
    """

    def __init__(self):
        super().__init__()
        self.peak = self.now = 0
        self._seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        before = {id(each.untyped_storage()) for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)}
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._add(each.untyped_storage(), before)
        return result

    def _add(self, storage, before):
        key = id(storage)
        if key in before or key in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key, size):
        self._seen.discard(key)
        self.now -= size

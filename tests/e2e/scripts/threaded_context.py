"""A context of multiprocessing whose processes are threads, as medical imaging uses one."""

import multiprocessing.context
import threading

from torch.utils.data import DataLoader

import wellfed


class ThreadAsProcess(threading.Thread):
    @property
    def pid(self):
        return self.ident

    def terminate(self):
        pass


class ThreadContext(multiprocessing.context.SpawnContext):
    _name = "spawn"
    Process = ThreadAsProcess


if __name__ == "__main__":
    settings = {"batch_size": None, "num_workers": 2, "multiprocessing_context": ThreadContext()}
    for loader_class in (wellfed.DataLoader, DataLoader):
        with wellfed.install():
            batches = iter(loader_class(list(range(6)), **settings))
            print(getattr(batches, "backend", "torch"), [int(one) for one in batches])

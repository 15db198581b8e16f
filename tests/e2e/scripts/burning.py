"""A second of batches that take some work, from two workers."""

from torch.utils.data import DataLoader

from wellfed.testing import CpuBurn

if __name__ == "__main__":
    loader = DataLoader(CpuBurn(0.004, length=400), batch_size=4, num_workers=2)
    print("batches", sum(1 for _ in loader))

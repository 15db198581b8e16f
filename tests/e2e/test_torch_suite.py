"""The script that runs PyTorch's own tests says which ones differ."""

import sys
from pathlib import Path

from runs import Ran, run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "torch_suite.py"

TESTS = """
import multiprocessing
import unittest

from torch.utils.data import DataLoader, Dataset


class TestOfTorchs(unittest.TestCase):
    def test_batches(self):
        self.assertEqual([int(one) for one in DataLoader(range(3))], [0, 1, 2])

    def test_private(self):
        self.assertEqual(DataLoader.__module__, "torch.utils.data.dataloader")

    def test_child(self):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            self.assertEqual(pool.apply(module), DataLoader.__module__)

    @unittest.skip("not here")
    def test_skipped(self):
        raise AssertionError


def module():
    return DataLoader.__module__
"""


def suite(folder: Path, *options: str) -> Ran:
    (folder / "test_dataloader.py").write_text(TESTS)
    return run([sys.executable, str(SCRIPT), "test_dataloader.py", *options], folder)


def test_what_differs_is_a_line_of_the_table(tmp_path: Path) -> None:
    ran = suite(tmp_path)

    assert ran.code == 1, ran
    rows = [line for line in ran.out.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `TestOfTorchs.test_private` | passed | failure |",
        "| `TestOfTorchs.test_skipped` | skipped | skipped |",
    ]
    assert "torch: 4 tests, {'passed': 3, 'skipped': 1}" in ran.out
    assert "wellfed: 4 tests, " in ran.out


def test_all_is_well_where_nothing_differs(tmp_path: Path) -> None:
    ran = suite(tmp_path, "--only", "batches")

    assert ran.code == 0, ran
    assert "wellfed: 1 tests, {'passed': 1}" in ran.out

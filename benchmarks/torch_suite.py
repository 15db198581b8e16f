"""PyTorch's own tests of its DataLoader, on torch's class and on wellfed's: which ones differ.

    python benchmarks/torch_suite.py PATH/TO/test_dataloader.py [--only EXPRESSION]
        [--loader torch|wellfed] [--timeout 300]

The file is not part of this repository: take `test/test_dataloader.py` from PyTorch's, of the
version that is installed. It is run by pytest from a copy, before which, for wellfed, two lines
put its class in the place of torch's: so the processes that the tests start have it too. torch's
test harness wants the package `expecttest`.

Exits with 1 if a test that passes on torch's class does not on wellfed's.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

LOADERS = {
    "torch": "",
    "wellfed": "import torch.utils.data, wellfed\n"
    "torch.utils.data.DataLoader = wellfed.DataLoader\n",
}
# Six minutes each on two cores, and half an hour on a busy machine.
MOST_S = 3600


def outcomes(path: Path, header: str, only: str, timeout_s: float) -> dict[str, str]:
    """What became of each test, by its name."""
    with tempfile.TemporaryDirectory(prefix="torch-suite-") as folder:
        copy, found = Path(folder, path.name), Path(folder, "outcomes.xml")
        copy.write_text(header + path.read_text())
        options = ["-q", "-W", "ignore", "-p", "no:randomly", "-p", "no:cacheprovider"]
        options += ["--rootdir", folder, f"--timeout={timeout_s:g}", f"--junitxml={found}"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, "-k", only, str(copy)],
            cwd=folder,
            timeout=MOST_S,
            check=False,
        )
        tests = ElementTree.parse(found).iter("testcase")
        return {f"{_class(test)}.{test.get('name')}": _outcome(test) for test in tests}


def _class(test: ElementTree.Element) -> str:
    return str(test.get("classname")).rpartition(".")[2]


def _outcome(test: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        one = test.find(kind)
        if one is not None:
            return "timeout" if "Timeout" in str(one.get("message")) else kind
    return "passed"


def main() -> int:
    asks = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asks.add_argument("path", type=Path)
    asks.add_argument("--only", default="", help="as pytest's -k")
    asks.add_argument("--loader", choices=LOADERS, help="only this one")
    asks.add_argument("--timeout", type=float, default=300.0, help="seconds for each test")
    args = asks.parse_args()
    names = [args.loader] if args.loader else list(LOADERS)
    found = {one: outcomes(args.path, LOADERS[one], args.only, args.timeout) for one in names}
    tests = sorted(set().union(*found.values()))
    of = {test: [found[one].get(test, "not run") for one in names] for test in tests}

    print(f"\n| Test | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for test, seen in of.items():
        if set(seen) != {"passed"}:
            print(f"| `{test}` | {' | '.join(seen)} |")
    for one in names:
        print(f"\n{one}: {len(found[one])} tests, {dict(Counter(found[one].values()))}", end="")
    print()
    return int(any(seen[0] == "passed" != seen[-1] for seen in of.values()))


if __name__ == "__main__":
    sys.exit(main())

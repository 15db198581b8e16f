"""The door is short, sorted, complete and light."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import wellfed

SRC = Path(wellfed.__file__).parent
PUBLIC = [
    path
    for path in sorted(SRC.rglob("*.py"))
    if not any(part.startswith("_") for part in path.relative_to(SRC).parts)
]
IMPORT_MS = 50.0
RUNS = 5


def defined(tree: ast.Module) -> set[str]:
    """Public names that a module makes itself, type variables left out."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.ImportFrom(names=imported):  # `import x as x` hands on what another defines
                names.update(one.name for one in imported if one.asname == one.name)
    return {name for name in names if not name.startswith("_")}


def listed(tree: ast.Module) -> list[str]:
    """The module's `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def imported_by(module: str) -> tuple[float, set[str]]:
    """Milliseconds that importing it took in a fresh interpreter, and what was loaded then."""
    code = (
        "import json, sys, time; a = time.perf_counter(); "
        f"import {module}; b = time.perf_counter(); "
        "print(json.dumps([(b - a) * 1e3, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    milliseconds, modules = json.loads(done.stdout)
    return milliseconds, set(modules)


def test_public_names_are_sorted() -> None:
    assert sorted(wellfed.__all__) == wellfed.__all__


@pytest.mark.parametrize("name", wellfed.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(wellfed, name) is not None
    assert name in dir(wellfed)


def test_every_public_name_has_a_home_and_no_other_does() -> None:
    assert set(wellfed.__all__) == set(wellfed._HOME)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'num_workers'"):
        _ = wellfed.num_workers


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: str(path.relative_to(SRC)))
def test_a_public_module_lists_all_it_defines_and_nothing_unknown(path: Path) -> None:
    tree = ast.parse(path.read_text())
    ours = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    passed_on = {
        alias.name
        for node in ours
        if (node.module or "").startswith("wellfed._")
        for alias in node.names
    }

    assert defined(tree) <= set(listed(tree)) <= defined(tree) | passed_on


def test_importing_the_door_is_quick_and_loads_nothing_heavy() -> None:
    runs = [imported_by("wellfed") for _ in range(RUNS)]

    assert min(milliseconds for milliseconds, _ in runs) < IMPORT_MS
    assert set() == runs[0][1] & {"torch", "numpy", "msgspec", "psutil", "rich", "typer"}


@pytest.mark.parametrize(
    "module", ["wellfed.errors", "wellfed.records", "wellfed.records.codec", "wellfed._report"]
)
def test_a_saved_report_opens_without_torch(module: str) -> None:
    _, modules = imported_by(module)

    assert set() == modules & {"torch", "numpy"}

"""Writes the table of planted runs into explanation/accuracy.md, from tests/golden/scenarios.py.

    python docs/make_tables.py

A test compares the page with the scenarios, so that neither changes alone. The scenarios are read,
not imported: what stands in the table is what is written there.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCENARIOS = ROOT / "tests" / "golden" / "scenarios.py"
PAGE = ROOT / "docs" / "explanation" / "accuracy.md"
BEGIN, END = "<!-- planted runs: begin -->\n", "<!-- planted runs: end -->\n"


def planted_runs() -> str:
    """The table, a row for each scenario in the order of the file."""
    rows = [
        "| Run | Loader | Step | Meanwhile | Must be called |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, said in _scenarios():
        loader = said["loader"]
        assert isinstance(loader, ast.Lambda)
        around = f"`{ast.unparse(said['around'])}`" if "around" in said else ""
        verdict = ast.literal_eval(said["verdict"])
        rows.append(
            f"| `{name}` | `{ast.unparse(loader.body)}` | `{ast.unparse(said['step'])}` "
            f"| {around} | `{verdict}` |"
        )
    return "\n".join(rows) + "\n"


def page_with(table: str, page: str) -> str:
    """The page with its table replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _scenarios() -> list[tuple[str, dict[str, ast.expr]]]:
    for node in ast.parse(SCENARIOS.read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "SCENARIOS":
            planted = node.value
            assert isinstance(planted, ast.Dict)
            return [
                (ast.literal_eval(key), {one.arg: one.value for one in call.keywords if one.arg})
                for key, call in zip(planted.keys, planted.values, strict=True)
                if key is not None and isinstance(call, ast.Call)
            ]
    raise ValueError(f"{SCENARIOS} has no SCENARIOS")


if __name__ == "__main__":
    PAGE.write_text(page_with(planted_runs(), PAGE.read_text()))

"""Every rule has its page, every page its place, and the examples on them run."""

import importlib
import importlib.util
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from wellfed._cli import app
from wellfed._insight import codes, rules

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
RULES = DOCS / "reference" / "rules"
EXAMPLES = DOCS / "examples" / "rules"

CODES = {
    "WF101": "consumer_bound",
    "WF102": "interference",
    "WF103": "blocking_copy",
    "WF104": "pin_bound",
    "WF201": "cpu_underprovisioned",
    "WF202": "cpu_saturated",
    "WF203": "cpu_quota",
    "WF204": "thread_oversubscription",
    "WF205": "affinity_pinned",
    "WF206": "rank_oversubscription",
    "WF207": "noisy_neighbour",
    "WF301": "latency_bound",
    "WF302": "storage_bound",
    "WF303": "read_amplification",
    "WF304": "cold_cache_transient",
    "WF305": "cache_too_small",
    "WF401": "in_memory_overhead",
    "WF402": "per_item_overhead",
    "WF403": "per_batch_overhead",
    "WF404": "transport_bytes",
    "WF405": "transport_objects",
    "WF406": "serialization_bound",
    "WF407": "collate_bound",
    "WF501": "head_of_line",
    "WF502": "burst_jitter",
    "WF503": "rank_straggler",
    "WF504": "lock_serialised",
    "WF601": "startup_respawn",
    "WF602": "startup_pickle",
    "WF603": "idle_workers",
    "WF604": "too_few_shards",
    "WF605": "sampler_bound",
    "WF606": "cache_lost",
    "WF701": "duplicate_samples",
    "WF702": "equal_seeds",
    "WF703": "frozen_epoch",
    "WF801": "memory_growth_cow",
    "WF802": "memory_risk_prefetch",
    "WF803": "shm_too_small",
    "WF804": "fd_limit",
    "WF805": "swap",
    "WF901": "too_noisy",
    "WF902": "not_enough_evidence",
}
HEADINGS = [
    "What it saw",
    "Why it matters",
    "An example that triggers it",
    "What to do",
    "When to ignore it",
    "How to silence it",
]


def codes_in(folder: Path) -> set[str]:
    """Codes that the package's source speaks of."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        found |= set(re.findall(r"\bWF\d{3}\b", path.read_text()))
    return found


def test_there_is_a_page_for_every_code_and_no_other() -> None:
    assert set(CODES) == {path.stem for path in RULES.glob("WF*.md")}


def test_the_rules_speak_of_no_code_without_a_page() -> None:
    assert codes_in(ROOT / "src" / "wellfed") <= set(CODES)


def test_the_rules_have_the_codes_and_names_of_the_pages() -> None:
    assert {code: name for name, code in codes.CODES.items()} == CODES


def test_every_code_but_those_of_no_verdict_has_a_rule() -> None:
    named = {rule.__name__ for rule in rules.RULES}

    assert named == {name for code, name in CODES.items() if not code.startswith("WF9")}


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_its_title_and_the_five_headings(code: str) -> None:
    text = (RULES / f"{code}.md").read_text()

    assert text.startswith(f"# {code}: {CODES[code]}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("code", CODES)
def test_a_page_can_be_reached(code: str) -> None:
    index = (RULES / "index.md").read_text()
    navigation = (ROOT / "mkdocs.yml").read_text()

    assert f"| [{code}]({code}.md) | `{CODES[code]}` |" in index
    assert f"- {code} {CODES[code]}: reference/rules/{code}.md" in navigation


def test_every_example_is_shown_on_the_page_of_its_rule() -> None:
    codes = {name: code for code, name in CODES.items()}
    for path in EXAMPLES.glob("*.py"):
        page = (RULES / f"{codes[path.stem]}.md").read_text()

        assert f'--8<-- "docs/examples/rules/{path.name}"' in page


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module(name)
    batches = iter(example.loader())

    for batch in islice(batches, 2):
        example.step(batch)


def test_the_code_of_a_page_runs_section_by_section() -> None:
    code = DOCS / "examples" / "replace_the_loader.py"
    page = (DOCS / "how-to" / "replace-the-loader.md").read_text()
    sections = re.findall(r"--8<-- \[start:(\w+)\]", code.read_text())

    ran = subprocess.run(
        [sys.executable, str(code)], check=True, capture_output=True, text=True, timeout=60
    )

    assert re.findall(rf'--8<-- "docs/examples/{code.name}:(\w+)"', page) == sections
    assert ran.stdout.startswith("processes\n")
    assert "wellfed" in ran.stdout.removeprefix("processes\n")
    assert "The plan asks for torch's own iterator." in ran.stderr


def test_the_code_of_the_page_on_resuming_runs() -> None:
    code = DOCS / "examples" / "resume.py"
    page = (DOCS / "how-to" / "resume.md").read_text()

    subprocess.run([sys.executable, str(code)], check=True, timeout=60)

    sections = re.findall(r"--8<-- \[start:(\w+)\]", code.read_text())
    assert re.findall(rf'--8<-- "docs/examples/{code.name}:(\w+)"', page) == sections


def test_the_code_about_limits_runs_section_by_section() -> None:
    code = DOCS / "examples" / "keep_within_a_limit.py"
    page = (DOCS / "how-to" / "keep-within-a-limit.md").read_text()
    sections = re.findall(r"--8<-- \[start:(\w+)\]", code.read_text())

    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(code)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert re.findall(rf'--8<-- "docs/examples/{code.name}:(\w+)"', page) == sections
    first, *_, last = ran.stdout.splitlines()
    assert first.startswith("Memory is short (memory_limit)")
    # As the page has it, on two lines.
    assert last in " ".join(page.split())


def test_the_picture_of_a_batchs_journey_is_the_one_its_script_draws() -> None:
    spec = importlib.util.spec_from_file_location("journey", DOCS / "img" / "make_journey.py")
    assert spec is not None
    assert spec.loader is not None
    journey = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(journey)

    drawn = (DOCS / "img" / "journey.svg").read_text()

    assert drawn == journey.picture(), "run: python docs/img/make_journey.py"


def test_the_table_of_planted_runs_is_that_of_the_scenarios() -> None:
    spec = importlib.util.spec_from_file_location("make_tables", DOCS / "make_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = (DOCS / "explanation" / "accuracy.md").read_text()

    assert tables.page_with(tables.planted_runs(), page) == page, "run: python docs/make_tables.py"


def test_what_comments_call_a_section_of_the_model_is_one() -> None:
    page = (DOCS / "explanation" / "model.md").read_text()
    sections = set(re.findall(r"^## (.+)$", page, re.MULTILINE))
    named: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r'docs/explanation/model\.md, "([^"]+)"', path.read_text()))

    assert named <= sections


def test_every_command_that_the_docs_name_exists() -> None:
    commands = {
        one.name or one.callback.__name__ for one in app.registered_commands if one.callback
    }
    named: set[str] = set()
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        text = page.read_text()
        named |= set(re.findall(r"`wellfed ([a-z]+)", text))
        for block in re.findall(r"^```(?:console|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            named |= set(re.findall(r"^wellfed ([a-z]+)", block, re.MULTILINE))

    assert named == commands

"""A saved report opens again, or says what is wrong with the file and what to do."""

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from wellfed.errors import NewerReport, ReportError
from wellfed.records import SCHEMA_VERSION, Plan, Report, decode, encode, load, save

GOLDEN = Path(__file__).parents[2] / "golden" / "codec"


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report() -> Report:
    """A report with every field set to something other than its default."""
    made = script(GOLDEN / "make_report.py").report()
    assert isinstance(made, Report)
    return made


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_a_report_comes_back_as_it_was_saved(tmp_path: Path, report: Report, name: str) -> None:
    report.save(str(tmp_path / name))

    assert report == load(tmp_path / name)


def test_only_a_name_that_ends_in_gz_is_compressed(tmp_path: Path, report: Report) -> None:
    save(report, tmp_path / "run.json")
    save(report, tmp_path / "run.json.gz")

    plain, packed = (tmp_path / name for name in ("run.json", "run.json.gz"))
    assert plain.read_bytes() == gzip.decompress(packed.read_bytes())


def test_the_same_report_makes_the_same_file(tmp_path: Path, report: Report) -> None:
    save(report, tmp_path / "a.json.gz")
    save(report, tmp_path / "b.json.gz")

    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def missing(said: object, kept: object, path: str = "$") -> list[str]:
    """Paths at which `kept` differs from `said`; what a later version added is no difference."""
    if isinstance(said, dict) and isinstance(kept, dict):
        pairs = [(f"{path}.{key}", said[key], kept.get(key)) for key in said]
    elif isinstance(said, list) and isinstance(kept, list) and len(said) <= len(kept):
        pairs = [(f"{path}[{n}]", *both) for n, both in enumerate(zip(said, kept, strict=False))]
    else:
        return [] if said == kept else [path]
    return [found for pair in pairs for found in missing(pair[1], pair[2], pair[0])]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_file_of_every_schema_so_far_opens_with_all_it_says(version: int) -> None:
    path = GOLDEN / f"report-v{version}.json.gz"
    said = json.loads(gzip.decompress(path.read_bytes()))["record"]
    kept = json.loads(encode(load(path)))["record"]

    assert missing(said, kept) == []


def test_the_golden_report_leaves_no_field_at_its_default(report: Report) -> None:
    assert script(GOLDEN / "make_report.py").left_at_default(report) == []


def test_a_field_of_a_later_version_is_skipped() -> None:
    data = json.loads(encode(Plan(workers=3)))
    data["record"]["colour"] = "green"

    assert Plan(workers=3) == decode(json.dumps(data).encode(), Plan)


def test_a_newer_schema_says_upgrade() -> None:
    data = json.loads(encode(Plan()))
    data["wellfed_schema"] = SCHEMA_VERSION + 1

    with pytest.raises(NewerReport, match=rf"run\.json has schema {SCHEMA_VERSION + 1}.*Upgrade"):
        decode(json.dumps(data).encode(), Plan, origin="run.json")


def test_another_kind_is_named() -> None:
    with pytest.raises(ReportError, match="holds a Plan, and a Report is needed"):
        decode(encode(Plan()), Report)


@pytest.mark.parametrize("data", [b"", b"hello", b"[]", b"{}", b'{"kind": "Plan"}', b"\xff\xfe"])
def test_what_is_not_ours_is_named_with_the_way_to_make_one(data: bytes) -> None:
    with pytest.raises(ReportError, match=r"run\.json is not a wellfed file.*Make one with"):
        decode(data, Report, origin="run.json")


def test_a_damaged_record_says_where_it_broke() -> None:
    data = encode(Plan(workers=3)).replace(b'"workers":3', b'"workers":"three"')

    with pytest.raises(ReportError, match=r"damaged: .*\$\.workers"):
        decode(data, Plan)


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_half_a_file_is_an_error_that_names_it(tmp_path: Path, report: Report, name: str) -> None:
    path = tmp_path / name
    save(report, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(ReportError, match=r"run\.json"):
        load(path)


def test_a_plain_file_named_gz_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run.json.gz").write_bytes(encode(Plan()))

    with pytest.raises(ReportError, match="cannot read"):
        load(tmp_path / "run.json.gz", Plan)


def test_a_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot read .*No such file"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["", "no/such/folder/run.json"])
def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReportError, match="cannot write"):
        save(Plan(), tmp_path / name)

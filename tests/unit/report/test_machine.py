"""The machine card names every fact: read, absent, or not readable."""

import msgspec
from reports import BUSY_MACHINE, MACHINE

from wellfed._report.figures import Row
from wellfed._report.machine import GROUPS, machine_rows, render_machine
from wellfed.records import Machine


def test_every_fact_of_the_machine_is_shown() -> None:
    shown = {name for group in GROUPS for name, _, _ in group}

    assert shown == set(Machine.__struct_fields__)


def test_a_fact_has_its_value_and_how_it_was_found() -> None:
    rows = [row for group in machine_rows(MACHINE) for row in group]

    assert rows[0] == Row(label="CPUs you may use", amount="8", text="the smallest: the quota")
    assert Row(label="  Slurm", amount="none", text="not under Slurm") in rows
    assert Row(label="torch", text="2.13.0+cu128 · torch.__version__") in rows


def test_what_could_not_be_read_is_named_and_not_shown_as_none() -> None:
    text = render_machine(MACHINE)

    assert "not readable              gpus: NVML" in text
    assert "GPUs" not in text


def test_each_gpu_has_a_row() -> None:
    text = render_machine(BUSY_MACHINE)

    assert "GPU 0                   NVIDIA H100 80GB HBM3, 85 GB, 30 % busy" in text
    assert "not readable" not in text


def test_a_machine_without_gpu_says_none() -> None:
    gpus = msgspec.structs.replace(MACHINE.gpus, value=(), how="NVML: no device")
    rows = machine_rows(msgspec.structs.replace(MACHINE, gpus=gpus))

    assert rows[2] == (Row(label="GPUs", amount="none", text="NVML: no device"),)


def test_the_page_is_kept() -> None:
    text = render_machine(MACHINE, width=60, unicode=False)

    assert text.isascii()
    assert max(map(len, text.splitlines())) == 60

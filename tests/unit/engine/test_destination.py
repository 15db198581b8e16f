"""Which device a loader's batches go to, and what is said where it cannot be."""

from typing import Any

import pytest
import torch

from wellfed._engine import device as device_module
from wellfed._engine.device import DeviceMemory, PinnedMemory, checked_device, destination
from wellfed.errors import UsageError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were two, for what only asks."""
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 1)


@pytest.fixture
def none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)


@pytest.mark.parametrize("device", [None, "cpu", "cpu:0", torch.device("cpu")], ids=str)
def test_the_host_is_no_destination(device: Any, none: None) -> None:
    assert checked_device(device) is None
    assert destination(device, pin_memory=False) is None


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda", 0)], ids=str)
def test_a_device_that_is_there_is_one(device: Any, two_gpus: None) -> None:
    assert checked_device(device) == torch.device(device)


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cuda", "torch finds no accelerator on this machine"),
        ("cuda:1", "torch finds no accelerator on this machine"),
        ("gpu", "Expected one of cpu, cuda"),
        (object(), "object is no type of devices"),
    ],
)
def test_without_an_accelerator_the_error_says_so_and_what_to_do(
    device: Any, why: str, none: None
) -> None:
    with pytest.raises(UsageError, match=why) as raised:
        checked_device(device)

    assert str(raised.value).startswith(f"device={str(device)!r} cannot be given batches: ")
    assert str(raised.value).endswith("or leave device=None and move batches yourself.")


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cuda:2", "there are 2 of its kind, counted from 0"),
        ("xpu", "the accelerator of this machine is 'cuda'"),
        ("meta", "the accelerator of this machine is 'cuda'"),
    ],
)
def test_a_device_that_is_not_there_is_named(device: str, why: str, two_gpus: None) -> None:
    with pytest.raises(UsageError, match=why):
        checked_device(device)


def test_pinned_memory_is_for_accelerators(none: None) -> None:
    assert destination(None, pin_memory=True) is None


def test_pin_memory_pins_for_the_current_device(two_gpus: None) -> None:
    found = destination("cpu", pin_memory=True)

    assert isinstance(found, PinnedMemory)
    assert found.name == "device 1"


@pytest.mark.parametrize(("device", "name"), [("cuda", "device 1"), ("cuda:0", "device 0")])
def test_a_device_without_a_number_is_the_current_one(
    device: str, name: str, two_gpus: None
) -> None:
    found = destination(device, pin_memory=True)

    assert isinstance(found, DeviceMemory)
    assert found.name == name


def test_metal_does_not_pin_as_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    mps = torch.device("mps")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: mps)

    assert destination(None, pin_memory=True) is None


@pytest.mark.parametrize(
    ("tensor", "recorded"),
    [
        (torch.ones(2), True),
        (torch.nn.Parameter(torch.ones(2)), True),
        (torch.eye(2).to_sparse(), False),
        (torch.ones(2).as_subclass(type("Mine", (torch.Tensor,), {})), False),
    ],
)
def test_only_memory_that_the_allocator_can_be_told_of_goes_by_the_side_stream(
    tensor: Any, recorded: bool
) -> None:
    assert device_module._can_be_recorded(tensor) is recorded

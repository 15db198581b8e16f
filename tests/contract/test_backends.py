"""Every back end keeps the contract, under plans that differ in what runs where."""

from dataclasses import replace

import pytest

from wellfed._engine.inline import Inline
from wellfed._engine.processes import Processes
from wellfed.job import Job
from wellfed.records import Plan
from wellfed.seams import Backend
from wellfed.testing import BackendContract


class TestInline(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return Inline()

    @pytest.fixture
    def plan(self) -> Plan:
        return Plan(backend="inline")


class TestProcesses(BackendContract):
    workers = 2

    @pytest.fixture
    def backend(self) -> Backend:
        return Processes()

    @pytest.fixture(params=[1, 2, 3])
    def plan(self, request: pytest.FixtureRequest) -> Plan:
        return Plan(backend="processes", workers=request.param, prefetch=2)


class TestThreadsInProcesses(TestProcesses):
    @pytest.fixture(params=[1, 2])
    def plan(self, request: pytest.FixtureRequest) -> Plan:
        return Plan(backend="processes", workers=request.param, prefetch=3, threads=6)

    def job(self, raises_at: int = -1, large_at: int = -1) -> Job:
        return replace(super().job(raises_at, large_at), thread_safe=True)

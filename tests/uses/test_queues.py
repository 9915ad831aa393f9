"""Queue libraries, unmodified: a producer and a worker finish all jobs, also when the server is killed in between.

With a kill a job may be done twice: whoever could not tell that it had been put, or done, tries again. PERDURE_JOBS says
how many jobs there are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
import redis
from tests.commands.dialogue import until
from tests.conftest import ROOT, StartPerdure, free_port
from tests.uses.queue_workers import LIBRARIES, Put

JOBS: Final = int(os.environ.get("PERDURE_JOBS", 60))
IN_FLIGHT: Final = {"celery": 1, "huey": 2, "rq": 1}
"""How many jobs a crash may cost by a library's own design: Huey's workers, and the transport of Celery, pop a job and only
then note that they have it. One that was popped when the server died, for somebody who never heard of it, is gone. RQ keeps
such a job aside, and looks there after a minute: in the test it must be there."""


@pytest.fixture(params=sorted(LIBRARIES))
def library(request: pytest.FixtureRequest) -> str:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install -e '.[uses]'")
    return str(request.param)


@pytest.fixture
def port() -> int:
    return free_port()


class Worker:
    """A worker process, started again whenever it ends, as an init system would."""

    def __init__(self, library: str, port: int, path: Path) -> None:
        self.command = [sys.executable, "-m", "tests.uses.queue_workers", library, str(port), str(path)]
        self.path = path
        self.log = open(path.with_suffix(".log"), "wb")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=self.log, stderr=self.log, start_new_session=True)

    def done(self) -> set[int]:
        """The jobs that are done."""
        if self.process.poll() is not None:
            self.start()
        return {int(line) for line in self.path.read_bytes().split()} if self.path.exists() else set()

    def finish(self, wanted: set[int], but: int, seconds: float) -> set[int]:
        """Wait until all but so many are done; returns what is missing."""
        deadline = time.monotonic() + seconds
        while len(missing := wanted - self.done()) > but and time.monotonic() < deadline:
            time.sleep(0.05)
        return missing

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@contextmanager
def working(library: str, port: int, path: Path) -> Iterator[tuple[Put, Worker]]:
    worker = Worker(library, port, path)
    try:
        yield LIBRARIES[library](port, str(path))[0], worker
    finally:
        worker.stop()


def test_all_jobs_are_done(library: str, port: int, start_perdure: StartPerdure, tmp_path: Path) -> None:
    start_perdure(port=port)
    with working(library, port, tmp_path / "done") as (put, worker):
        for number in range(JOBS):
            put(number)
        assert worker.finish(set(range(JOBS)), 0, 20 + JOBS / 10) == set()


def test_no_job_is_lost_when_the_server_is_killed(
    library: str, port: int, start_perdure: StartPerdure, tmp_path: Path
) -> None:
    server = start_perdure(port=port)
    with working(library, port, tmp_path / "done") as (put, worker):
        for number in range(JOBS):
            if number == JOBS // 2:
                while len(worker.done()) < JOBS // 10:
                    time.sleep(0.01)
                server.stop(signal.SIGKILL)
                server = start_perdure(port=port)
            put_somehow(put, number)
        but = IN_FLIGHT.get(library, 0)
        assert len(worker.finish(set(range(JOBS)), but, 40 + JOBS / 10)) <= but
        if library == "rq":
            with redis.Redis(port=port) as client:
                until(lambda: len(set(range(JOBS)) - worker.done()) <= client.llen("rq:queue:jobs:intermediate"))


def put_somehow(put: Put, number: int) -> None:
    """Again, if the connection was lost: only then nobody knows whether it was put."""
    for _ in range(10):
        try:
            put(number)
            return
        except Exception as error:
            if "onnect" not in f"{error!r}{error.__cause__!r}":
                raise
            time.sleep(0.1)
    raise AssertionError(f"job {number} could not be put")

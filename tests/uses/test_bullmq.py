"""BullMQ, a queue of Node.js that lives on Lua scripts. Fetched from npm into a temporary directory, nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Final

import pytest
from tests.conftest import StartPerdure, free_port

pytestmark = pytest.mark.slow
JOBS: Final = int(os.environ.get("PERDURE_JOBS", 60))
PROGRAM: Final = Path(__file__).with_name("bullmq_jobs.cjs")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where node finds BullMQ."""
    if which("node") is None or which("npm") is None:
        pytest.skip("node and npm are not installed")
    directory = tmp_path_factory.mktemp("npm")
    words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "bullmq@5"]
    fetched = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=120)
    if fetched.returncode:
        pytest.skip(f"npm could not fetch BullMQ: {fetched.stderr.strip()[-200:]}")
    return {**os.environ, "NODE_PATH": str(directory / "node_modules")}


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("killed", [False, True])
def test_all_jobs_are_done(
    killed: bool,
    environment: dict[str, str],
    started: list[subprocess.Popen[str]],
    start_perdure: StartPerdure,
    tmp_path: Path,
) -> None:
    port, done = free_port(), tmp_path / "done"
    server = start_perdure(port=port)

    def run(*words: str) -> subprocess.Popen[str]:
        command = ["node", str(PROGRAM), words[0], str(port), *words[1:]]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    run("work", str(done))
    producer = run("put", "0", str(JOBS))
    assert producer.stdout is not None
    for line in producer.stdout:
        if killed and int(line) == JOBS // 2:
            server.stop(signal.SIGKILL)
            server = start_perdure(port=port)
    assert producer.wait(10) == 0
    deadline = time.monotonic() + 30 + JOBS / 10
    missing = set(range(JOBS))
    while missing and time.monotonic() < deadline:
        time.sleep(0.05)
        missing = set(range(JOBS)) - {int(line) for line in done.read_text().split()} if done.exists() else missing
    assert missing == set()

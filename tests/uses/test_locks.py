"""Locks: Redlock over five servers of which one or two are killed, redis-py's own Lock, and scripts that are registered."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.conftest import PerdureServer, StartPerdure, free_port

Client: TypeAlias = Any
"""redis.Redis, whose annotations say of each reply all that it could be."""

RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


class Redlock:
    """The algorithm as published: a lock is held by whoever could set it, soon enough, on more than half of the servers."""

    def __init__(self, ports: Sequence[int], ttl_ms: int = 10_000) -> None:
        self.clients: list[Client] = [
            redis.Redis(port=port, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0))
            for port in ports
        ]
        self.ttl_ms = ttl_ms

    def acquire(self, name: str) -> str | None:
        """A token while the lock is ours, None when it is somebody else's or too few servers answer."""
        token, began = secrets.token_hex(), time.monotonic()
        granted = sum(self._try(client, name, token) for client in self.clients)
        left_ms = self.ttl_ms - (time.monotonic() - began) * 1000 - self.ttl_ms * 0.01 - 2
        if granted > len(self.clients) // 2 and left_ms > 0:
            return token
        self.release(name, token)
        return None

    def _try(self, client: Client, name: str, token: str) -> bool:
        try:
            return bool(client.set(name, token, nx=True, px=self.ttl_ms))
        except redis.RedisError:
            return False

    def release(self, name: str, token: str) -> None:
        for client in self.clients:
            try:
                client.eval(RELEASE, 1, name, token)
            except redis.RedisError:
                continue

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        while (token := self.acquire(name)) is None:
            time.sleep(secrets.randbelow(20) / 1000)
        try:
            yield
        finally:
            self.release(name, token)


class Instances:
    """Five servers, each with its own directory and port for life."""

    def __init__(self, start: StartPerdure, path: Path) -> None:
        self.start = start
        self.path = path
        self.ports = [free_port() for _ in range(5)]
        self.servers: dict[int, PerdureServer] = {}
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.revive, range(5)))

    def revive(self, number: int) -> None:
        self.servers[number] = self.start(directory=self.path / f"data{number}", port=self.ports[number])

    def kill(self, number: int) -> None:
        self.servers[number].stop(signal.SIGKILL)


@pytest.fixture
def instances(start_perdure: StartPerdure, tmp_path: Path) -> Instances:
    return Instances(start_perdure, tmp_path)


def test_redlock_is_held_by_one_while_servers_come_and_go(instances: Instances) -> None:
    inside, violations, sections = 0, 0, 0
    stop = threading.Event()

    def work() -> None:
        nonlocal inside, violations, sections
        lock = Redlock(instances.ports)
        while not stop.is_set():
            with lock("resource"):
                inside += 1
                violations += inside > 1
                time.sleep(0.001)
                inside -= 1
                sections += 1

    def some_more(count: int) -> None:
        wanted, deadline = sections + count, time.monotonic() + 30
        while sections < wanted:
            assert time.monotonic() < deadline, "nobody gets the lock"
            time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        some_more(20)
        instances.kill(0)
        some_more(20)
        instances.kill(1)
        some_more(20)
        instances.revive(0)
        instances.revive(1)
        instances.kill(4)
        some_more(20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert violations == 0


def test_redlock_is_given_to_nobody_by_two_of_five(instances: Instances) -> None:
    lock = Redlock(instances.ports)
    token = lock.acquire("resource")
    assert token is not None
    lock.release("resource", token)
    for number in range(3):
        instances.kill(number)
    assert lock.acquire("resource") is None
    instances.revive(0)
    assert lock.acquire("resource") is not None


def test_a_lock_is_still_held_when_all_servers_were_killed_and_are_back(instances: Instances) -> None:
    """What Redlock needs of a server and Redis gives only with `appendfsync always`: that it remembers what it granted."""
    lock = Redlock(instances.ports)
    token = lock.acquire("resource")
    assert token is not None
    for number in range(5):
        instances.kill(number)
        instances.revive(number)
    assert Redlock(instances.ports).acquire("resource") is None
    lock.release("resource", token)
    assert Redlock(instances.ports).acquire("resource") is not None


def test_redis_py_lock_survives_a_kill(start_perdure: StartPerdure) -> None:
    port = free_port()
    server = start_perdure(port=port)
    client: Client = redis.Redis(port=port)
    mine, theirs = client.lock("l", timeout=30, thread_local=False), client.lock("l", timeout=30)
    assert mine.acquire(blocking=False)
    assert not theirs.acquire(blocking=False)
    server.stop(signal.SIGKILL)
    start_perdure(port=port)
    assert not theirs.acquire(blocking=False)
    assert mine.owned() and mine.extend(60) and mine.reacquire()
    mine.release()
    with theirs, pytest.raises(redis.exceptions.LockError):
        mine.release()
    assert client.get("l") is None


def test_a_registered_script_is_sent_again_when_the_server_does_not_know_it(start_perdure: StartPerdure) -> None:
    port = free_port()
    server = start_perdure(port=port)
    client: Client = redis.Redis(port=port)
    transfer = client.register_script(
        """
        if tonumber(redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then
          return redis.error_reply('ERR not enough')
        end
        redis.call('DECRBY', KEYS[1], ARGV[1])
        return redis.call('INCRBY', KEYS[2], ARGV[1])
        """
    )
    client.set("alice", 100)
    assert transfer(keys=["alice", "bob"], args=[30]) == 30
    client.script_flush()
    assert transfer(keys=["alice", "bob"], args=[30]) == 60
    server.stop(signal.SIGKILL)
    start_perdure(port=port)
    assert transfer(keys=["alice", "bob"], args=[30]) == 90
    with pytest.raises(redis.ResponseError, match="not enough"):
        transfer(keys=["alice", "bob"], args=[30])
    assert client.mget("alice", "bob") == [b"10", b"90"]

"""Job queues as their makers ship them: for each library how a job is put, and a worker that runs until it is killed.

A job appends its number to a file: what was done is known without the server. The worker is a process of its own:

    python -m tests.uses.queue_workers rq 6379 done.txt
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final

Put = Callable[[int], Any]
Work = Callable[[], Any]


def record(path: str, number: int) -> None:
    """The job."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, b"%d\n" % number)
    os.close(handle)


def rq(port: int, path: str) -> tuple[Put, Work]:
    from redis import Redis
    from rq import Queue, SimpleWorker

    connection = Redis(port=port)
    queue = Queue("jobs", connection=connection)

    def work() -> None:
        SimpleWorker([queue], connection=connection).work(logging_level="WARNING")

    return lambda number: queue.enqueue(record, path, number, result_ttl=60), work


def celery(port: int, path: str) -> tuple[Put, Work]:
    from celery import Celery

    app = Celery("jobs", broker=f"redis://localhost:{port}/0", backend=f"redis://localhost:{port}/1")
    app.conf.update(
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": 3},
        worker_hijack_root_logger=False,
    )
    task = app.task(name="record")(record)
    words = ["worker", "--pool", "solo", "--loglevel", "ERROR", "--without-gossip", "--without-mingle"]
    return lambda number: task.apply_async((path, number), retry=False), lambda: app.worker_main(words)


def dramatiq(port: int, path: str) -> tuple[Put, Work]:
    import time

    from dramatiq import Worker, actor
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=f"redis://localhost:{port}/0", heartbeat_timeout=2000, maintenance_chance=100_000)
    task = actor(broker=broker, queue_name="jobs", actor_name="record", max_retries=3)(record)

    def work() -> None:
        Worker(broker, worker_threads=2).start()
        while True:
            time.sleep(1)

    return lambda number: task.send(path, number), work


def huey(port: int, path: str) -> tuple[Put, Work]:
    from huey import RedisHuey

    queue = RedisHuey("jobs", url=f"redis://localhost:{port}/0", results=False)
    task = queue.task(name="record")(record)
    return lambda number: task(path, number), lambda: queue.create_consumer(workers=2).run()


LIBRARIES: Final[dict[str, Callable[[int, str], tuple[Put, Work]]]] = {
    "rq": rq,
    "celery": celery,
    "dramatiq": dramatiq,
    "huey": huey,
}

if __name__ == "__main__":
    from tests.uses import queue_workers  # a job's name tells where it is, and that is not "__main__"

    queue_workers.LIBRARIES[sys.argv[1]](int(sys.argv[2]), sys.argv[3])[1]()

"""What people build with it, as they would write it with redis-py, over sockets and through a kill -9."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
import redis
from tests.conftest import PerdureServer, StartPerdure, free_port

Client: TypeAlias = Any
"""redis.Redis, whose annotations say of each reply all that it could be."""


@pytest.fixture
def server(start_perdure: StartPerdure) -> PerdureServer:
    return start_perdure()


@pytest.fixture
def client(server: PerdureServer) -> Iterator[Client]:
    with redis.Redis(port=server.port) as connected:
        yield connected


def test_a_timeline_is_a_sorted_set_of_ids_and_tweets_are_in_a_hash(
    server: PerdureServer, client: Client, start_perdure: StartPerdure
) -> None:
    def add_tweet(client: Client, user: str, tweet: str, content: str, when: int) -> None:
        client.zadd(f"timeline:{user}", {tweet: when})
        client.hset("tweets", tweet, content)

    def timeline(client: Client, user: str, count: int = 10) -> list[bytes]:
        ids = client.zrevrange(f"timeline:{user}", 0, count - 1)
        return list(client.hmget("tweets", ids))

    for number in range(100):
        add_tweet(client, "alice" if number % 2 else "bob", f"tweet:{number}", f"text {number}", 1_700_000_000 + number)
    assert timeline(client, "alice", 3) == [b"text 99", b"text 97", b"text 95"]
    client.hset("tweets", "tweet:99", "edited")
    client.zremrangebyrank("timeline:alice", 0, -11)
    assert client.zcard("timeline:alice") == 10

    server.stop(signal.SIGKILL)
    with redis.Redis(port=start_perdure().port) as again:
        assert timeline(again, "alice", 2) == [b"edited", b"text 97"]
        assert again.zcard("timeline:alice") == 10 and again.hlen("tweets") == 100
        assert again.zrevrangebyscore("timeline:bob", "+inf", 1_700_000_096) == [b"tweet:98", b"tweet:96"]


def test_a_consumer_reads_what_a_producer_adds(server: PerdureServer, client: Client) -> None:
    messages = [{b"user": b"user %d" % number, b"message": b"hello %d" % number} for number in range(4)]
    received: list[dict[bytes, bytes]] = []

    def consume() -> None:
        last_id: bytes | str = "0"
        with redis.Redis(port=server.port) as consumer:
            while len(received) < len(messages):
                for _, entries in consumer.xread({"mystream": last_id}, count=1, block=10_000):
                    last_id, fields = entries[0]
                    received.append(fields)

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    for message in messages:
        client.xadd("mystream", message)
    thread.join(20)
    assert received == messages


def test_a_consumer_goes_on_where_it_was_when_the_server_is_killed_in_between(start_perdure: StartPerdure) -> None:
    port, count = free_port(), 60
    server = start_perdure(port=port)
    sent: list[bytes] = []
    received: list[tuple[bytes, bytes]] = []

    def produce() -> None:
        with redis.Redis(port=port) as client:
            while len(sent) < count:
                number = b"%d" % len(sent)
                try:
                    client.xadd("mystream", {"number": number})
                except redis.ConnectionError:
                    time.sleep(0.02)
                    continue
                sent.append(number)

    def consume() -> None:
        last_id: bytes | str = "0"
        with redis.Redis(port=port) as client:
            while not received or received[-1][1] != b"%d" % (count - 1):
                try:
                    messages: Any = client.xread({"mystream": last_id}, count=1, block=0)
                except redis.ConnectionError:
                    time.sleep(0.02)
                    continue
                last_id, fields = messages[0][1][0]
                received.append((last_id, fields[b"number"]))

    threads = [threading.Thread(target=work, daemon=True) for work in (consume, produce)]
    for thread in threads:
        thread.start()
    for part in (1, 2):
        while len(received) < part * count // 3:
            time.sleep(0.002)
        server.stop(signal.SIGKILL)
        server = start_perdure(port=port)
    for thread in threads:
        thread.join(30)
    ids = [ident for ident, _ in received]
    assert ids == sorted(set(ids), key=lambda ident: [int(part) for part in ident.split(b"-")])
    numbers = [number for _, number in received]
    assert list(dict.fromkeys(numbers)) == sent  # one whose reply was lost with the server may have been added twice


def test_a_leaderboard_is_a_sorted_set(server: PerdureServer, client: Client, start_perdure: StartPerdure) -> None:
    client.zadd("leaderboard", {"player1": 5000, "player2": 6000, "player3": 100})
    assert client.zincrby("leaderboard", 1500, "player1") == 6500
    assert client.zrevrange("leaderboard", 0, 1, withscores=True) == [(b"player1", 6500), (b"player2", 6000)]
    server.stop(signal.SIGKILL)
    with redis.Redis(port=start_perdure().port) as again:
        assert again.zrevrank("leaderboard", "player3") == 2
        assert again.zrank("leaderboard", "player1", withscore=True) == [2, 6500]
        assert again.zcount("leaderboard", 5000, "+inf") == 2


def test_a_priority_queue_is_a_sorted_set_whose_least_is_taken(start_perdure: StartPerdure) -> None:
    port = free_port()
    server = start_perdure(port=port)
    taken: list[tuple[bytes, float]] = []

    def work() -> None:
        with redis.Redis(port=port) as worker:
            while True:
                try:
                    found: Any = worker.bzpopmin("queue", timeout=0)
                except redis.ConnectionError:
                    time.sleep(0.02)
                    continue
                if found[1] == b"end":
                    return
                taken.append((found[1], found[2]))

    with redis.Redis(port=port) as client:
        client.zadd("queue", {f"job {number}": number % 7 for number in range(20)})
        server.stop(signal.SIGKILL)
        server = start_perdure(port=port)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while len(taken) < 20:
            time.sleep(0.01)
        assert taken == sorted(taken, key=lambda item: (item[1], item[0]))
        assert {name for name, _ in taken} == {b"job %d" % number for number in range(20)}
        server.stop(signal.SIGKILL)  # while the worker waits
        start_perdure(port=port)
        client.zadd("queue", {"end": 9})
        thread.join(10)
        assert not thread.is_alive()


def test_what_a_group_was_given_is_pending_after_a_crash(
    server: PerdureServer, client: Client, start_perdure: StartPerdure
) -> None:
    client.xgroup_create("jobs", "workers", id="0", mkstream=True)
    ids = [client.xadd("jobs", {"job": number}) for number in range(3)]
    client.xreadgroup("workers", "first", {"jobs": ">"}, count=2)
    client.xack("jobs", "workers", ids[0])

    server.stop(signal.SIGKILL)
    with redis.Redis(port=start_perdure().port) as again:
        assert [item["message_id"] for item in again.xpending_range("jobs", "workers", "-", "+", 10)] == [ids[1]]
        assert again.xclaim("jobs", "workers", "second", 0, [ids[1]]) == [(ids[1], {b"job": b"1"})]
        assert [entry[0] for entry in again.xreadgroup("workers", "second", {"jobs": ">"})[0][1]] == [ids[2]]


def test_keys_of_a_namespace_are_found_by_their_prefix(client: Client) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1000):
            pipeline.set(f"shop:user:{number}:name", number)
            pipeline.set(f"session:active:{number}" if number < 50 else f"session:old:{number}", number)
        pipeline.execute()
    found = set(client.scan_iter(match="session:active:*"))
    assert found == {b"session:active:%d" % number for number in range(50)}
    cursor, page = client.scan(0, match="session:active:*", count=100)
    assert cursor == 0 and len(page) == 50  # the prefix is sought, not the keyspace walked
    assert set(client.scan_iter(match="shop:user:7:*")) == {b"shop:user:7:name"}


def test_messages_and_events_reach_their_listeners(client: Client) -> None:
    client.config_set("notify-keyspace-events", "KEA")
    with client.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("__keyspace@0__:*")
        assert [listener.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        client.publish("news", "hello")
        client.set("k", "v")
        heard = [listener.get_message(timeout=5) for _ in range(2)]
        assert [(message["channel"], message["data"]) for message in heard if message] == [
            (b"news", b"hello"),
            (b"__keyspace@0__:k", b"set"),
        ]


def test_visitors_are_counted(client: Client) -> None:
    for day in range(3):
        client.pfadd(f"visitors:{day}", *range(day * 500, day * 500 + 1000))
    assert abs(client.pfcount("visitors:0", "visitors:1", "visitors:2") - 2000) < 60
    client.pfmerge("visitors", "visitors:0", "visitors:2")
    assert abs(client.pfcount("visitors") - 2000) < 60

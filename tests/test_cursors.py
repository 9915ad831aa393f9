"""Scans return what was there from beginning to end, whatever happens between their pages."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.model.differential import RESTARTS, LocalServer, examples

from perdure.cursors import COUNT_BITS, ScanCursors
from perdure_storage.testing import ManualClock
from perdure_storage.types.order import Order


def test_a_cursor_means_its_position_however_often_it_is_sent() -> None:
    cursors = ScanCursors(Random(1))
    first, second = cursors.keep(b"a"), cursors.keep(b"b")
    assert [cursors.find(first), cursors.find(second), cursors.find(first)] == [b"a", b"b", b"a"]


def test_the_start_and_the_end_are_zero() -> None:
    cursors = ScanCursors(Random(1))
    assert cursors.keep(b"") == 0
    assert cursors.find(0) == b""


def test_cursors_are_exact_as_doubles_and_differ_from_run_to_run() -> None:
    seen = [ScanCursors(Random(seed)).keep(b"x") for seed in range(100)]
    assert all(0 < cursor < 1 << 53 for cursor in seen)
    assert len({cursor >> COUNT_BITS for cursor in seen}) == 100


def test_the_least_recently_used_position_is_forgotten_first() -> None:
    cursors = ScanCursors(Random(1), max_positions=2)
    first, second = cursors.keep(b"a"), cursors.keep(b"b")
    cursors.find(first)
    third = cursors.keep(b"c")
    assert [cursors.find(first), cursors.find(second), cursors.find(third)] == [b"a", b"", b"c"]


def test_long_positions_have_a_budget_of_bytes() -> None:
    cursors = ScanCursors(Random(1), max_bytes=10_000)
    for number in range(1000):
        cursors.keep(b"%d" % number * 100)
    assert cursors.used <= 10_000
    assert 5 < len(cursors) < 100


# -- Order: the elements of a large collection -----------------------------------------------------------------------


@examples(200)
@given(st.lists(st.integers(0, 30), max_size=200), st.integers(0, 1 << 30))
def test_an_order_has_each_element_once(changes: list[int], seed: int) -> None:
    random = Random(seed)
    elements = {b"%d" % n for n in range(10)}
    order = Order(elements, random)
    for change in changes:
        name = b"%d" % change
        if name in elements:
            elements.discard(name)
            order.drop(name)
        else:
            elements.add(name)
            order.add(name)
        order.check(elements)
        assert not elements or order.pick(random) in elements
        order.check(elements)
    assert len(order.gone) <= len(order.names) // 2 + 2 or not elements or len(changes) < 60


@examples(300)
@given(st.data())
def test_pages_of_an_order_miss_nothing_that_stays(data: st.DataObject) -> None:
    random = Random(data.draw(st.integers(0, 1 << 30)))
    elements = {b"%d" % n for n in range(data.draw(st.integers(1, 60)))}
    order = Order(elements, random)
    stay = set(random.sample(sorted(elements), len(elements) // 2))
    seen: set[bytes] = set()
    cursor = 0
    while True:
        cursor, page = order.page(cursor, data.draw(st.integers(1, 7)))
        assert cursor < 1 << 53
        assert elements >= set(page)
        seen.update(page)
        if not cursor:
            break
        for number in data.draw(st.lists(st.integers(0, 90), max_size=12)):
            name = b"%d" % number
            if name in elements and name not in stay:
                elements.discard(name)
                order.drop(name)
            elif name not in elements:
                elements.add(name)
                order.add(name)
        if data.draw(st.booleans()):
            order.pick(random)
    assert seen >= stay


def test_every_element_of_an_order_is_about_as_likely() -> None:
    random = Random(1)
    order = Order([b"%d" % n for n in range(100)], random)
    for number in range(50):
        order.drop(b"%d" % number)
    for number in range(25):
        order.add(b"%d" % number)
    counts: dict[bytes, int] = {}
    for _ in range(15_000):
        name = order.pick(random)
        counts[name] = counts.get(name, 0) + 1
    assert len(counts) == 75
    assert min(counts.values()) > 120
    assert max(counts.values()) < 290


def test_an_element_added_in_place_of_every_one_that_goes_costs_no_memory() -> None:
    random = Random(1)
    order = Order([b"%d" % n for n in range(100)], random)
    for number in range(100, 20_000):
        order.add(b"%d" % number)
        order.drop(b"%d" % (number - 100))
    assert len(order.names) < 1000


# -- SCAN and HSCAN against a server in which everything moves ---------------------------------------------------------


class Scan:
    """One SCAN or HSCAN from beginning to end, in a server to which things happen between the pages."""

    def __init__(self, data: st.DataObject, *, fields: bool) -> None:
        self.data = data
        self.server = LocalServer(ManualClock(), seed=data.draw(st.integers(0, 1 << 20)))
        self.fields = fields
        self.names = [b"%s%03d" % (head, n) for head in (b"a", b"b", b"L" * 600) for n in range(30)]
        random = Random(data.draw(st.integers(0, 1 << 30)))
        self.stay = set(random.sample(self.names, 45))
        self.there = set(self.stay)
        for name in self.stay:
            self.add(name)

    def add(self, name: bytes) -> None:
        self.there.add(name)
        self.server.ask(*((b"HSET", b"hash", name, b"v") if self.fields else (b"SET", name, b"v")))

    def remove(self, name: bytes) -> None:
        self.there.discard(name)
        self.server.ask(*((b"HDEL", b"hash", name) if self.fields else (b"DEL", name)))

    def something_happens(self, restarts: tuple[str, ...]) -> None:
        for name in self.data.draw(st.lists(st.sampled_from(self.names), max_size=6)):
            if name not in self.there:
                self.add(name)
            elif name not in self.stay:
                self.remove(name)
        for how in self.data.draw(st.lists(st.sampled_from(restarts), max_size=1)):
            self.server.restart(how)

    def run(self, *options: bytes, disturb: Callable[[], None]) -> set[bytes]:
        """All that was returned."""
        seen: set[bytes] = set()
        cursor = b"0"
        while True:
            if self.fields:
                self.server.server.config.hash_max_listpack_entries = 4
            count = b"%d" % self.data.draw(st.integers(1, 20))
            name = (b"HSCAN", b"hash") if self.fields else (b"SCAN",)
            kind, reply = self.server.ask(*name, cursor, b"COUNT", count, *options)
            assert kind == "*", reply
            cursor = reply[0][1]
            page = [item[1] for item in reply[1][1]]
            if self.fields:
                page = page[::2]
            assert len(page) == len(set(page)), "one page has an element twice"
            assert set(page) <= self.there
            assert len(page) <= int(count)
            seen.update(page)
            if cursor == b"0":
                return seen
            disturb()


@pytest.mark.parametrize("fields", [False, True])
def test_a_scan_returns_what_was_there_from_beginning_to_end(fields: bool) -> None:
    @examples(60)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        scan = Scan(data, fields=fields)
        left = 30  # after a restart a scan may begin again: there must be an end to them

        def disturb() -> None:
            nonlocal left
            left -= 1
            scan.something_happens(RESTARTS if left > 20 else ("checkpoint",))

        assert scan.run(disturb=disturb) >= scan.stay
        scan.server.close()

    run()


@examples(60)
@given(st.data())
def test_a_scan_with_a_pattern_returns_the_same_as_one_without(data: st.DataObject) -> None:
    scan = Scan(data, fields=False)
    pattern, head = data.draw(st.sampled_from(((b"a*", b"a"), (b"b0?1", b"b0"), (b"L*9", b"L"), (b"*5", b""))))

    def disturb() -> None:
        scan.something_happens(("checkpoint", "forget"))

    found = scan.run(b"MATCH", pattern, disturb=disturb)
    tail = pattern.lstrip(head).lstrip(b"*?")
    assert all(name.startswith(head) and name.endswith(tail) for name in found)
    assert found >= {name for name in scan.stay if name.startswith(head) and name.endswith(tail)}
    scan.server.close()


def test_a_cursor_that_is_not_known_begins_again() -> None:
    server = LocalServer(ManualClock())
    for number in range(30):
        server.ask(b"SET", b"%02d" % number, b"v")
    _, whole = server.ask(b"SCAN", b"12345", b"COUNT", b"100")
    assert len(whole[1][1]) == 30
    _, page = server.ask(b"SCAN", b"0", b"COUNT", b"20")
    server.restart("kill")
    _, again = server.ask(b"SCAN", page[0][1], b"COUNT", b"100")
    assert len(again[1][1]) == 30
    server.close()


def test_a_scan_with_a_prefix_looks_at_matching_keys_only() -> None:
    server = LocalServer(ManualClock())
    db = server.engine[0]
    for number in range(5000):
        db.set_string(b"user:%05d" % number, b"v")
    for number in range(25):
        db.set_string(b"zone:%05d" % number, b"v")
    server.engine.commit()
    for how in ("", "checkpoint", "forget"):
        if how:
            server.restart(how)
        calls, cursor, found = 0, b"0", 0
        while True:
            calls += 1
            _, reply = server.ask(b"SCAN", cursor, b"MATCH", b"zone:*", b"COUNT", b"10")
            cursor = reply[0][1]
            found += len(reply[1][1])
            if cursor == b"0":
                break
        assert (calls, found) == (3, 25)
    server.close()

"""How much goes to one Superset at once, over all workers and machines, and when nothing may.

A process that sends takes slots, rows in our database, and keeps them while it is busy: a request costs no query. It
gives one up when another process waits and it has had its turn, and all of them when it is idle. A 429 pauses everybody
who sends to that address. One thread per process, the keeper, does all of it in the database while there are clients.

All this is courtesy towards the Superset. When our own database fails, requests go out as if nobody else were there:
each client still keeps its own limit.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import close_old_connections, connections
from django.db.models import Q

from sstools.jobs.models import Job
from sstools.jobs.services import db_now

from .models import UUID_LENGTH, Environment, Pace, Slot
from .superset import transport

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0  # a slot of a process that died is free after this
RENEW_SECONDS = 10.0
IDLE_SECONDS = 1.0  # without a request slots are given back
TURN_SECONDS = 2.0  # a slot is kept so long although others wait
BACK_OFF_SECONDS = 0.6  # after giving way: longer than others take to look
LOOK_SECONDS = 0.5  # between two looks whether there is a pause, or somebody waits
TRY_SECONDS = 0.2  # between two tries to get a slot
WANTED = timedelta(seconds=3 * LOOK_SECONDS)  # so long after its last try somebody counts as waiting
FAILING_SECONDS = 10.0  # while our own database is away, before it is tried again
CLOSE_SECONDS = 2.0  # a client that is closed waits so long for its slots to be given back


def address_of(environment: Environment) -> str:
    """One Superset that was registered twice is still one."""
    return environment.url.rstrip("/").lower()


def pauses(environments: Iterable[Environment]) -> dict[int, datetime]:
    """Until when nothing is sent to those of `environments` that asked for a pause, by primary key."""
    by_pk = {environment.pk: address_of(environment) for environment in environments}
    rows = Pace.objects.filter(address__in=set(by_pk.values()), paused_until__gt=db_now())
    until = {row.address: row.paused_until for row in rows if row.paused_until is not None}
    return {pk: until[address] for pk, address in by_pk.items() if address in until}


def pause_notices(job: Job, user: Any) -> list[str]:
    """For the page of a job: which of the Supersets that it concerns asked for a pause, and until when."""
    concerned = [row.resource.removeprefix("environment:") for row in job.resources.all()]
    uuids = [text for text in concerned if len(text) == UUID_LENGTH]
    environments = list(Environment.objects.visible_to(user).filter(uuid__in=uuids)) if uuids else []
    until = pauses(environments) if environments else {}
    return [
        f"Paused by {environment.name} until {until[environment.pk]:%H:%M:%S} UTC: it asks for fewer requests (429)."
        for environment in environments
        if environment.pk in until
    ]


def visit(environment: Environment) -> transport.Pace | None:
    """The pace for one client; None in `unpaced()`. Costs nothing before its first request; to be closed then."""
    return Visit(_keeper, address_of(environment), environment.max_parallel) if _paced else None


@contextmanager
def unpaced() -> Iterator[None]:
    """For tests whose database belongs to one thread: clients made inside know nothing of others."""
    global _paced
    before, _paced = _paced, False
    try:
        yield
    finally:
        _paced = before


class Gate:
    """What this process may send to one address. The keeper fills it with slots, many threads go through it."""

    def __init__(self, address: str, limit: int) -> None:
        self.address = address
        self.limit = limit
        self.visitors = 0
        self.changed = threading.Condition()
        self.held: set[int] = set()
        self.in_use = 0
        self.waiting = 0
        self.giving_way = 0  # slots that are given up as soon as their requests are over
        self.paused_until = 0.0  # this and all below: of time.monotonic()
        self.new_pause: float | None = None  # seconds, to be told to the others
        self.turn_began = 0.0
        self.used_at = 0.0
        self.try_at = 0.0
        self.look_at = 0.0
        self.tell_at = 0.0
        self.renew_at = 0.0
        self.unlimited_until = 0.0

    def may_enter(self, now: float) -> bool:
        if now < self.paused_until:
            return False
        allowed = self.limit if now < self.unlimited_until else len(self.held) - self.giving_way
        return self.in_use < allowed

    def missing(self) -> int:
        """Slots to be asked for."""
        return min(self.limit, self.in_use + self.waiting) - len(self.held)


class Visit:
    """One client's way through a gate: a `transport.Pace`."""

    def __init__(self, keeper: "Keeper", address: str, limit: int) -> None:
        self._keeper, self._address, self._limit = keeper, address, limit
        self._lock = threading.Lock()
        self._entered: Gate | None = None

    @property
    def _gate(self) -> Gate:
        with self._lock:
            if self._entered is None:
                self._entered = self._keeper.join(self._address, self._limit)
            return self._entered

    def enter(self) -> None:
        gate = self._gate
        with gate.changed:
            gate.waiting += 1
            try:
                while not gate.may_enter(time.monotonic()):
                    pause = gate.paused_until - time.monotonic()
                    self._keeper.wake()
                    gate.changed.wait(min(pause, LOOK_SECONDS) if pause > 0 else TRY_SECONDS)
            finally:
                gate.waiting -= 1
            gate.in_use += 1

    def leave(self) -> None:
        gate = self._gate
        with gate.changed:
            gate.in_use -= 1
            gate.used_at = time.monotonic()
            gate.changed.notify()
            gives_way = gate.giving_way > 0
        if gives_way:
            self._keeper.wake()

    def pause(self, seconds: float) -> None:
        gate = self._gate
        with gate.changed:
            gate.paused_until = max(gate.paused_until, time.monotonic() + seconds)
            gate.new_pause = max(gate.new_pause or 0.0, seconds)
        self._keeper.wake()

    def close(self) -> None:
        with self._lock:
            gate, self._entered = self._entered, None
        if gate is not None:
            self._keeper.leave(gate)


class Keeper:
    """The gates of one process and the thread that looks after them; it ends with the last client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[str, Gate] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._holder = (
            ""  # made by the thread: workers are forked from a process that has this module already
        )

    def join(self, address: str, limit: int) -> Gate:
        with self._lock:
            gate = self._gates.setdefault(address, Gate(address, limit))
            gate.limit = limit
            gate.visitors += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="pacing", daemon=True)
                self._thread.start()
        return gate

    def leave(self, gate: Gate) -> None:
        with self._lock:
            gate.visitors -= 1
            thread = self._thread if not any(each.visitors for each in self._gates.values()) else None
        self.wake()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def wake(self) -> None:
        self._wake.set()

    def _keep(self) -> None:
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        try:
            while True:
                self._wake.wait(self._pause())
                self._wake.clear()
                for gate in list(self._gates.values()):
                    self._look_after(gate)
                with self._lock:
                    for gate in [
                        each for each in self._gates.values() if not each.visitors and not each.held
                    ]:
                        del self._gates[gate.address]
                    if not self._gates:
                        self._thread = None
                        return
        finally:
            connections.close_all()

    def _pause(self) -> float:
        gates = list(self._gates.values())
        return TRY_SECONDS if any(gate.waiting for gate in gates) else LOOK_SECONDS

    def _look_after(self, gate: Gate) -> None:
        if time.monotonic() < gate.unlimited_until and gate.visitors:
            return
        try:
            close_old_connections()
            self._tell_pause(gate)
            self._give_back(gate)
            if gate.held or gate.waiting:
                self._look(gate)
            if gate.waiting:
                self._take(gate)
        except Exception:
            logger.warning("Slots of %s cannot be shared for now", gate.address, exc_info=True)
            connections.close_all()
            with gate.changed:
                gate.unlimited_until = time.monotonic() + FAILING_SECONDS
                gate.held.clear()  # they run out by themselves
                gate.changed.notify_all()

    def _tell_pause(self, gate: Gate) -> None:
        with gate.changed:
            seconds, gate.new_pause = gate.new_pause, None
        if seconds is None:
            return
        until = db_now() + timedelta(seconds=seconds)
        Pace.objects.bulk_create([Pace(address=gate.address)], ignore_conflicts=True)
        sooner = Q(paused_until__isnull=True) | Q(paused_until__lt=until)
        Pace.objects.filter(sooner, address=gate.address).update(paused_until=until)
        logger.warning("%s asks for a pause of %.0f s", gate.address, seconds)

    def _give_back(self, gate: Gate) -> None:
        """All slots of a gate that nobody uses; one or more of a gate that gives way."""
        with gate.changed:
            now = time.monotonic()
            free = len(gate.held) - gate.in_use
            is_idle = not gate.in_use and not gate.waiting and now - gate.used_at > IDLE_SECONDS
            number = free if is_idle or not gate.visitors else min(free, gate.giving_way)
            given = sorted(gate.held, reverse=True)[: max(0, number)]
            gate.held -= set(given)
            if given and gate.giving_way:
                gate.giving_way, gate.turn_began, gate.try_at = 0, now, now + BACK_OFF_SECONDS
        if given:
            mine = Slot.objects.filter(address=gate.address, number__in=given, holder=self._holder)
            mine.update(holder="", until=db_now())

    def _look(self, gate: Gate) -> None:
        """Is there a pause, does somebody wait, do we still have our slots?"""
        monotonic = time.monotonic()
        if monotonic < gate.look_at:
            return
        gate.look_at = (
            monotonic + 0.9 * LOOK_SECONDS
        )  # less than the loop waits, or each second round is idle
        now = db_now()
        if gate.held and monotonic >= gate.renew_at:
            gate.renew_at = monotonic + RENEW_SECONDS
            mine = Slot.objects.filter(address=gate.address, holder=self._holder)
            mine.update(until=now + timedelta(seconds=LEASE_SECONDS))
            numbers = set(mine.values_list("number", flat=True))
        else:
            numbers = gate.held
        row = Pace.objects.filter(address=gate.address).first()
        if row is None:
            row = Pace(address=gate.address)
        with gate.changed:
            gate.held &= numbers
            if row.paused_until is not None and row.paused_until > now:
                left = (row.paused_until - now).total_seconds()
                gate.paused_until = max(gate.paused_until, monotonic + left)
            is_wanted = row.wanted_at is not None and now - row.wanted_at < WANTED
            if is_wanted and gate.held and monotonic - gate.turn_began > TURN_SECONDS:
                gate.giving_way = 1

    def _take(self, gate: Gate) -> None:
        with gate.changed:
            missing, has_none = gate.missing(), not gate.held
            if missing <= 0 or gate.giving_way or time.monotonic() < gate.try_at:
                return
        now = db_now()
        free = Slot.objects.filter(Q(holder="") | Q(until__lt=now), address=gate.address)
        values = {"holder": self._holder, "until": now + timedelta(seconds=LEASE_SECONDS)}
        known = set(Slot.objects.filter(address=gate.address).values_list("number", flat=True))
        if fresh := [number for number in range(gate.limit) if number not in known]:
            rows = [Slot(address=gate.address, number=number, until=now) for number in fresh]
            Slot.objects.bulk_create(rows, ignore_conflicts=True)
        taken: set[int] = set()
        for number in free.filter(number__lt=gate.limit).order_by("number").values_list("number", flat=True):
            if len(taken) < missing and free.filter(number=number).update(**values):
                taken.add(number)
        if not taken and has_none and time.monotonic() >= gate.tell_at:
            gate.tell_at = time.monotonic() + LOOK_SECONDS
            Pace.objects.bulk_create([Pace(address=gate.address)], ignore_conflicts=True)
            Pace.objects.filter(address=gate.address).update(wanted_at=now)
        with gate.changed:
            moment = time.monotonic()
            if taken and has_none:
                gate.turn_began = moment
                gate.renew_at = moment + RENEW_SECONDS
            gate.held |= taken
            gate.used_at = moment
            gate.try_at = max(gate.try_at, moment + TRY_SECONDS)
            gate.changed.notify_all()


_keeper = Keeper()
_paced = True

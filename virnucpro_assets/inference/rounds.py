"""One pass through a queue of tasks on the processes of some devices.

Every process that owns its device is sent a task and, once that is in work, the next one, so that it never waits.
Replies are handled as they come. A process that dies or hangs is ended and started again, and its tasks go back to
the queue. The one that it died of is reported instead, and the caller decides. If the caller tries it again, another
device gets it first: the first device may be broken, and then it, not the task, is to blame. A device whose process
ends again and again is given up.

Where a few processes are enough, the others are started only once one of these waits for its device or has died.

A process computes one part while it writes the one before: when it dies, either can be the cause. Then none is
blamed, and each is done again alone: its process gets no other task meanwhile.
"""

import selectors
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from virnucpro_assets.errors import BusyError, DeviceError
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.inference.messages import (
    Failed,
    Finished,
    PackDone,
    PartKey,
    PartTask,
    ProbeTask,
    Refused,
    Reply,
    SampleTask,
    Task,
    Waiting,
)
from virnucpro_assets.inference.process_handle import ProcessHandle

LOOK_SECONDS = 1.0
"""How often to look for processes that hang."""

Subject = PartKey | Path
"""What a task is about: a part, also when it is probed for, or the file that it writes."""


@dataclass(frozen=True)
class Died:
    """The process died of the task, in the pack of these rows if it had announced them."""

    reason: str
    rows: list[int]


@dataclass(frozen=True)
class Event:
    """What happened on a device: an outcome of `task`, or a message about the device itself."""

    device: Device
    task: Task | None
    outcome: PackDone | Finished | Failed | Died | str


class Processes(Protocol):
    """Who starts and ends the processes."""

    def process(self, device: Device) -> ProcessHandle:
        """The running process of a device, started if there is none."""

    def running(self, devices: Iterable[Device]) -> list[ProcessHandle]:
        """The processes of these devices that were started and not ended."""

    def end(self, devices: Iterable[Device]) -> None:
        """End the processes of devices, whatever they are doing."""


@dataclass
class Round:
    """One pass through a queue, on those of the devices whose processes stay alive; `enough` of them are started."""

    pool: Processes
    devices: list[Device]
    queue: deque[Task]
    stall_seconds: float
    max_restarts: int
    enough: int
    deaths: dict[Device, int] = field(default_factory=dict)
    died_on: dict[Subject, set[Device]] = field(default_factory=dict)
    suspects: set[Subject] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=count)

    def events(self) -> Iterator[Event]:
        """What happens, until the queue is empty and every task has ended."""
        while self.queue or any(process.tasks for process in self.pool.running(self.devices)):
            self._feed()
            readable = self._readable()
            for process in self.pool.running(self.devices):
                if process in readable:
                    yield from self._read_replies(process)
                elif why := process.stalled(self.stall_seconds):
                    process.kill()
                    yield from self._handle_exit(process, process.how_it_ended(why))

    def unfinished(self) -> list[Device]:
        """The devices whose process still holds a task, or does not own its device yet."""
        running = self.pool.running(self.devices)
        return [process.device for process in running if process.tasks or not process.is_ready]

    def _feed(self) -> None:
        for device in self.devices:
            if not self.queue or not self._may_start(device):
                continue
            process = self.pool.process(device)
            if process.wants_work and (task := self._next_for(process)):
                self.queue.remove(task)
                process.send(next(self.numbers), task)

    def _next_for(self, process: ProcessHandle) -> Task | None:
        """The first task in the queue that the device of a process may try, unless one of them must be done alone."""
        task = next((task for task in self.queue if self._may_try(process.device, task)), None)
        if task is None or not process.tasks:
            return task
        return None if any(map(self._is_alone, [task, *process.tasks.values()])) else task

    def _may_start(self, device: Device) -> bool:
        """Whether a device may have a process: it has one, or those that run are not enough."""
        running = self.pool.running(self.devices)
        at_work = sum(not process.is_waiting for process in running)
        return (
            any(self.deaths.values()) or at_work < self.enough or any(one.device == device for one in running)
        )

    def _is_alone(self, task: Task) -> bool:
        """Whether the process may do nothing else beside a task, so that it is clear which task ends it."""
        announced = isinstance(task, PartTask) and task.announced
        return announced or isinstance(task, ProbeTask) or _subject(task) in self.suspects

    def _may_try(self, device: Device, task: Task) -> bool:
        """Whether a device may do a task: not if only its own process died of it, and another device is there."""
        died_on = self.died_on.get(_subject(task), set())
        others = [process for process in self.pool.running(self.devices) if process.device != device]
        return died_on != {device} or not any(process.is_ready for process in others)

    def _readable(self) -> list[ProcessHandle]:
        with selectors.DefaultSelector() as selector:
            for process in self.pool.running(self.devices):
                selector.register(process.fileno(), selectors.EVENT_READ, process)
            return [key.data for key, _ in selector.select(LOOK_SECONDS)]

    def _read_replies(self, process: ProcessHandle) -> Iterator[Event]:
        try:
            for reply in process.read():
                yield from self._dispatch(process, reply)
        except DeviceError as ended:
            yield from self._handle_exit(process, str(ended))

    def _dispatch(self, process: ProcessHandle, reply: Reply) -> Iterator[Event]:
        match reply:
            case Waiting():
                yield Event(process.device, None, f"device {process.device}: {reply.reason}")
            case Refused():
                raise BusyError(f"device {process.device}: {reply.reason}")
            case PackDone():
                yield Event(process.device, process.tasks[reply.number], reply)
            case Finished() | Failed():
                self.deaths[process.device] = 0
                yield Event(process.device, process.tasks.pop(reply.number), reply)

    def _handle_exit(self, process: ProcessHandle, reason: str) -> Iterator[Event]:
        """Remove a process that has ended: its tasks go back to the queue, except the one that it died of."""
        device, begun = process.device, process.begun
        blamed, pack = None, list[int]()
        if len(begun) == 1:
            ((number, blamed),) = begun.items()
            pack = process.pack if number == process.in_work else []
            del process.tasks[number]
        else:
            self.suspects.update(map(_subject, begun.values()))
            process.tasks.update({number: _announced(task) for number, task in begun.items()})
            reason += "; each of them is tried again alone" if begun else ""
        self.queue.extendleft(reversed(process.tasks.values()))
        process.tasks.clear()
        self.pool.end([device])
        if not isinstance(blamed, ProbeTask):
            # A probe may end its process: the caller limits the number of probes.
            self.deaths[device] = self.deaths.get(device, 0) + 1
        if self.deaths.get(device, 0) > self.max_restarts:
            self.devices.remove(device)
            yield Event(device, None, f"{reason}; it ended too often and its device is given up")
        if blamed is not None:
            self.died_on.setdefault(_subject(blamed), set()).add(device)
            yield Event(device, blamed, Died(reason, pack))
        else:
            yield Event(device, None, reason)
        if not self.devices:
            raise DeviceError(f"{reason}. No device is left. Finished parts are kept: run it again.")


def _announced(task: Task) -> Task:
    return task.model_copy(update={"announced": True}) if isinstance(task, PartTask) else task


def _subject(task: Task) -> Subject:
    match task:
        case PartTask():
            return task.key
        case ProbeTask():
            return task.part
        case SampleTask():
            return task.target

"""The agent in the virtual machine, and its output in JSON."""

import json
import time

from machine import Failure

PATIENCE = 20  # seconds


class AgentEnded(AssertionError):
    """The agent ended on its own, for example because it has no such collector."""


class Cycle:
    """One collection, as the console prints it in JSON."""

    def __init__(self, printed):
        self.seconds = printed["elapsed_seconds"] or 0
        self.totals = printed.get("disk_io", {})
        self.disks = printed.get("disk_io_perdisk", {})
        self.timestamp = printed["timestamp"]
        self.metrics = {}
        for collector in printed.values():
            if isinstance(collector, dict):
                self.metrics |= {name: each["series"] for name, each in collector.items() if isinstance(each, dict) and "series" in each}

    def series(self, metric, **attributes):
        """The attributes and value of each series that has these attributes, given with `_` for `.`."""
        def has_all(of):
            of = {key.replace(".", "_"): value for key, value in of.items()}
            return attributes.items() <= of.items()
        return [(each["attributes"], each["value"]) for each in self.metrics.get(metric, []) if has_all(each["attributes"])]

    def value(self, metric, **attributes):
        """The value of the one series that has these attributes, or None."""
        found = self.series(metric, **attributes)
        assert len(found) < 2, f"{metric} has {len(found)} series with {attributes}: {found}"
        return found[0][1] if found else None

    def rate(self, metric):
        """The sum of the rates of a counter's series, or None where it has none yet."""
        rates = [each["rate"] for each in self.metrics.get(metric, []) if "rate" in each]
        return sum(rates) if rates else None

    def sum(self, metric, **attributes):
        return sum(value for _, value in self.series(metric, **attributes))


class Agent:
    """An agent that prints one collection every half second, of the given collectors and of `load`, so that no collection is empty.

    Use as a context: leaving it ends the agent.
    """

    started = 0

    def __init__(self, machine, collectors, *arguments):
        Agent.started += 1
        self.machine = machine
        self.file = f"/run/agent{Agent.started}"
        self.arguments = " ".join((f"--collectors load,{collectors}", *arguments))
        self.read = 0

    def __enter__(self):
        # By its path: as the shell's function, it would be a child of the process whose pid this is.
        self.pid = self.machine.run(
            f": > {self.file}; /programs/agent --exporter console --console-format json --interval 500ms --no-phase {self.arguments} >{self.file} 2>{self.file}.log & echo $!").strip()
        try:
            self.next()
        except (AgentEnded, Failure):
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.machine.run(f"kill {self.pid} 2>/dev/null; while [ -d /proc/{self.pid} ]; do usleep 20000; done")

    def log(self):
        return self.machine.run(f"cat {self.file}.log")

    def expect(self, read, wanted):
        """Collects until `read` of a cycle is this; returns all cycles since the last call. A busy machine may miss a reading's deadline."""
        cycles = self.next()
        deadline = time.monotonic() + PATIENCE
        while (found := read(cycles[-1])) != wanted:
            assert time.monotonic() < deadline, f"{found}, not {wanted}"
            cycles += self.next(1)
        return cycles

    def lines(self):
        return int(self.machine.run(f"wc -l < {self.file}"))

    def every(self):
        """All cycles since the last call of this or of `next`."""
        printed = self.machine.run(f"tail -n +{self.read + 1} {self.file}").splitlines()
        cycles = []
        for line in printed:
            try:
                cycles.append(Cycle(json.loads(line)))
            except json.JSONDecodeError:
                break  # the last line is being written
        self.read += len(cycles)
        return cycles

    def next(self, count=2):
        """Waits for `count` more cycles; the second one surely began after the call. Returns all since the last call."""
        wanted = self.lines() + count
        self.machine.wait(f"[ $(wc -l < {self.file}) -ge {wanted} ] || [ ! -d /proc/{self.pid} ]")
        if self.lines() < wanted:
            raise AgentEnded(f"the agent ended: {self.log()}")
        return self.every()

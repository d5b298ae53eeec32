"""The Collector that comes and goes, and what arrived at it."""

import json
import re
import socket
import sys
import time

import peers

# Each batch says how many collections came before it, so one that is missing leaves a hole in the numbers.
NUMBER = re.compile(rb'"otel\.sdk\.metric_reader\.collection\.duration".*?"count":"(\d+)"')


class Collector:
    def __init__(self, binary, work):
        self.binary, self.port, self.child = binary, peers.free_port(), None
        self.output = work / "metrics.json"
        self.log = work / "collector.log"
        self.config = work / "collector.json"
        self.numbers, self.twice = set(), 0
        self.config.write_text(json.dumps({
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{self.port}"}}}},
            "exporters": {"file": {"path": str(self.output), "append": True}},
            "service": {
                "telemetry": {"logs": {"level": "error"}, "metrics": {"level": "none"}},
                "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        }))

    @property
    def running(self):
        return self.child is not None

    def start(self):
        with open(self.log, "a") as log:
            self.child = peers.start([self.binary, "--config", self.config], log)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"the Collector does not listen: {self.log.read_text()[-300:]}")

    def stop(self):
        """Stops it; what it has answered for is in its file then."""
        if self.child:
            peers.stop(self.child)
        self.child = None

    def take(self):
        """Reads what arrived in the life that has ended, and removes it: an hour's would take gigabytes."""
        if not self.output.exists():
            return
        with open(self.output, "rb") as lines:
            for line in lines:
                for number in map(int, NUMBER.findall(line)):
                    self.twice += number in self.numbers
                    self.numbers.add(number)
        self.output.unlink()

    @property
    def arrived(self):
        return len(self.numbers)

    def summary(self, expected):
        """How many collections arrived, which did not, and how many came twice; `expected` by the clock."""
        wanted = set(range(min(self.numbers), max(self.numbers) + 1)) if self.numbers else set()
        return dict(collections=self.arrived, by_the_clock=expected, missing=sorted(wanted - self.numbers), twice=self.twice)

"""A Collector that is restarted, and the collections that arrived at it."""

import json
import re
import socket
import sys
import time

import peers

# A gauge's point starts at the time of the previous collection. If a collection is missing, a start time equals no collection's time.
TIMES = re.compile(rb'"heka\.collection\.duration".*?"startTimeUnixNano":"(\d+)","timeUnixNano":"(\d+)"')


class Collector:
    def __init__(self, binary, work):
        self.binary, self.port, self.child = binary, peers.free_port(), None
        self.output = work / "metrics.json"
        self.log = work / "collector.log"
        self.config = work / "collector.json"
        self.starts, self.twice = {}, 0
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
        """Stops it. Its file then contains everything that it accepted."""
        if self.child:
            peers.stop(self.child)
        self.child = None

    def take(self):
        """Reads the file of the Collector's last run, and removes it, because the files of an hour would take gigabytes."""
        if not self.output.exists():
            return
        with open(self.output, "rb") as lines:
            for line in lines:
                for start, time in TIMES.findall(line):
                    self.twice += int(time) in self.starts
                    self.starts[int(time)] = int(start)
        self.output.unlink()

    @property
    def arrived(self):
        return len(self.starts)

    def summary(self, expected):
        """The number of collections that arrived and of those that arrived twice; for each gap, the time of its last missing
        collection; and `expected`, the number by the clock."""
        first = min(self.starts.values(), default=0)
        missing = sorted(start for start in self.starts.values() if start not in self.starts and start != first)
        return dict(collections=self.arrived, by_the_clock=expected, missing=missing, twice=self.twice)

"""The destination of all programs: a Collector that discards all data, and a proxy that counts bytes."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from peers import free_port, start, stop


class Sink:
    """A Collector that receives OTLP and discards it. Its CPU time is not counted."""

    def __init__(self, binary, work):
        self.port, self.tls_port, self.telemetry = free_port(), free_port(), free_port()
        self.certificate = work / "ca.pem"
        key = work / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", key, "-out", self.certificate],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        def receiver(port, **more):
            return {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}", "max_recv_msg_size_mib": 64, **more}}}
        tls = {"cert_file": str(self.certificate), "key_file": str(key)}
        config = {
            "receivers": {"otlp": receiver(self.port), "otlp/tls": receiver(self.tls_port, tls=tls)},
            "exporters": {"nop": {}},
            "service": {
                "telemetry": {
                    "logs": {"level": "error"},
                    "metrics": {"level": "basic", "readers": [{"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": self.telemetry}}}}]},
                },
                "pipelines": {"metrics": {"receivers": ["otlp", "otlp/tls"], "exporters": ["nop"]}},
            },
        }
        path = work / "sink.yaml"
        path.write_text(json.dumps(config))
        self.log_path = work / "sink.log"
        with open(self.log_path, "w") as log:
            self.child = start([binary, "--config", path], log)
        for _ in range(100):
            try:
                self.points()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"the sink did not start: see {work / 'sink.log'}")

    def points(self):
        """Number of data points received."""
        if self.child.poll() is not None:
            sys.exit(f"the sink ended with {self.child.returncode}: {self.log_path.read_text()[-600:].strip()}")
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry}/metrics", timeout=5).read().decode()
        lines = [line for line in page.splitlines() if line.startswith("otelcol_receiver_accepted_metric_points")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def stop(self):
        stop(self.child)


class Tap:
    """Counts the bytes that a peer sends to the sink, to determine how many the floor has to write."""

    def __init__(self, port):
        self.target, self.sent = port, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pump(self, source, target, count):
        try:
            while data := source.recv(1 << 16):
                if count:
                    self.sent += len(data)
                target.sendall(data)
        except OSError:
            pass
        target.close()

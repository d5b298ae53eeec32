#!/usr/bin/env python3
"""Instructions per collection of builds of the agent, counted by callgrind: benches/instructions.py BINARY... [-- ARGUMENT...]

Each build sends its collections over OTLP/HTTP to a sink in this process. The count is the difference between a run with many and a run
with few collections, divided by the difference of their numbers, so it contains neither the start nor the stop. Arguments are for the
agent, for example `--collectors cpu,memory`. Prints the number of data points as well. Needs valgrind.
"""

import http.server
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

FEW, MANY = 8, 32


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Sink.requests += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def run(binary, arguments, port, least):
    """Collections that arrived, instructions, data points of the first collection."""
    Sink.requests = 0
    with tempfile.TemporaryDirectory() as work:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={work}/out", binary, "--interval", "500ms", "--self-metrics", "off",
                   "--protocol", "http/protobuf", "--endpoint", f"http://127.0.0.1:{port}/v1/metrics", *arguments]
        with open(f"{work}/log", "w+") as log:
            agent = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}, cwd=work)
            while Sink.requests < least and agent.poll() is None:
                time.sleep(0.01)
            agent.send_signal(signal.SIGTERM)
            agent.wait()
            log.seek(0)
            text = log.read()
    counted, points = re.search(r"Collected : (\d+)", text), re.search(r"first batch \((\d+) data points\)", text)
    if not counted:
        sys.exit(f"instructions: {binary} ended with {agent.returncode}: {text[-500:]}")
    return Sink.requests, int(counted[1]), points and points[1]


def main():
    arguments = sys.argv[1:]
    if not arguments:
        sys.exit(__doc__)
    binaries, more = (arguments[:arguments.index("--")], arguments[arguments.index("--") + 1:]) if "--" in arguments else (arguments, [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    first = None
    for binary in binaries:
        (few, less, points), (many, all_of_them, _) = (run(binary, more, server.server_address[1], least) for least in (FEW, MANY))
        each = (all_of_them - less) / (many - few)
        first = first or each
        print(f"{binary}: {each:,.0f} instructions per collection ({each / first - 1:+.1%}), {points} points", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures the memory of a server whose audit trail has large events.

    cargo build --release -p atlasent-cli
    python3 tools/trail-memory.py target/release/atlasent

Starts the server on a new redb store that records contexts, sends it 240 requests with a field of
1 MB, reads three pages of events at once, and prints the peak memory of the server.
"""

import concurrent.futures
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

KEY = "ask_test_0123456789"
POLICY = "permit (principal, action, resource);"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


class Server:
    """A server on a free port, with its data in a temporary folder."""

    def __init__(self, program, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        policies = os.path.join(self.folder.name, "policies")
        os.mkdir(policies)
        with open(os.path.join(policies, "all.cedar"), "w") as file:
            file.write(POLICY)
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--policies", policies,
             "--data-dir", os.path.join(self.folder.name, "data"), "--api-key-env", "KEY_OF_TEST",
             *arguments],
            env={**os.environ, "KEY_OF_TEST": KEY}, stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)", self.process.stdout.readline()).group(1))

    def memory(self):
        """The most resident memory so far, in MB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.folder.cleanup()


class Client:
    """One connection."""

    def __init__(self, server):
        self.http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self, method, target, body=None):
        self.http.request(method, target, body and json.dumps(body), HEADERS)
        answer = self.http.getresponse()
        return answer.status, answer.read()

    def evaluate(self, agent="bot", **context):
        question = {"action_type": "deploy", "actor_id": agent, "context": context}
        status, body = self.ask("POST", "/v1-evaluate", question)
        assert status in (200, 429), body


def memory(program):
    server = Server(program, "--record-context")
    client = Client(server)
    for _ in range(240):
        client.evaluate(text="x" * 1_000_000)
    filled = server.memory()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        page = lambda _: len(Client(server).ask("GET", "/v1-audit/events?limit=500")[1])
        sizes = list(pool.map(page, range(3)))
    print(f"memory: {filled:.0f} MB after the requests, {server.memory():.0f} MB at the most; "
          f"pages of {max(sizes) / 1e6:.1f} MB")
    server.stop()


if __name__ == "__main__":
    memory(sys.argv[1])

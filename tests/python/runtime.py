"""What Lambda offers to a custom runtime: the compiled `bootstrap` as processes of one function, each with one event."""

import http.server
import json
import queue
import subprocess
import tempfile
import threading
import time

from conftest import DEADLINE_SECONDS
from enrollment import bootstrap

FUNCTION = "arn:aws:lambda:us-east-1:999999999999:function:provider"
TIMEOUT_SECONDS = 120


class Process:
    """A process of the function, which asks for events until it is ended (AWS Lambda developer guide, "Using the Lambda
    runtime API for custom runtimes")."""

    def __init__(self, variables):
        events, results, waiting = queue.Queue(), queue.Queue(), threading.Event()
        self.events, self.results = events, results
        # How long an invocation may take.
        self.seconds = TIMEOUT_SECONDS
        process = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                waiting.set()
                event = events.get()
                if event is None:
                    return
                body = json.dumps(event).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "invocation")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + process.seconds) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", FUNCTION)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                results.put((json.loads(body), self.path.endswith("/error")))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        runtime = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "provider",
                   "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "1",
                   "AWS_LAMBDA_LOG_STREAM_NAME": "s", "AWS_LAMBDA_LOG_GROUP_NAME": "g"}
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([bootstrap()], env=runtime | variables, stderr=self.log)
        assert waiting.wait(DEADLINE_SECONDS), self.output()

    def result(self):
        """What the function answered, and whether that is a failure."""
        return self.results.get(timeout=TIMEOUT_SECONDS)

    def output(self):
        """What it has logged so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def end(self):
        """Ends it at once."""
        self.process.kill()
        self.process.wait()
        self.events.put(None)
        self.server.shutdown()
        self.server.server_close()

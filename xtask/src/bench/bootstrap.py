"""Starts `bootstrap` cold, again and again, and prints figures as JSON: see bootstrap.rs. No name leaves this machine."""

import datetime
import http.server
import ipaddress
import json
import pathlib
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PROGRAM, SCHEME, STARTS = sys.argv[1], sys.argv[2], int(sys.argv[3])
ACCOUNT = "111111111111"
FUNCTION = "arn:aws:lambda:us-east-1:999999999999:function:provider"
LIMIT_SECONDS = 30


def certificates(directory):
    """A server's certificate and key, and a store with its authority among all the usual ones."""
    def certificate(name, key, issuer, issuer_key, authority):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False).sign(issuer_key, hashes.SHA256())
        )

    def named(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def pem(one):
        return one.public_bytes(serialization.Encoding.PEM)

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate(named("bench"), root_key, named("bench"), root_key, True)
    leaf = certificate(named("localhost"), key, named("bench"), root_key, False)
    (directory / "store.pem").write_bytes(pathlib.Path(certifi.where()).read_bytes() + pem(root))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(pem(leaf) + private)


class Server(http.server.ThreadingHTTPServer):
    """A server of the loopback interface, with the world that it shows."""

    daemon_threads = True

    def __init__(self, handler, world):
        super().__init__(("127.0.0.1", 0), handler)
        self.world = world
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """The program is killed while it waits for its next event."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A real service sends its answer at once.
    disable_nagle_algorithm = True

    def answer(self, status, body=None, headers=()):
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_):
        pass


class Lambda(Handler):
    """Lambda's runtime API, and CloudFormation's bucket."""

    def do_GET(self):
        world = self.server.world
        if world.sent:
            world.over.wait(LIMIT_SECONDS)
            return
        world.sent = True
        event = {
            "RequestType": "Create", "RequestId": "bench", "LogicalResourceId": "SpotAccount",
            "StackId": f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/spot/bench",
            "ResponseURL": f"http://127.0.0.1:{self.server.server_port}/answer", "ResourceType": "Custom::SpotAccount",
            "ResourceProperties": {"ServiceToken": FUNCTION, "AwsAccountId": ACCOUNT},
        }
        deadline = str(int((time.time() + LIMIT_SECONDS) * 1000))
        self.answer(200, event, [("Lambda-Runtime-Aws-Request-Id", "bench"), ("Lambda-Runtime-Deadline-Ms", deadline),
                                 ("Lambda-Runtime-Invoked-Function-Arn", FUNCTION)])

    def do_PUT(self):
        self.server.world.answer = json.loads(self.body())
        self.answer(200)

    def do_POST(self):
        self.body()
        self.answer(202)
        self.server.world.done.set()


class Services(Handler):
    """Spot, and AWS Organizations."""

    def do_GET(self):
        world = self.server.world
        world.first_call = world.first_call or time.monotonic()
        self.spot([])

    def do_POST(self):
        body = self.body()
        if "X-Amz-Target" in self.headers:
            account = {"Id": ACCOUNT, "Name": "bench", "Status": "ACTIVE", "State": "ACTIVE", "Paths": [f"o-a/r-b/{ACCOUNT}/"],
                       "Arn": f"arn:aws:organizations::999999999999:account/o-a/{ACCOUNT}", "Email": "bench@example.com"}
            self.answer(200, {"Account": account}, [("Content-Type", "application/x-amz-json-1.1")])
        else:
            name = json.loads(body)["account"]["name"]
            self.spot([{"id": "act-0000000b", "name": name, "organizationId": 1}])

    def spot(self, items):
        response = {"status": {"code": 200, "message": "OK"}, "kind": "spotinst:account", "items": items, "count": len(items)}
        self.answer(200, {"request": {"id": "bench"}, "response": response}, [("Content-Type", "application/json")])


class World:
    """One cold start."""

    def __init__(self, directory):
        self.sent, self.first_call, self.answer = False, None, None
        self.done, self.over = threading.Event(), threading.Event()
        runtime, services = Server(Lambda, self), Server(Services, self)
        if SCHEME == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(directory / "server.pem")
            services.socket = context.wrap_socket(services.socket, server_side=True)
        endpoint = f"{SCHEME}://localhost:{services.server_port}"
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "provider",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIABENCH", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_ENDPOINT_URL": endpoint,
            "SPOT_API_URL": endpoint, "PROVIDER_RESPONSE_HOSTS": "127.0.0.1", "SPOTINST_TOKEN": "bench", "SSL_CERT_FILE": str(directory / "store.pem"),
        }
        self.started = time.monotonic()
        process = subprocess.Popen([PROGRAM], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            answered = self.done.wait(LIMIT_SECONDS)
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text() if process.poll() is None else ""
        finally:
            process.kill()
            log = process.communicate()[1].decode(errors="replace")
            self.over.set()
            for server in (runtime, services):
                server.shutdown()
                server.server_close()
        assert answered and self.answer["Status"] == "SUCCESS", log
        self.peak_mib = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
        self.first_call_ms = (self.first_call - self.started) * 1000


def figures(values):
    return {"min": round(min(values), 2), "median": round(statistics.median(values), 2), "max": round(max(values), 2)}


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    certificates(folder)
    worlds = [World(folder) for _ in range(STARTS)]
print(json.dumps({
    "starts": len(worlds),
    "first_spot_call_ms": figures([world.first_call_ms for world in worlds]),
    "peak_rss_mib": figures([world.peak_mib for world in worlds]),
}))

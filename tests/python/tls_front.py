"""A PostgreSQL server with TLS: pgserver's binaries are built without it, so this speaks PostgreSQL's SSLRequest (PostgreSQL
documentation, "Message Flow", SSL session encryption) and TLS, and hands the rest on to the cluster's Unix socket.
"""

import datetime
import ipaddress
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def authority(name):
    """A certificate authority of one's own: its key and certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return key, certificate(key, subject, subject, key, x509.BasicConstraints(ca=True, path_length=0))


def certificate(key, subject, issuer, signer, constraints):
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1)).add_extension(constraints, critical=True))
    return (made if constraints.ca else made.add_extension(names, critical=False)).sign(signer, hashes.SHA256())


def pem(made):
    return made.public_bytes(serialization.Encoding.PEM)


class TlsFront:
    """Listens on 127.0.0.1 with a certificate of the authority in `ca_file`, before the cluster whose socket is in a directory."""

    def __init__(self, socket_directory, directory):
        self.target = str(socket_directory / ".s.PGSQL.5432")
        signer, root = authority("Databases")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
        server = certificate(key, subject, root.subject, signer, x509.BasicConstraints(ca=False, path_length=None))
        self.ca_file, chain = directory / "bundle.pem", directory / "server.pem"
        # As in AWS's bundle, the right authority is one of several.
        self.ca_file.write_bytes(pem(authority("Others")[1]) + pem(root))
        chain.write_bytes(pem(server) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)
        self.encrypted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            # No session without encryption.
            if client.recv(len(SSL_REQUEST), socket.MSG_WAITALL) != SSL_REQUEST:
                return client.close()
            client.sendall(b"S")
            client = self.context.wrap_socket(client, server_side=True)
            self.encrypted += 1
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
        except OSError:
            return client.close()
        ends = [(client, server), (server, client)]
        for source, target in ends:
            threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def end(self):
        self.listener.close()

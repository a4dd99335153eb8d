"""Certificates for tests, made by openssl: an authority and what it signs."""
import ssl
import subprocess
from pathlib import Path


def openssl(*words):
    subprocess.run(["openssl", *[str(w) for w in words]], check=True, capture_output=True)


class Authority:
    def __init__(self, directory, name="Test Authority"):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.ca, self.key = self.dir / "ca.pem", self.dir / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.ca,
                "-addext", "basicConstraints=critical,CA:TRUE")
        self.count = 0

    def issue(self, *names, into=None):
        """(certificate file, key file) for DNS names or addresses; into: file stem, else a new one."""
        self.count += 1
        stem = Path(into) if into else self.dir / f"cert-{self.count}"
        cert, key, request = stem.with_suffix(".pem"), stem.with_suffix(".key"), stem.with_suffix(".csr")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
        extensions = stem.with_suffix(".ext")
        extensions.write_text("subjectAltName=" + ",".join(
            ("IP:" if n.replace(".", "").isdigit() or ":" in n else "DNS:") + n for n in names) + "\n")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial",
                "-days", "20", "-extfile", extensions, "-out", cert)
        for path in (cert, key):
            path.chmod(0o644)
        return cert, key

    def client(self, cert=None):
        """A context that trusts this authority, with a client certificate if one is given."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if cert:
            context.load_cert_chain(*[str(c) for c in cert])
        return context

    def server(self, cert):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*[str(c) for c in cert])
        return context

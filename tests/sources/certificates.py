"""A throw-away authority and certificates for tests of TLS, made by openssl(1)."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """PEM files: of the authority, and of a server and a client that it vouches for."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path

    def trusting(self, *, known: bool = False) -> ssl.SSLContext:
        """What a client uses; ``known``: it shows its certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if known:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context


def make(directory: Path) -> Certificates:
    """New ones, for 127.0.0.1."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    _openssl("req", "-x509", *_key(ca_key), "-out", str(ca), "-days", "2", "-subj", "/CN=test authority")
    made = [_signed(directory, name, ca, ca_key) for name in ("server", "client")]
    return Certificates(ca, *made[0], *made[1])


def _signed(directory: Path, name: str, ca: Path, ca_key: Path) -> tuple[Path, Path]:
    cert, key, request, extra = (directory / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
    extra.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl("req", *_key(key), "-out", str(request), "-subj", f"/CN={name}")
    _openssl(
        *("x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial"),
        *("-out", str(cert), "-days", "2", "-extfile", str(extra)),
    )
    return cert, key


def _key(path: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)

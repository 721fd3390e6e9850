"""Certificates for tests of TLS that are wrong in one way each, made by openssl(1)."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path


class Authority:
    """An authority with its files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.ca = directory / "ca.pem"
        self._key = directory / "ca.key"
        self._run(
            "req", "-x509", *self._new(self._key), "-out", str(self.ca), "-days", "2", "-subj", "/CN=test authority"
        )

    def issue(self, name: str, names: str = "DNS:localhost,IP:127.0.0.1,IP:::1", days: int = 2) -> Path:
        """A PEM file of a certificate for ``names`` and its key; with negative ``days`` it has expired. Made once."""
        name = hashlib.sha256(f"{name} {names} {days}".encode()).hexdigest()[:16]
        pem, key, request, extra = (self._directory / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        if pem.exists():
            return pem
        extra.write_text(f"subjectAltName={names}\n")
        self._run("req", *self._new(key), "-out", str(request), "-subj", f"/CN={name}")
        signing = ("-CA", str(self.ca), "-CAkey", str(self._key), "-CAcreateserial", "-extfile", str(extra))
        self._run("x509", "-req", "-in", str(request), *signing, "-out", str(pem), "-days", str(days))
        pem.write_text(pem.read_text() + key.read_text())
        return pem

    def server(self, pem: Path, *, client: bool = False, versions: tuple[str, str] | None = None) -> ssl.SSLContext:
        """What a server uses; ``client``: it wants a certificate of clients, ``versions``: the least and most of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        if versions:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = (ssl.TLSVersion[name] for name in versions)
        return context

    @staticmethod
    def _new(key: Path) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]

    @staticmethod
    def _run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)

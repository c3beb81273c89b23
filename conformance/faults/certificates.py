"""Certificates that should not be believed, beside one that should: made anew, each a file of key and certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY: Final = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey


def make(folder: Path) -> dict[str, Path]:
    """`good`, `expired`, `foreign` (of another host), `alone` (signed by itself), and the `authority` of the others."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("The authority")
    authority = _signed(name, name, key, key, -DAY, None)
    made = {"authority": folder / "authority.pem"}
    made["authority"].write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for kind, host, ends in (("good", "127.0.0.1", DAY), ("expired", "127.0.0.1", -DAY), ("foreign", "127.0.0.2", DAY)):
        own = ec.generate_private_key(ec.SECP256R1())
        made[kind] = _write(folder / f"{kind}.pem", own, _signed(_name(kind), name, own, key, ends, host))
    own = ec.generate_private_key(ec.SECP256R1())
    alone = _name("alone")
    made["alone"] = _write(folder / "alone.pem", own, _signed(alone, alone, own, own, DAY, "127.0.0.1"))
    return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name, issuer: x509.Name, key: Key, signer: Key, ends: timedelta, host: str | None
) -> x509.Certificate:
    """Without a host it is an authority, good for a day."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * DAY)
        .not_valid_after(now + (DAY if host is None else ends))
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _write(path: Path, key: Key, certificate: x509.Certificate) -> Path:
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(serialization.Encoding.PEM))
    return path

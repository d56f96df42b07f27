"""TLS to a broker: the authority that is trusted, and the certificate that is shown where the broker asks for one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Give what trusts this authority alone, or those of the system (None). Raises `Misconfigured`, naming the file."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise Misconfigured(f"ca_file {ca_file}", f"cannot be used: {error}", "Give the CA's certificate in PEM form") from error


def showing(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> None:
    """Show this certificate to who asks for it; without ``key_file`` its key stands in the same file. Raises `Misconfigured`."""
    # Without an answer of ours OpenSSL would ask for the passphrase on a terminal, and wait there.
    asked: list[str] = []

    def no_passphrase() -> str:
        asked.append("the key")
        return ""

    try:
        context.load_cert_chain(cert_file, key_file, password=no_passphrase)
    except OSError as error:
        where = f"cert_file {cert_file}" + (f", key_file {key_file}" if key_file else "")
        why = "the key is encrypted" if asked else str(error)
        what_to_do = "Give the certificate with its chain in PEM form, and its key, unencrypted and readable for this user alone"
        raise Misconfigured(where, f"cannot be used: {why}", what_to_do) from error

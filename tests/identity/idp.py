"""An issuer of a company, for tests: real keys, real tokens, and a real HTTP server that tells about them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

PrivateKey = RSAKey | ECKey | OKPKey
Answer = tuple[int, bytes] | Callable[["Asked"], tuple[int, bytes]]

NOW = 1_800_000_000.0
HUB = "https://hub.example"
RSA, OTHER_RSA = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Idp:
    """Answers what `answers` says, 404 to the rest; while `held` is set to an event, nothing until it is."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    held: asyncio.Event | None = None
    url: str = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.held is not None:
            self.held.set()
        self._server.close()
        await self._server.wait_closed()

    def down(self) -> None:
        """From now on nobody answers there."""
        self._server.close()

    def publish(self, **keys: PrivateKey) -> None:
        self.answers["/jwks"] = 200, json.dumps({"keys": [public(key, kid) for kid, key in keys.items()]}).encode()

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, path, _ = first.split(" ")
            asked = Asked(method, path, headers, body)
            self.asked.append(asked)
            if self.held is not None:
                await self.held.wait()
            answer = self.answers.get(asked.path, (404, b"{}"))
            status, said = answer(asked) if callable(answer) else answer
            writer.write(b"HTTP/1.1 %d x\r\nconnection: close\r\ncontent-type: application/json\r\n" % status)
            writer.write(b"content-length: %d\r\n\r\n" % len(said) + said)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the hub hung up
        finally:
            writer.close()


def public(key: PrivateKey, kid: str | None, **more: Any) -> dict[str, Any]:
    named = {} if kid is None else {"kid": kid}
    return {**key.as_dict(private=False), **named, **more}


def claims(issuer: str, **more: Any) -> dict[str, Any]:
    """Of a good token for the default endpoint; None takes a claim out."""
    made = {
        "iss": issuer,
        "sub": "s-1",
        "aud": f"{HUB}/mcp",
        "exp": int(NOW) + 3600,
        "iat": int(NOW),
        "jti": "j-1",
        "client_id": "ide",
        "scope": "mcp",
        **more,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(payload: Mapping[str, Any] | bytes, key: PrivateKey = RSA, algorithm: str = "RS256", **header: Any) -> str:
    """Signed by that key, whatever the header and the payload say."""
    said = {"alg": algorithm, "typ": "at+jwt", "kid": "k1", **header}
    said = {name: value for name, value in said.items() if value is not None}
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return sealed(json.dumps(said).encode(), data, key, algorithm)


def sealed(header: bytes, payload: bytes, key: PrivateKey, algorithm: str) -> str:
    """Of these very bytes."""
    signing_input = jws_part(header) + b"." + jws_part(payload)
    signature = jws.JWSRegistry.algorithms[algorithm].sign(signing_input, key)
    return (signing_input + b"." + jws_part(signature)).decode()


def jws_part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")

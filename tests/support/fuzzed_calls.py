"""Requests as nobody should send them, and good ones between: bodies and headers at random, from a seed."""

import gzip
import json
import random
from typing import Any, NamedTuple

from tests.support.called_worker import APPLICATION, ORDER, SECRET, TOKEN
from tests.support.inbound_calls import request

WEBHOOKS = ("by-user", "by-email", "by-phone", "by-device", "off")
SEGMENT = ("ping", "track-user", "post-events", "delete-user", "nothing")
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -0.0, 2**63, 2**70, "", " ", "\0", "\ud83d\ude00", "é" * 600, "x" * 600, [], {},
    [[]], {"": ""}, "jane", "jane@example.com", "+1 555 123 4567", "device-1", "null", "{}", "\u2028", "=1+1", "a.b[0]",
)  # fmt: skip
NUMBERS = (b"1e999", b"-1e-999", b"01", b"NaN", b"Infinity", b"9" * 400, b"0x1", b"1.", b".5", b"1_000")


class Call(NamedTuple):
    """A request as bytes, and where it is meant to go: ``webhook``, ``segment`` or nowhere."""

    sent: bytes
    source: str


class Fuzzer:
    """Makes calls; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0

    def call(self) -> Call:
        """The next one."""
        self._number += 1
        return self._segment() if self._random.random() < 0.25 else self._webhook()

    def _webhook(self) -> Call:
        chance = self._random
        name = chance.choice(WEBHOOKS) if chance.random() < 0.95 else self._text(20, path=True)
        headers = {"Authorization": f"Bearer {SECRET}", **self._headers()}
        if chance.random() < 0.1:
            headers["Authorization"] = chance.choice(
                ["", SECRET, f"bearer {SECRET}", f"Bearer {SECRET} ", self._text(40)]
            )
        if chance.random() < 0.3:
            headers["Idempotency-Key"] = chance.choice([f"key-{chance.randrange(200)}", self._text(60), "x" * 2000])
        if chance.random() < 0.03:
            headers["webhook-id"] = self._text(30)
        body, encoding = self._packed(self._body(ORDER))
        if encoding:
            headers["Content-Encoding"] = encoding
        method = "POST" if chance.random() < 0.97 else chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
        return Call(self._framed(f"/webhooks/{name}", body, method, headers), "webhook")

    def _segment(self) -> Call:
        chance = self._random
        call = chance.choice(SEGMENT)
        headers = {"Authorization": f"Token {TOKEN}", "X-PW-Appcode": APPLICATION, **self._headers()}
        if chance.random() < 0.1:
            headers["Authorization"] = chance.choice(["", TOKEN, f"Bearer {TOKEN}", f"token {TOKEN}", self._text(40)])
        if chance.random() < 0.05:
            headers["X-PW-Appcode"] = chance.choice(["", "XXXXX-XXXXX", self._text(10)])
        body, encoding = self._packed(self._body(self._segment_body(call)))
        if encoding:
            headers["Content-Encoding"] = encoding
        method = "POST" if chance.random() < 0.98 else "GET"
        where = "" if call == "nothing" else "segment"
        return Call(self._framed(f"/integration-segment/v1/{call}", body, method, headers), where)

    def _segment_body(self, call: str) -> dict[str, Any]:
        chance = self._random
        if call == "post-events":
            return {"events": [self._event() for _ in range(chance.choice([0, 1, 1, 1, 5, 40]))]}
        if call == "delete-user":
            return {"external_id": f"gone-{chance.randrange(50)}"}
        if call == "track-user":
            return {
                "user_id": f"user-{chance.randrange(50)}",
                "device_id": f"device-{chance.randrange(2, 60)}",
                "device_platform": chance.choice(["ios", "android", "web", "fridge"]),
                "email": f"user-{chance.randrange(50)}@example.com",
                "attributes": {"plan": chance.choice(STRANGE), "n": chance.randrange(9)},
                "current_location": {"latitude": chance.uniform(-200, 200), "longitude": 3},
            }
        return {"body": {"name": "test_segment_auth"}}

    def _event(self) -> dict[str, Any]:
        chance = self._random
        event = {
            "user_id": chance.choice([f"user-{chance.randrange(50)}", "", None]),
            "device_id": chance.choice([f"device-{chance.randrange(50)}", "", None]),
            "device_platform": chance.choice(["ios", "android", "web", "IOS", "", None, "fridge"]),
            "app_code": APPLICATION,
            "name": chance.choice(["Bought", "Seen", ""]),
            "timestamp": chance.choice(["2024-08-16T09:07:51.123Z", "2026-01-01T00:00:00+02:00", "bad", None]),
            "attributes": {"n": chance.randrange(1000), "of": chance.choice(STRANGE)},
        }
        return {key: value for key, value in event.items() if chance.random() < 0.95}

    # bodies

    def _body(self, good: dict[str, Any]) -> bytes:  # noqa: PLR0911 one a kind
        chance = self._random
        kind = chance.random()
        if kind < 0.4:
            return json.dumps({**good, "number": self._number}).encode()
        if kind < 0.6:
            return json.dumps(self._changed(good), ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
        if kind < 0.8:
            return self._bitten(json.dumps(good).encode())
        if kind < 0.85:
            return (
                json.dumps(good).encode().replace(b"99.5", chance.choice(NUMBERS)).replace(b"1", chance.choice(NUMBERS))
            )
        if kind < 0.9:
            return chance.randbytes(chance.randrange(400))
        if kind < 0.94:
            depth = chance.choice([5, 30, 33, 60, 5000, 30_000])
            return chance.choice([b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth])
        if kind < 0.96:
            return json.dumps({**good, "fill": "x" * chance.choice([70_000, 200_000])}).encode()
        return json.dumps(chance.choice(STRANGE)).encode()

    def _changed(self, value: Any) -> Any:
        """``value`` with something else in a place or two."""
        chance = self._random
        if chance.random() < 0.12:
            return chance.choice(STRANGE)
        if isinstance(value, dict):
            changed = {key: self._changed(inner) for key, inner in value.items() if chance.random() < 0.97}
            return changed | ({self._text(10): chance.choice(STRANGE)} if chance.random() < 0.1 else {})
        return [self._changed(inner) for inner in value] if isinstance(value, list) else value

    def _bitten(self, body: bytes) -> bytes:
        chance, bytes_ = self._random, bytearray(body)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(bytes_))
            match chance.randrange(4):
                case 0:
                    bytes_[place] = chance.randrange(256)
                case 1:
                    bytes_.insert(place, chance.choice(b'"{}[],:\\\x00\xff0'))
                case 2 if len(bytes_) > 2:
                    del bytes_[place]
                case _:
                    bytes_[place:place] = chance.choice([b"\xef\xbb\xbf", b'"\\ud800"', b"\xed\xa0\x80", b"//", b",,"])
        return bytes(bytes_[: chance.randrange(len(bytes_))] if chance.random() < 0.1 else bytes_)

    def _packed(self, body: bytes) -> tuple[bytes, str]:
        chance = self._random.random()
        if chance < 0.9:
            return body, ""
        if chance < 0.95:
            return gzip.compress(body, 1), "gzip"
        if chance < 0.97:
            return self._bitten(gzip.compress(body, 1)), "gzip"
        return body, self._random.choice(["gzip", "deflate", "br", "identity", "", self._text(8)])

    # headers

    def _headers(self) -> dict[str, str]:
        chance = self._random
        if chance.random() < 0.6:
            return {}
        names = [
            "X-Forwarded-For",
            "Content-Type",
            "Accept",
            "User-Agent",
            "Cookie",
            "Referer",
            "X-" + "y" * 60,
            "Origin",
        ]
        return {name: self._text(chance.choice([0, 5, 50, 500])) for name in chance.sample(names, chance.randrange(4))}

    def _text(self, most: int, *, path: bool = False) -> str:
        """Characters that a head may hold, or bytes of it that are none."""
        if path:
            return "".join(
                self._random.choice("abz09-_.~%/:@!$&'()*+,;=") for _ in range(self._random.randrange(1, most))
            )
        characters = "abcXYZ019 ,;=%\"'\\()<>@éß漢\udcff\udc80" + ("\0\x01" if self._random.random() < 0.05 else "")
        return "".join(self._random.choice(characters) for _ in range(self._random.randrange(most + 1))).strip()

    def _framed(self, path: str, body: bytes, method: str, headers: dict[str, str]) -> bytes:
        if self._random.random() < 0.95:
            return request(path, body, method=method, **headers)
        head = request(path, b"", method=method, **headers).replace(
            b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"
        )
        chunks, place = [], 0
        while place < len(body):
            size = self._random.randrange(1, max(2, len(body)))
            part = body[place : place + size]
            chunks.append(b"%x\r\n%s\r\n" % (len(part), part))
            place += size
        return head + b"".join(chunks) + b"0\r\n\r\n"

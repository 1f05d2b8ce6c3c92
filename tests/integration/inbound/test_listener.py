"""The listener itself, on real sockets: connections, TLS, limits, and its end."""

import asyncio
import os
import socket
import ssl

import pytest
import trustme

from agents.inbound import server as listener_module
from agents.inbound.certificate import Certificate
from pipeline.errors import ConfigError
from pipeline.inbound.settings import InboundTls
from tests.support.chunk_worker import until
from tests.support.inbound_calls import caller, listening, request


async def test_a_connection_takes_one_request_after_the_other():
    async with listening() as listener, caller(listener.port) as one:
        assert (await one.call("/webhooks/a")).json() == "a"
        assert (await one.call("/webhooks/b?x=1")).json() == "b"


async def test_requests_that_are_sent_together_are_answered_in_order():
    async with listening() as listener, caller(listener.port) as one:
        await one.send(b"".join(request(f"/webhooks/{number}") for number in range(50)))
        assert [(await one.answer()).json() for _ in range(50)] == [str(number) for number in range(50)]


async def test_a_request_with_the_whole_url_in_its_first_line_is_taken():
    async with listening() as listener, caller(listener.port) as one:
        assert (await one.call("http://hooks.example/webhooks/a")).json() == "a"


async def test_a_path_that_nothing_is_at_is_404_and_counted_as_that():
    async with listening() as listener, caller(listener.port) as one:
        assert (await one.call("/")).status == 404
        assert listener.figures("inbound_requests_total") == {("unknown_path", ""): 1.0}


async def test_answers_do_not_tell_what_serves_them():
    async with listening() as listener, caller(listener.port) as one:
        assert (await one.call("/webhooks/a")).headers["server"] == "Distributary"


async def test_bytes_that_are_no_http_are_400_and_end_the_connection():
    async with listening() as listener, caller(listener.port) as one:
        await one.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        answer = await one.answer()
        assert answer.status == 400
        assert answer.json()["outcome"] == "no_http"
        assert await one.ended()
        assert listener.figures("inbound_requests_total")["no_http", ""] == 1.0


@pytest.mark.parametrize(
    "head",
    [
        b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /webhooks/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nabcd",
    ],
    ids=["long header", "long path", "many headers", "two lengths", "negative length", "length and chunks"],
)
async def test_heads_that_are_too_large_or_contradict_themselves_are_400(head):
    async with listening() as listener, caller(listener.port) as one:
        await one.send(head)
        assert (await one.answer()).status == 400
        assert await one.ended()


async def test_a_connection_on_which_nothing_whole_comes_is_ended(monkeypatch):
    monkeypatch.setattr(listener_module, "IDLE_S", 0.3)
    async with listening() as listener, caller(listener.port) as silent, caller(listener.port) as half:
        await half.send(b"POST /webhooks/a HTTP/1.1\r\nHost: h")
        assert await silent.ended(5)
        assert await half.ended(5)


async def test_more_requests_at_once_than_permitted_are_told_so_and_the_others_go_on():
    async with listening(max_concurrent=2) as listener:
        listener.may_answer.clear()
        async with caller(listener.port) as one, caller(listener.port) as two, caller(listener.port) as three:
            await one.send(request("/webhooks/1"))
            await two.send(request("/webhooks/2"))
            await until(lambda: listener.under_way == 2, 5)
            assert (await three.call("/webhooks/3")).status == 503
            listener.may_answer.set()
            assert [(await each.answer()).status for each in (one, two)] == [200, 200]
            assert (await three.call("/webhooks/3")).status == 200


async def test_connections_beyond_the_bound_are_closed_and_those_that_are_open_serve_on():
    async with listening(max_concurrent=1) as listener:
        callers = [caller(listener.port) for _ in range(listener_module.CONNECTIONS_A_SLOT)]
        opened = [await each.__aenter__() for each in callers]
        await until(lambda: listener.server.connections == len(opened), 5)
        async with caller(listener.port) as too_many:
            assert await too_many.ended()
        assert (await opened[0].call("/webhooks/a")).status == 200
        for each in callers:
            await each.__aexit__(None, None, None)


async def test_a_caller_that_goes_away_before_its_body_has_come_is_no_failure():
    async with listening() as listener:
        async with caller(listener.port) as one:
            await one.send(b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        await until(lambda: listener.server.connections == 0, 5)
        assert all(outcome != "failed" for outcome, _ in listener.figures("inbound_requests_total"))


# the end


async def test_what_is_under_way_at_the_end_is_answered_and_then_the_connection_ends():
    async with listening() as listener, caller(listener.port) as one:
        listener.may_answer.clear()
        await one.send(request("/webhooks/a"))
        await until(lambda: listener.under_way == 1, 5)
        draining = asyncio.create_task(listener.server.drain())
        await asyncio.sleep(0)
        listener.may_answer.set()
        answer = await one.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await draining
        assert await one.ended()


async def test_no_connection_is_taken_once_the_end_has_begun():
    async with listening() as listener:
        await listener.server.drain()
        with pytest.raises(ConnectionError):
            async with caller(listener.port):
                pass


async def test_an_end_does_not_wait_for_callers_that_say_nothing(monkeypatch):
    monkeypatch.setattr(listener_module, "DRAIN_S", 60.0)
    async with listening() as listener, caller(listener.port) as silent:
        async with asyncio.timeout(5):
            await listener.server.drain()
        assert await silent.ended()


async def test_an_end_waits_for_a_request_only_so_long(monkeypatch):
    monkeypatch.setattr(listener_module, "DRAIN_S", 0.3)
    async with listening() as listener, caller(listener.port) as one:
        listener.may_answer.clear()
        await one.send(request("/webhooks/a"))
        await until(lambda: listener.under_way == 1, 5)
        async with asyncio.timeout(5):
            await listener.server.drain()


# where it listens


async def test_two_workers_on_a_machine_share_the_port():
    async with listening() as first, listening(port=first.port) as second:
        for _ in range(40):
            async with caller(first.port) as one:
                assert (await one.call("/webhooks/a")).status == 200
        shares = [each.figures("inbound_requests_total").get(("accepted", "webhook"), 0) for each in (first, second)]
        assert sum(shares) == 40


async def test_a_port_that_cannot_be_had_stops_the_start_with_its_address(unused_port_that_is_taken):
    with pytest.raises(ConfigError, match=rf"inbound: cannot listen on 127\.0\.0\.1:{unused_port_that_is_taken}"):
        async with listening(port=unused_port_that_is_taken):
            pass


@pytest.fixture
def unused_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


# TLS


@pytest.fixture
def authority():
    return trustme.CA()


def written(folder, authority, host="127.0.0.1"):
    """A certificate for ``host``: the paths of it and its key."""
    issued = authority.issue_cert(host)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return {"cert": cert, "key": key}


def knowing(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_with_a_certificate_callers_speak_tls(tmp_path, authority):
    async with (
        listening(tls=written(tmp_path, authority)) as listener,
        caller(listener.port, knowing(authority)) as one,
    ):
        assert (await one.call("/webhooks/a")).status == 200


async def test_tls_older_than_1_2_is_refused(tmp_path, authority):
    old = knowing(authority)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with listening(tls=written(tmp_path, authority)) as listener:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with caller(listener.port, old):
                pass


async def test_plain_http_at_a_tls_port_harms_nobody(tmp_path, authority):
    async with listening(tls=written(tmp_path, authority)) as listener:
        async with caller(listener.port) as plain:
            await plain.send(request("/webhooks/a"))
            assert await plain.ended()
        async with caller(listener.port, knowing(authority)) as one:
            assert (await one.call("/webhooks/a")).status == 200


async def test_a_renewed_certificate_serves_new_connections(tmp_path, authority):
    files = written(tmp_path, authority)
    certificate = Certificate(InboundTls.model_validate(files))
    other = trustme.CA()
    written(tmp_path, other)
    os.utime(files["cert"], (0, 0))
    certificate.look()
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=certificate.context)
    async with server, caller(server.sockets[0].getsockname()[1], knowing(other)) as one:
        assert await one.ended()


async def test_a_renewed_certificate_that_cannot_be_used_leaves_the_one_before(tmp_path, authority):
    files = written(tmp_path, authority)
    certificate = Certificate(InboundTls.model_validate(files))
    files["cert"].write_text("no certificate")
    certificate.look()
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=certificate.context)
    async with server, caller(server.sockets[0].getsockname()[1], knowing(authority)) as one:
        assert await one.ended()


@pytest.mark.parametrize("broken", ["absent", "no certificate", "another key"])
async def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path, authority, broken):
    files = written(tmp_path, authority)
    if broken == "absent":
        files["cert"].unlink()
    elif broken == "no certificate":
        files["cert"].write_text(broken)
    else:
        files["key"].write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())
    with pytest.raises(ConfigError, match=r"inbound\.tls"):
        async with listening(tls=files):
            pass

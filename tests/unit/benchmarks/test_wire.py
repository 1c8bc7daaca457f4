"""One connection: what is sent at a pace takes its time and arrives whole."""

import socket
import threading
from time import monotonic

from benchmarks.scene import Endpoint
from benchmarks.wire import Answer, Connection, Pace, post_request


def test_a_slow_writer_sends_everything_no_faster_than_its_pace() -> None:
    body = bytes(200_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint(server.getsockname()[1], tls=False, headers={})
        request = post_request("/", endpoint, body)
        heard: list[bytes] = []

        def serve() -> None:
            client, _ = server.accept()
            with client:
                while sum(map(len, heard)) < len(request):
                    heard.append(client.recv(65_536))
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=serve)
        thread.start()
        started = monotonic()
        pace = Pace(bytes_per_second=1_000_000, socket_buffer_bytes=20_000)
        with Connection(endpoint, write_pace=pace) as connection:
            answer = connection.ask(request)
        thread.join()
    assert answer == Answer(200, 2)
    assert b"".join(heard) == request
    assert monotonic() - started >= 0.15, "the last of ten steps is sent after nine tenths"

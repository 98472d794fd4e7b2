"""Stands between a libpq and where it connects to, and has it ask for a newer protocol than it knows."""

import os
import socket
import struct
import threading
from contextlib import contextmanager


@contextmanager
def newer_libpq(minor):
    """Gives the port at which the next connection asks for protocol 3.`minor`; all else passes as it is."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=[listener, minor], daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def serve(listener, minor):
    client, _ = listener.accept()
    server = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])))
    with client, server:
        startup = bytearray(client.recv(65536))  # libpq writes it in one piece
        startup[4:8] = struct.pack("!HH", 3, minor)
        server.sendall(startup)
        back = threading.Thread(target=copy, args=[server, client], daemon=True)
        back.start()
        copy(client, server)
        back.join()


def copy(source, destination):
    try:
        while data := source.recv(65536):
            destination.sendall(data)
        destination.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them has gone

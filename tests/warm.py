"""Run many ``accord`` commands fast: one process imports everything once, each command is a fork.

    python warm.py serve SOCKET                 wait for commands
    python warm.py ask SOCKET accord ARGS...    run one; same folder, standard streams, exit status
    python warm.py ask SOCKET python FILE       run a file

Importing torch and transformers costs seconds of CPU time, running a documented command often none.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import socket
import sys


def ask(address: str, words: list[str]) -> int:
    """Have the server run a command with this process's folder, streams and environment."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = json.dumps({"words": words, "folder": os.getcwd(), "env": dict(os.environ)})
        socket.send_fds(connection, [len(request.encode()).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(request.encode())
        return int(connection.makefile().read())


def serve(address: str) -> None:
    """Import the package, then answer requests until killed."""
    from accord.cli import main

    importlib.import_module("accord.stages")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            size, streams, _, _ = socket.recv_fds(connection, 4, 3)
            with connection, connection.makefile("rb") as body:
                request = json.loads(body.read(int.from_bytes(size, "big")))
                child = os.fork()
                if child == 0:
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                    os.chdir(request["folder"])
                    os.environ.clear()
                    os.environ.update(request["env"])
                    program, *arguments = request["words"]
                    sys.argv = [program, *arguments]
                    if program == "accord":
                        main()
                    else:
                        runpy.run_path(arguments[0], run_name="__main__")
                    sys.exit()
                for stream in streams:
                    os.close(stream)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                connection.sendall(str(status).encode())


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(ask(sys.argv[2], sys.argv[3:]))

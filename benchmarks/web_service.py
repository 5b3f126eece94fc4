"""The web service of measures/web.py: a process of its own, which that measure starts and ends.

    python web_service.py CONTESTANT

uvicorn, with uvloop and httptools where they are installed, and two routes: "/heavy" computes for
20 ms in a worker, "/trivial" answers at once. Prints the port, of loopback, when its workers are
warm, and ends when stdin does.
"""

import asyncio
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from contestants import CONTESTANTS, Function
from sampling import rounds_for, warm_executor
from tasks import spin

LENGTH = 0.020  # seconds that the heavy route computes


type Call = Callable[..., Awaitable[int]]


def call_of(name: str, executor: Executor) -> Call:
    """How an event loop calls a function on a contestant's executor, as its users do."""
    if name == "threads":
        return asyncio.to_thread  # the executor is the loop's default
    if name == "tagged":
        return executor.run  # type: ignore[attr-defined,no-any-return]
    return lambda *args: asyncio.get_running_loop().run_in_executor(executor, *args)


def application(call: Call, compute: Function, rounds: int) -> Starlette:
    async def heavy(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(await call(compute, rounds)))

    async def trivial(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/heavy", heavy), Route("/trivial", trivial)])


async def serve(server: uvicorn.Server, listening: socket.socket, executor: Executor) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        asyncio.get_running_loop().set_default_executor(executor)
    await server.serve(sockets=[listening])


def main(name: str) -> None:
    contestant = CONTESTANTS[name]
    with warm_executor(contestant) as executor, socket.create_server(("127.0.0.1", 0)) as listening:
        # Of a machine that is needed elsewhere, too, the best that it can do.
        rounds = max(rounds_for(executor, contestant, LENGTH) for _ in range(5))
        app = application(call_of(name, executor), contestant.prepare(spin), rounds)
        config = uvicorn.Config(app, log_level="error", access_log=False)
        server = uvicorn.Server(config)

        def end_with_stdin() -> None:
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=end_with_stdin, daemon=True).start()
        print(listening.getsockname()[1], flush=True)
        asyncio.run(serve(server, listening, executor), loop_factory=config.get_loop_factory())


if __name__ == "__main__":
    main(sys.argv[1])

# SPDX-License-Identifier: Apache-2.0
"""Clients: many at once, from many addresses, and when each asked and was answered.

One thread with an event loop sends all of it. Each request has a connection of its own, so none can meet one that the
other side is just closing. A request was decided somewhere between `start`, taken before its first byte is sent, and
`end`, taken after its last byte came; both are of this machine's CLOCK_MONOTONIC, whatever the servers' clocks say.

Leaves out: judging (oracle.py).
"""
import asyncio
import socket
import threading
import time

from support.wire import IP_BIND_ADDRESS_NO_PORT, BrokenAnswer, build, parse_head

ANSWER_LIMIT_S = 30
AT_ONCE_MAX = 512
TICK_S, STALL_S = 0.01, 0.02


class Shot:
    """One request and what came of it. `answer` is None when nothing came: then `error` says why."""

    __slots__ = ("client", "method", "path", "target", "start", "end", "answer", "error")

    def __init__(self, client, method, path, target):
        self.client, self.method, self.path, self.target = client, method, path, target
        self.start = self.end = self.answer = self.error = None

    @property
    def status(self):
        return self.answer.status if self.answer is not None else None

    @property
    def took_s(self):
        return self.end - self.start

    def __repr__(self):
        return f"<{self.client} {self.method} {self.path} at {self.start:.6f} for {self.took_s:.6f} s: {self.status or self.error}>"


class Load:
    """The load host.

    @param network  of netns.py. @param host  where requests come from.
    """

    def __init__(self, network, host="load"):
        self.network, self.host = network, host
        self.shots = []  # of all requests that have ended, in order of their ends
        self.stalls = []  # (start, end) of times in which this program itself did not get to run
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="load")
        self.thread.start()
        self.gate = asyncio.Semaphore(AT_ONCE_MAX)

    def _run(self):
        with self.network.on(self.host):
            ticking = self.loop.create_task(self._tick())
            self.loop.run_forever()
            ticking.cancel()
        self.loop.close()

    async def _tick(self):
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - last > TICK_S + STALL_S:
                self.stalls.append((last, now))
            last = now

    def stalled_s(self, shot):
        """How long this program did not get to run while it waited for an answer: not the answer's fault."""
        return sum(max(0.0, min(end, shot.end) - max(start, shot.start)) for start, end in self.stalls)

    def close(self):
        if self.thread is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.thread = None

    def start(self, work):
        """Begins a coroutine; the result is a future of concurrent.futures."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, work):
        return self.start(work).result()

    async def shoot(self, target, path="/", method="GET", client=None, fields=(), body=None, limit_s=ANSWER_LIMIT_S):
        """One request. Never raises for what the other side does.

        @param target  (address, port). @param client  the address that it comes from; None: the host's own.
        """
        shot = Shot(client or self.network.address(self.host), method, path, target)
        data = build(method, path, [*fields, ("Connection", "close")], body)
        async with self.gate:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
            shot.start = time.monotonic()
            try:
                async with asyncio.timeout(limit_s):
                    shot.answer = await self._exchange(connection, shot, data)
            except TimeoutError:
                shot.error = f"no answer within {limit_s} s"
            except (OSError, BrokenAnswer) as error:
                shot.error = f"{type(error).__name__}: {error}"
            finally:
                shot.end = time.monotonic()
                connection.close()
        self.shots.append(shot)
        return shot

    async def _exchange(self, connection, shot, data):
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((shot.client, 0))
        await self.loop.sock_connect(connection, shot.target)
        shot.start = time.monotonic()
        await self.loop.sock_sendall(connection, data)
        pending = b""
        while b"\r\n\r\n" not in pending:
            pending += await self._some(connection)
        head, body = pending.split(b"\r\n\r\n", 1)
        answer = parse_head(head)
        length = int(answer["Content-Length"] or 0)
        while len(body) < length:
            body += await self._some(connection)
        answer.body = body
        return answer

    async def _some(self, connection):
        data = await self.loop.sock_recv(connection, 65536)
        if not data:
            raise BrokenAnswer("the connection ended before the answer did")
        return data

    # Shapes of load

    async def repeat(self, every_s, until, **request):
        """One client that asks, and asks again `every_s` after it began, but never twice at once.

        @param until  time.monotonic() to end at, or a threading.Event.
        """
        next_s = time.monotonic()
        while not (until.is_set() if hasattr(until, "is_set") else next_s >= until):
            await self.shoot(**request)
            next_s += every_s
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def ramp(self, clients, up_s, steady_s, down_s, every_s, **request):
        """`clients` clients of one address, joining one after another over `up_s`, staying for `steady_s`, leaving one
        after another over `down_s`; each asks once in `every_s`."""
        begun = time.monotonic()

        async def one(i):
            join_s = up_s * i / clients
            leave_s = up_s + steady_s + down_s * (clients - i) / clients
            await asyncio.sleep(max(0.0, begun + join_s - time.monotonic()))
            await self.repeat(every_s, begun + leave_s, **request)

        await asyncio.gather(*(one(i) for i in range(clients)))

    async def crowd(self, sources, each, **request):
        """`each` requests of every address, all at once."""
        return await asyncio.gather(*(self.shoot(client=source, **request) for _ in range(each) for source in sources))


class Background:
    """Load that goes on while the test does something: `with Background(load, [...]): ...`.

    @param clients  a dict of repeat()'s arguments each, but `until`.
    """

    def __init__(self, load, clients):
        self.load, self.clients = load, clients
        self.over = threading.Event()
        self.futures = []
        self.first = None

    def __enter__(self):
        self.first = len(self.load.shots)
        self.futures = [self.load.start(self.load.repeat(until=self.over, **client)) for client in self.clients]
        return self

    def __exit__(self, kind, error, trace):
        self.over.set()
        for future in self.futures:
            future.result(ANSWER_LIMIT_S + 10)

    @property
    def shots(self):
        return self.load.shots[self.first:]

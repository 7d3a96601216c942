# SPDX-License-Identifier: Apache-2.0
"""A slow line: a TCP proxy that holds back what goes through it, each way, without changing order or pace.

Run as a program it obeys lines on standard input, and answers each with one:

    delay MS JITTER_MS   each piece of bytes comes so much later, plus up to JITTER_MS by chance
    stall                nothing comes through until `go`
    go
    count                answers `PIECES BYTES CONNECTIONS`: what came from the clients so far

usage: delay.py LISTEN-ADDRESS PORT TARGET-ADDRESS PORT

SlowLine starts one. Leaves out: losing and reordering, which TCP would hide anyway.
"""
import asyncio
import collections
import random
import subprocess
import sys

PIECE_MAX = 65536
HELD_MAX = 1024  # pieces a direction; then it stops reading, as a full line does


class Line:
    def __init__(self):
        self.delay_s = self.jitter_s = 0.0
        self.going = asyncio.Event()
        self.going.set()
        self.pieces = self.bytes = self.connections = 0


async def carry(line, reader, writer, counted):
    """One direction. Pieces wait side by side, so the delay costs no throughput."""
    held, some = collections.deque(), asyncio.Condition()

    async def deliver():
        while True:
            async with some:
                await some.wait_for(lambda: held)
                due, piece = held.popleft()
                some.notify_all()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await line.going.wait()
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while True:
            piece = await reader.read(PIECE_MAX)
            if counted and piece:
                line.pieces += 1
                line.bytes += len(piece)
            due = asyncio.get_running_loop().time() + line.delay_s + random.uniform(0, line.jitter_s)
            async with some:
                await some.wait_for(lambda: len(held) < HELD_MAX)
                # None overtakes another.
                held.append((max(due, held[-1][0]) if held else due, piece))
                some.notify_all()
            if not piece:
                await delivery
                return
    finally:
        delivery.cancel()


async def serve(line, target, reader, writer):
    line.connections += 1
    try:
        far_reader, far_writer = await asyncio.open_connection(*target)
    except OSError:
        writer.close()
        return
    directions = [asyncio.create_task(carry(line, reader, far_writer, True)),
                  asyncio.create_task(carry(line, far_reader, writer, False))]
    _, left = await asyncio.wait(directions, return_when=asyncio.FIRST_EXCEPTION)
    for task in left:
        task.cancel()
    await asyncio.gather(*directions, return_exceptions=True)  # a reset of one side ends both, and that is all
    far_writer.close()
    writer.close()


def obey(line, words):
    if words[0] == "delay":
        line.delay_s, line.jitter_s = float(words[1]) / 1000, float(words[2]) / 1000
    elif words[0] == "stall":
        line.going.clear()
    elif words[0] == "go":
        line.going.set()
    elif words[0] != "count":
        raise ValueError(words)
    return f"{line.pieces} {line.bytes} {line.connections}"


async def main(listen, listen_port, target, target_port):
    line = Line()
    server = await asyncio.start_server(lambda *both: serve(line, (target, int(target_port)), *both), listen, int(listen_port))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    while order := await orders.readline():
        print(obey(line, order.decode().split()), flush=True)
    server.close()


class SlowLine:
    """The proxy as a process of its own, so that it is not slowed down by what the tests compute."""

    def __init__(self, listen, target, before=()):
        self.process = subprocess.Popen([*before, sys.executable, __file__, listen[0], str(listen[1]), target[0], str(target[1])],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def order(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the slow line has broken down"
        return [int(word) for word in answer.split()]

    def delay(self, ms, jitter_ms=0):
        self.order(f"delay {ms} {jitter_ms}")

    def stall(self):
        self.order("stall")

    def go(self):
        self.order("go")

    def count(self):
        """(pieces, bytes, connections) that came from the clients so far."""
        return tuple(self.order("count"))

    def finish(self):
        self.process.stdin.close()
        status = self.process.wait(30)
        self.process.stdout.close()
        return f"the slow line ended with {status}" if status != 0 else None


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

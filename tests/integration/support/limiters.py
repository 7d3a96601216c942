# SPDX-License-Identifier: Apache-2.0
"""HTTP servers whose limiter is wrong in one way each, for tests of what should notice it. Three of them are right: one as
it should be, one that was in use before, and one that takes its time.

Leaves out: links; the short one is made up.
"""
import collections
import http.server
import json
import math
import threading
import time


class Limiter:
    """An exact sliding log for everybody together."""

    bodies = {200: {"short_url": "/Ab12Cd7"}, 429: {"error": "Rate limit exceeded"}, 500: {"error": "oh"}}

    def __init__(self, limit, window_s):
        self.limit, self.window_s = limit, window_s
        self.lock = threading.Lock()
        self.log = collections.deque()
        self.asked = 0

    def take(self):
        """(status, Retry-After or None) of one request."""
        with self.lock:
            now = time.monotonic()
            self.asked += 1
            while self.log and self.log[0] <= now - self.window_s:
                self.log.popleft()
            return self.decide(now)

    def decide(self, now):
        if len(self.log) < self.limit:
            self.log.append(now)
            return 200, None
        return 429, self.retry_after(now)

    def retry_after(self, now):
        return max(1, math.ceil(self.log[0] + self.window_s - now))


class AdmitsOneMore(Limiter):
    def __init__(self, limit, window_s):
        super().__init__(limit + 1, window_s)


class AdmitsOneMoreOnce(Limiter):
    """As if two servers had not seen each other, for once."""

    def decide(self, now):
        return (200, None) if self.asked == self.limit + 1 else super().decide(now)


class ForgetsEarly(Limiter):
    """Takes its window to be a twentieth shorter than it says."""

    def __init__(self, limit, window_s):
        super().__init__(limit, window_s * 0.95)


class AdmitsEverybody(Limiter):
    def decide(self, now):
        return 200, None


class AdmitsNobody(Limiter):
    def decide(self, now):
        return 429, math.ceil(self.window_s)


class WasInUse(Limiter):
    """Right, and nothing is free when the first client comes."""

    def __init__(self, limit, window_s):
        super().__init__(limit, window_s)
        self.log.extend([time.monotonic()] * limit)


class TakesItsTime(Limiter):
    """Right, and decides at once; but the answer to every third comes late."""

    def take(self):
        answer = super().take()
        if self.asked % 3 == 0:
            time.sleep(0.3)
        return answer


class FixedWindows(Limiter):
    """Forgets all at every turn of its window: twice the limit at a turn. The first one comes early."""

    turn = None

    def decide(self, now):
        self.turn = self.turn or now + self.window_s / 2
        if now >= self.turn:
            self.turn += self.window_s
            self.log.clear()
        return super().decide(now)

    def retry_after(self, now):
        return max(1, math.ceil(self.turn - now))


class CountsDenials(Limiter):
    """Who is denied is counted all the same, so that a steady client is locked out for ever."""

    def decide(self, now):
        passes = len(self.log) < self.limit
        self.log.append(now)
        return (200, None) if passes else (429, self.retry_after(now))


class FailsOnce(Limiter):
    def decide(self, now):
        return (500, None) if self.asked == 20 else super().decide(now)


class HangsUpOnce(Limiter):
    """One connection is closed without an answer."""

    def decide(self, now):
        return (None, None) if self.asked == 20 else super().decide(now)


class FailsAlways(Limiter):
    def decide(self, now):
        return 500, None


class Slow(Limiter):
    """Takes 0.1 s for each request, one after the other."""

    def decide(self, now):
        time.sleep(0.1)
        return super().decide(now)


class TellsNothing(Limiter):
    """429 without Retry-After."""

    def retry_after(self, now):
        return None


class TellsNothingOnce(Limiter):
    told = 0

    def retry_after(self, now):
        self.told += 1
        return None if self.told == 10 else super().retry_after(now)


class TellsZero(Limiter):
    def retry_after(self, now):
        return 0


class TellsOneMore(Limiter):
    """A second more than is true."""

    def retry_after(self, now):
        return super().retry_after(now) + 1


class TellsTooMuch(Limiter):
    """Always the whole window."""

    def retry_after(self, now):
        return math.ceil(self.window_s)


class TellsTooLittle(Limiter):
    """Always one second."""

    def retry_after(self, now):
        return 1


class TellsADate(Limiter):
    def retry_after(self, now):
        return "Wed, 21 Oct 2026 07:28:00 GMT"


class TellsThisAndThat(Limiter):
    """The whole window to one, one second to the next."""

    def retry_after(self, now):
        return math.ceil(self.window_s) if self.asked % 2 else 1


class AnswersWithoutLink(Limiter):
    bodies = {**Limiter.bodies, 200: {}}


class DeniesWithoutReason(Limiter):
    bodies = {**Limiter.bodies, 429: {"error": "no"}}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.paths.add(self.path)
        self.send_response(301 if self.server.elsewhere else 404)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.server.paths.add(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        status, retry_after = self.server.limiter.take()
        if status is None:
            self.close_connection = True
            return
        body = json.dumps(self.server.limiter.bodies[status])
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


class LimiterServer(http.server.ThreadingHTTPServer):
    """`with LimiterServer(limiter) as server:` serves it at server.url. A GET is answered 404, or sent elsewhere."""

    daemon_threads = True

    def __init__(self, limiter, elsewhere=None):
        self.limiter, self.elsewhere = limiter, elsewhere
        self.paths = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

# SPDX-License-Identifier: Apache-2.0
"""Asking a server from outside its machine, once or all the time."""
import http.client
import json
import threading
import time

from lab import NEIGHBOURS


def code_of(answer):
    """The path of the link that was made, of what Client.ask() returned."""
    assert answer[0] == 200, answer
    return json.loads(answer[2])["short_url"]


class Asking:
    """A thread that asks until it is told to stop. `answers` counts statuses, or names of errors."""

    def __init__(self, ask):
        self.answers, self.ended = {}, threading.Event()
        self.ask, self.thread = ask, threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended.is_set():
            try:
                answer = self.ask()
            except (OSError, http.client.HTTPException) as error:
                answer = type(error).__name__
            self.answers[answer] = self.answers.get(answer, 0) + 1
            time.sleep(0.02)

    def stop(self):
        self.ended.set()
        self.thread.join(60)
        assert self.answers, "nothing was asked"


class Client:
    def __init__(self, lab, address, port=80):
        self.lab, self.address, self.port = lab, address, port
        self.newcomers = iter(NEIGHBOURS)
        self.me = next(self.newcomers)

    def ask(self, method, path, body=None, client=None):
        """Returns (status, fields, body). @param client  whose address is used; else always the same."""
        return self.lab.ask(self.address, path, method, body, client or self.me, self.port)

    def newcomer(self):
        """An address that nobody has asked from before."""
        return next(self.newcomers)

    def get(self, path):
        status, _, body = self.ask("GET", path)
        return status, body

    def tries(self, path):
        """The status, or None when there was no answer."""
        try:
            return self.ask("GET", path)[0]
        except (OSError, http.client.HTTPException):
            return None

    def keep_asking(self, path):
        return Asking(lambda: self.ask("GET", path)[0])

# SPDX-License-Identifier: Apache-2.0
"""The machines of deploy/terraform, from the files that cloud-init is told (tests/terraform/rendered): each made, delivered to
as `tofu apply` does it, and kept running until the end.

Leaves out: what is expected of them (test_plant.py).
"""
import pathlib
import re
import time

from delivery import ROOT, Delivery
from machine import Machine
from ops import Client

RENDERED = ROOT / "tests/terraform/rendered"
OPERATOR = re.compile(r"ssh-ed25519 \S+ operator")
# name: (address, MB of memory, MB of data)
SIZES = {"lb": ("10.0.0.100", 512, 0)}


class Plant:
    def __init__(self, lab, image, folder, key):
        self.lab, self.image, self.folder, self.key = lab, image, pathlib.Path(folder), key
        self.machines, self.states = {}, {}
        self.client = Client(lab, SIZES["lb"][0])

    def user_data(self, name):
        text = (RENDERED / f"{name}.yaml").read_text()
        return OPERATOR.sub(self.key[1], text)

    def start(self, name):
        """Makes a machine and waits until its first boot is over. Returns it."""
        address, memory_mb, data_mb = SIZES[name]
        made = Machine(self.lab, self.image, self.folder / name, name, address, self.key,
                       self.user_data(name), memory_mb, data_mb)
        self.machines[name] = made
        begun = time.monotonic()
        made.start()
        self.states[name] = made.wait_until_up()
        print(f"{name}: first boot in {time.monotonic() - begun:.0f} s")
        return made

    def delivery(self, name):
        return Delivery(self.machines[name], self.folder)

    def deliver(self, name):
        """As modules/vm has it done."""
        delivery = self.delivery(name)
        delivery.files(self.user_data(name))
        delivery.secrets({})

    def one(self, name):
        """A machine, ready; made when it is asked for first."""
        if name not in self.machines:
            self.start(name)
            self.deliver(name)
        return self.machines[name]

    def last_words(self):
        return "\n".join(f"{name}:\n{machine.last_words()}" for name, machine in self.machines.items())

    def close(self):
        for machine in self.machines.values():
            machine.kill()

# SPDX-License-Identifier: Apache-2.0
"""What the system tests stand on: the program, the wire, and readers of what the program writes."""

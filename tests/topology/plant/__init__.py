# SPDX-License-Identifier: Apache-2.0
"""The reference plant in network namespaces: hosts, load, and the oracle that judges what came back."""

-- SPDX-License-Identifier: Apache-2.0

-- The server's clock, and for how long a key lives on after its state has become empty.
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local KEEP_MS = 1000

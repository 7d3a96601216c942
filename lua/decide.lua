
-- decide.lua: the verbs over all keys. Everything is read and decided before anything is written; the first write of a
-- server that is out of memory, a replica, or unable to save fails, and later ones don't: so all is taken or nothing.

local TAKE, PEEK, REFUND = 0, 1, 2
local POLICY, ANSWER = '<BI4I4I4dI4dd', '<BI4ddd'

-- key: from where more of the state is read when it is long; nothing: it is whole.
local function look(algorithm, key, state, taking, alone, prefix, most, cost, window, drain, unit)
	if algorithm == 1 then
		if key and most * 4 + 24 > WHOLE_MAX then
			return sliding_log_long(key, state, taking, alone, prefix, most, cost, window)
		end
		return sliding_log(state, taking, alone, prefix, most, cost, window)
	elseif algorithm == 2 then
		return sliding_counter(state, taking, alone, prefix, most, cost, window)
	elseif algorithm == 3 then
		return fixed_window(state, taking, alone, prefix, most, cost, window)
	end
	return token_bucket(state, taking, alone, prefix, most, cost, window, drain, unit)
end

local function fetch(key, algorithm, most)
	if algorithm == 1 and most * 4 + 24 > WHOLE_MAX then
		return call('GETRANGE', key, 0, WHOLE_MAX - 1)
	end
	return call('GET', key) or ''
end

-- The key lives until its state is empty, and a little longer.
local function save(key, state, reset)
	local keep_ms = ceil(reset / 1000) + KEEP_MS

	if type(state) == 'string' then
		call('SET', key, state, 'PX', keep_ms)
		return
	end
	for i = 1, #state, 2 do
		call('SETRANGE', key, state[i], state[i + 1])
	end
	call('PEXPIRE', key, keep_ms)
end

-- Looks, and writes when all may pass.
local function take(verb, arguments)
	local place, answers, taken, states, resets, allowed = 2, {}, {}, {}, {}, verb == TAKE
	local n = #KEYS

	for i = 1, n do
		local algorithm, prefix, most, cost, window, drain, unit, given

		algorithm, prefix, most, cost, window, drain, unit, given, place = read(POLICY, arguments, place)
		local remaining, retry, reset, at, reset_taken, state = look(algorithm, KEYS[i], fetch(KEYS[i], algorithm, most),
			verb == TAKE, n == 1, prefix, most, cost, window, drain, unit)

		if not remaining then
			return string.char(i)
		end
		if state and n == 1 then
			save(KEYS[1], state, reset_taken)
			return write(ANSWER, 1, remaining - cost, 0, reset_taken, at)
		end
		answers[i] = write(ANSWER, cost <= remaining and 1 or 0, remaining, retry, reset, at)
		allowed = allowed and state
		if allowed then
			taken[i] = write(ANSWER, 1, remaining - cost, 0, reset_taken, at)
			states[i], resets[i] = state, reset_taken
		end
	end
	if not allowed then
		return table.concat(answers)
	end
	for i = 1, n do
		save(KEYS[i], states[i], resets[i])
	end
	return table.concat(taken)
end

local function give_back(arguments)
	local place, answers, states, resets = 2, {}, {}, {}

	for i = 1, #KEYS do
		local algorithm, prefix, most, cost, window, drain, unit, given
		local state = call('GET', KEYS[i]) or ''

		algorithm, prefix, most, cost, window, drain, unit, given, place = read(POLICY, arguments, place)
		local before = look(algorithm, nil, state, false, false, prefix, most, cost, window, drain, unit)
		if not before then
			return string.char(i)
		end
		states[i] = refund(algorithm, state, prefix, most, cost, window, drain, unit, given)
		local remaining, retry, reset, at =
			look(algorithm, nil, states[i] or state, false, false, prefix, most, 1, window, drain, unit)

		resets[i] = reset
		answers[i] = write(ANSWER, (remaining > 0 and 1 or 0) + (states[i] and before < cost and 2 or 0), remaining, retry,
			reset, at)
	end
	for i = 1, #KEYS do
		if states[i] then
			save(KEYS[i], states[i], resets[i])
		end
	end
	return table.concat(answers)
end

local arguments = ARGV[1]
local verb = arguments:byte()

if verb == TAKE or verb == PEEK then
	return take(verb, arguments)
elseif verb == REFUND then
	return give_back(arguments)
end
call('DEL', unpack(KEYS))
return ''

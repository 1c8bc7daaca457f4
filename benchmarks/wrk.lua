-- Sends the header fields of BENCH_HEADERS and prints wrk's own figures as one line of JSON.
-- BENCH_HEADERS: "Name: value" lines, an empty line between one caller and the next; callers take
-- turns. It comes by environment because everybody may read a command line, and tokens are in it.
local callers = {}
for block in (os.getenv("BENCH_HEADERS") .. "\n\n"):gmatch("(.-)\n\n") do
  local fields = {}
  for name, value in (block .. "\n"):gmatch("(.-): (.-)\n") do fields[name] = value end
  callers[#callers + 1] = fields
end

wrk.headers = callers[1]

if #callers > 1 then
  local requests, turn = {}, 0
  init = function()
    for number, fields in ipairs(callers) do requests[number] = wrk.format(nil, nil, fields) end
  end
  request = function()
    turn = turn % #requests + 1
    return requests[turn]
  end
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nRESULT {\"requests\":%d,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
      .. "\"bad_status\":%d,\"connect\":%d,\"read\":%d,\"write\":%d,\"timeout\":%d}\n",
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end

-- Sends the heads of BENCH_HEADS_FILE and prints wrk's own figures as one line of JSON.
-- The file: requests without a body, as they are sent but for the ends of lines; they take turns.
-- A file of the caller's own, because everybody may read a command line, tokens are in it, and
-- thousands of them are more than an environment variable takes.
local file = assert(io.open(os.getenv("BENCH_HEADS_FILE")))
local text = file:read("*a")
file:close()
local heads = {}
for head in text:gmatch("(.-\n\n)") do heads[#heads + 1] = head:gsub("\n", "\r\n") end

if #heads == 1 then
  local fields = {}
  for name, value in heads[1]:gmatch("\n(.-): (.-)\r") do fields[name] = value end
  wrk.headers = fields
else
  local turn = 0
  request = function()
    turn = turn % #heads + 1
    return heads[turn]
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

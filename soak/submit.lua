-- POSTs one submission again and again, each with an Idempotency-Key of its own where KEY_PREFIX is set.
-- TOKEN comes by environment, because everybody may read a command line.
wrk.method, wrk.body = "POST", os.getenv("BODY")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["Content-Type"] = "application/json"
local prefix, number = os.getenv("KEY_PREFIX"), 0

request = function()
  if prefix ~= "" then
    number = number + 1
    wrk.headers["Idempotency-Key"] = '"' .. prefix .. number .. '"'
  end
  return wrk.format()
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nRESULT {\"requests\":%d,\"seconds\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"errors\":%d}\n",
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end

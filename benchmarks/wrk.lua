-- wrk's own figures as one line of JSON: the text output rounds them.
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nRESULT {\"requests\":%d,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
      .. "\"bad_status\":%d,\"connect\":%d,\"read\":%d,\"write\":%d,\"timeout\":%d}\n",
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end

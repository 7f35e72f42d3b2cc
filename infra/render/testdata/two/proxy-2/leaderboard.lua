-- Keeps the leaderboard for Envoy, as proxy_cache does for nginx.conf: Envoy's own cache goes by Cache-Control, which the app
-- does not send. Every worker thread has a Lua of its own, hence a copy of its own.
--
-- An answer may be a second old. It is kept under the half second in which it was asked for and given out in that half
-- second only, so it is never older than that and what the app takes to answer.
local window, kept = 0, {}
local most = 64 -- answers in a half second: each ?limit= is one

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path")
  if headers:get(":method") ~= "GET" or path:match("^[^?]*") ~= "/api/leaderboard" then return end
  local now = math.floor(tonumber(handle:timestamp()) / 500)
  if now ~= window then window, kept = now, {} end
  local answer = kept[path]
  if answer == nil then
    local meta = handle:streamInfo():dynamicMetadata()
    meta:set("isukit.leaderboard", "path", path)
    meta:set("isukit.leaderboard", "window", tostring(now))
    return
  end
  if answer.etag and headers:get("if-none-match") == answer.etag then
    handle:respond({[":status"] = "304", ["etag"] = answer.etag}, "")
  else
    handle:respond(answer.headers, answer.body)
  end
end

function envoy_on_response(handle)
  local asked = handle:streamInfo():dynamicMetadata():get("isukit.leaderboard")
  if asked == nil then return end
  local headers = handle:headers()
  if headers:get(":status") ~= "200" or headers:get("set-cookie") or headers:get("content-encoding") then return end
  local copy, n = {}, 0
  for name, value in pairs(headers) do
    if name ~= "transfer-encoding" and name ~= "content-length" and name ~= "date" then copy[name] = value end
  end
  local etag, path, asked_in = headers:get("etag"), asked["path"], tonumber(asked["window"])
  local body = handle:body() -- waits for all of it; what was had from the handle before is not to be used after
  local bytes = body and body:getBytes(0, body:length()) or ""
  for _ in pairs(kept) do n = n + 1 end
  if asked_in == window and n < most then
    kept[path] = {headers = copy, body = bytes, etag = etag}
  end
end

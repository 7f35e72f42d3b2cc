-- Lets tshark decode the portal's bodies by type, as a person who knows the routes would set it up.
local protobuf = Dissector.get("protobuf")
local method, uri = Field.new("http.request.method"), Field.new("http.request.uri")
local answered, status = Field.new("http.response_for.uri"), Field.new("http.response.code")
local routes = {}
for line in io.lines(os.getenv("PORTAL_ROUTES")) do
	local m, path, request, response = line:match("^(%u+)\t(%S+)\t(%S+)\t(%S+)$")
	if m then
		routes[#routes + 1] = {m, "^" .. path:gsub("[%-%.]", "%%%0"):gsub("{[^}]+}", "[^/]+") .. "$", request, response}
	end
end
local portal = Proto("portal_bodies", "Portal bodies")
function portal.dissector(tvb, pinfo, tree)
	local m, u, a, s = method(), uri(), answered(), status()
	local direction, path, name = 3, u and tostring(u) or "", "portal.v1.Error"
	if a then direction, path = 4, tostring(a):gsub("^https?://[^/]+", "") end
	path = path:gsub("%?.*", "")
	if not s or s.value < 400 then
		for _, r in ipairs(routes) do
			if path:match(r[2]) and (direction == 4 or r[1] == tostring(m)) then name = r[direction] end
		end
	end
	pinfo.private["pb_msg_type"] = "message," .. name
	protobuf:call(tvb, pinfo, tree)
end
DissectorTable.get("media_type"):add("application/protobuf", portal)

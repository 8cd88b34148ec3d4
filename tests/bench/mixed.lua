-- One request after the other, as browsers, scripts and services send them; the arguments are the header that shows a
-- ticket and the one that shows a token.

local browser = {
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  ["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3",
  ["Accept-Encoding"] = "gzip, deflate, br, zstd",
  ["Sec-Fetch-Dest"] = "document",
  ["Sec-Fetch-Mode"] = "navigate",
  ["Sec-Fetch-Site"] = "same-origin",
  ["Priority"] = "u=0, i",
  ["Referer"] = "http://127.0.0.1/session/page",
}
local requests = {}
local turn = 0

local function with(base, line)
  local headers = {}
  for name, value in pairs(base) do headers[name] = value end
  local name, value = line:match("^([^:]+): (.*)$")
  if name == "Cookie" then value = "theme=dark; " .. value .. "; lang=en" end
  headers[name] = value
  return headers
end

function init(arguments)
  local person, service = with(browser, arguments[1]), with({ ["Accept"] = "*/*" }, arguments[2])
  local function add(times, method, path, headers, body)
    for _ = 1, times do requests[#requests + 1] = wrk.format(method, path, headers, body) end
  end
  add(6, "GET", "/session/page", person)
  add(3, "GET", "/session/script?v=12", person)
  add(5, "GET", "/signed/page?list-type=2&prefix=a%20b", person)
  add(2, "GET", "/signed/script", person)
  add(1, "PUT", "/upload/report.csv", person, string.rep("1,2,3\n", 600))
  add(4, "GET", "/service/page", service)
  add(1, "GET", "/public/page", browser)
  add(1, "GET", "/session/missing", person)
  add(1, "GET", "/session/page", { ["Accept"] = "application/json" })
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

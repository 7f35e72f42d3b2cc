#!/bin/sh
# Makes the HAR files here: a page in Chromium calls app.py over HTTP/2 and TLS, which nginx speaks for it. Written down by Playwright's
# recorder, of the browser's own events by chrome-har, and by the proxy mitmproxy. NAME.truth is what the app got and sent, one call a line.
# Needed: chromium, nginx, openssl, python3; "npm install playwright-core chrome-har", "pip install mitmproxy". The files here are of
# Chromium 156, playwright-core 1.65.1, chrome-har 1.3.1 and mitmproxy 11.0.2. It is run where nothing else uses the ports 8001, 8080, 8443.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cd "$work"
export HOME="$work" NODE_PATH="${NODE_PATH:-$here/node_modules}"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=shop.example 2>/dev/null
cat >nginx.conf <<'C'
daemon off; pid nginx.pid; error_log error.log;
events {}
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	server {
		listen 127.0.0.1:8443 ssl http2;
		ssl_certificate cert.pem; ssl_certificate_key key.pem;
		location / { proxy_pass http://127.0.0.1:8001; proxy_set_header Host $http_host; proxy_http_version 1.1; }
	}
}
C
nginx -p "$work" -c nginx.conf &
nginx=$!
app=
trap 'kill $nginx $app; rm -rf "$work"' EXIT
for name in playwright cdp mitmproxy; do
	python3 "$here/app.py" "$name.truth" &
	app=$!
	sleep 1
	if [ $name = mitmproxy ]; then
		mitmdump -q --listen-host 127.0.0.1 -p 8080 --ssl-insecure --set confdir=mitm --set hardump=mitmproxy.har --set connection_strategy=lazy &
		proxy=$!
		sleep 5
		node "$here/browser.js" $name http://127.0.0.1:8080
		kill -INT $proxy
		wait $proxy || true
	else
		node "$here/browser.js" $name
	fi
	kill $app
	wait $app || true
	# What the browser asks its maker for is none of the page's. (Without that, the files are as they were written.)
	python3 -c 'import json, sys
h = json.load(sys.stdin)
h["log"]["entries"] = [e for e in h["log"]["entries"] if "shop.example" in e["request"]["url"]]
json.dump(h, sys.stdout, ensure_ascii=False, separators=(",", ":"))' <$name.har >"$here/$name.har"
	cp $name.truth "$here"
done

// The proxy takes its token from the environment alone; so it gets there where nobody outside the
// process sees it.
process.env.CONFIGPROXY_AUTH_TOKEN = require("node:fs").readFileSync("/secrets/proxy_token", "utf8");

package config

// describe says what a key is for: in --help, in the schema and in
// docs/configuration.md. A route's own keys are under "routes.".
func describe(key string) string { return descriptions[key] }

// descriptions has one entry for each key; a test finds what is missing or left over.
var descriptions = map[string]string{
	"listen":          "Where clients come in: host:port, or unix:/path for a socket; one or a list.",
	"trusted_proxies": "Addresses and CIDR prefixes of the proxies whose word on X-Forwarded-* and Forwarded is believed; unix is who comes by a unix socket.",
	"proxy_protocol":  "Demands a PROXY protocol header, v1 or v2, of every connection from a trusted proxy.",

	"upstream":             "The backend: a URL, or a mapping of the keys below. It is short for one route / and takes what no route does.",
	"upstream.url":         "ws://, wss://, http:// or https:// with a host; a path in it takes the place of the route's prefix.",
	"upstream.socket":      "A unix socket's path to connect to in place of the URL's host and port.",
	"upstream.ca":          "A PEM file of the roots to trust for a wss backend; by default the system's. Read at the start and at a reload only.",
	"upstream.server_name": "The name that a wss backend must prove; by default the URL's host.",
	"upstream.cert":        "A PEM file of the certificate to show to a wss backend that asks; needs key. Read at the start and at a reload only.",
	"upstream.key":         "A PEM file of that certificate's key.",
	"upstream.subprotocol": "Offered to the backend for sessions whose client offers none, as one of Engine.IO that begins by polling; raw clients bring their own.",

	"routes":          "Path prefixes and the backend of each. A route inherits every section that it does not set, key by key; flags and variables give it as YAML in one line.",
	"routes.path":     "A prefix, compared by whole segments; the longest that matches wins. Written as clients send it, escapes and all.",
	"routes.host":     "The host asked for, without port and without regard to case; by default any. It comes before routes of any host.",
	"routes.upstream": "The backend of the route, written as upstream at the top level.",

	"protocols": "What clients may speak: websocket is raw WebSocket, resume is resumable WebSocket, engineio is Engine.IO, http passes plain requests through.",
	"origins":   "Origins whose pages may connect: same-origin, *, null, or scheme://host[:port] where the host may begin with *. to take any below it. A request without Origin passes unless its browser says that another site made it.",

	"heartbeat":          "How silent clients and backends are found out.",
	"heartbeat.interval": "The silence after which a ping is sent; 0s for never.",
	"heartbeat.timeout":  "What a peer has to answer in before it is given up; 0s for no end.",

	"session":          "Sessions, which every protocol but websocket and http has.",
	"session.ttl":      "How long a session lives with no client attached, or with the backend's close not yet fetched. Engine.IO's clients are lost by ping_timeout, and for them it is the latter alone.",
	"session.window":   "The most bytes kept for a client that is away or slow; one message may go beyond it.",
	"session.overflow": "What a full window does: pause the backend, or close the session with 1013.",
	"session.identity": "Request headers, and cookie:NAME cookies, that must be the same in every request of a session; to another the session is unknown.",

	"session_memory":       "What the sessions of all routes may hold together.",
	"session_memory.limit": "The most bytes: 1 KiB for each session, and each message that waits for its client, or by resume for the backend, with 64 bytes beside its own. At the bound a new session is refused with 503, and the others are given one message at a time. Off: none.",
	"session_memory.evict": "Makes room at the bound by ending the sessions whose clients have been away for longest.",

	"resume":        "Resumable WebSocket; docs/protocol.md tells more.",
	"resume.poll":   "How long a long-poll without news is held.",
	"resume.rotate": "The age at which a streaming response ends and the client asks for the next.",

	"engineio":                 "Engine.IO, revision 4; docs/engineio.md tells more.",
	"engineio.path":            "Appended to the route's path; all below it is the protocol's.",
	"engineio.ping_interval":   "The time from one ping to the next.",
	"engineio.ping_timeout":    "What the client has to answer in; then its session ends.",
	"engineio.upgrade_timeout": "What a change from polling to WebSocket may take; then polling goes on.",
	"engineio.max_payload":     "The most bytes of one polling body and of one message that clients send.",
	"engineio.cookie":          "Sends the session's id as the cookie io too, for load balancers that stick by it.",

	"socketio":                 "Socket.IO.",
	"socketio.path":            "Appended to the route's path.",
	"socketio.mode":            "How events and the backend's messages stand for each other: message makes each message one event called message.",
	"socketio.recovery":        "Lets a client that was away come back to its session and get what it missed.",
	"socketio.connect_timeout": "What a client has to join a namespace.",

	"sockjs":                  "SockJS.",
	"sockjs.path":             "Appended to the route's path.",
	"sockjs.websocket":        "Lets clients use the WebSocket transport; false makes them fall back.",
	"sockjs.cookie":           "Sets JSESSIONID, for load balancers that stick by it.",
	"sockjs.response_limit":   "The most bytes that a streaming response carries before the client asks for the next.",
	"sockjs.heartbeat":        "The silence after which an h frame is sent.",
	"sockjs.disconnect_delay": "How long a session lives with no receiver.",
	"sockjs.iframe":           "Serves the page that old browsers put into a frame to cross origins.",

	"limits":                       "Bounds on what clients can take. The counts are 0 for a bound that follows from the descriptors the process may have, and off for none.",
	"limits.connections":           "How many connections there may be; the next is refused with 503. 0: nineteen twentieths of what the descriptors allow.",
	"limits.per_address":           "How many of them one client address (an IPv6 /64) may have; the next is refused with 429. 0: none.",
	"limits.handshakes_per_second": "How fast one address may open connections; beyond it is 429. Bursts of twice as many pass, at least 10. 0: a tenth of connections, at least 10, with bursts of connections.",
	"limits.message":               "The most bytes of one message on the wire; beyond it the sender gets 1009.",
	"limits.body":                  "The most bytes of a fallback transport's request body; larger ones get 413.",
	"limits.header_timeout":        "What a client has for its TLS handshake and again to send a request's head, and a trusted proxy for its PROXY header. The same for all routes.",
	"limits.write_timeout":         "Ends a connection to which nothing could be written for so long.",
	"limits.dial_timeout":          "What a backend has to take a connection and answer its handshake; then the client gets 504.",

	"tls":                 "How clients' TLS ends here: by certificates from files, from an authority that speaks ACME, or from a local authority of our own; or off, where a proxy or an ingress ends it. More: tls.md.",
	"tls.mode":            "off; files: the PEM files cert and key; acme: certificates that are ordered and renewed; internal: of a local authority, for development.",
	"tls.http":            "The plain listener that redirects to https, and answers the challenge http-01: host:port, unix:/path, or off. Not there with mode off.",
	"tls.loop":            "Relays connections with TLS, towards clients or wss backends, on epoll loops where there are any; false: by two goroutines each, which takes more memory and leans on nothing that crypto/tls does not document.",
	"tls.cert":            "A PEM file, the server's certificate first and its chain behind it, for mode files; or a list, of which the client's server name chooses, else the first. Read again when it changes.",
	"tls.key":             "A PEM file of the certificate's key, for mode files; or a list in the order of cert. Read again when it changes.",
	"tls.domains":         "The names to have certificates for from the start, for mode acme; for mode internal also addresses and *. names, by default localhost, 127.0.0.1 and ::1.",
	"tls.email":           "Where the certificate authority sends warnings, for mode acme.",
	"tls.ca":              "The certificate authority's directory URL, for mode acme; by default Let's Encrypt's.",
	"tls.ca_roots":        "A PEM file of roots to trust for the authority's own TLS, beside the system's, for mode acme.",
	"tls.storage":         "The directory that keeps keys and certificates, for modes acme and internal; by default $STATE_DIRECTORY, else sidecar in $XDG_DATA_HOME, else .local/share/sidecar in $HOME. Instances that share it share certificates.",
	"tls.challenges":      "How it is proved that a name is ours, for mode acme: http-01 on tls.http, tls-alpn-01 on listen.",
	"tls.on_demand":       "Certificates at the first handshake for a name, for mode acme. Needs allow, ask or both.",
	"tls.on_demand.allow": "The names to get certificates for; *.example.com is any name one label below. By default any that ask allows.",
	"tls.on_demand.ask":   "A URL that is asked with ?domain=NAME about each name that allow lets through; it has 1s to answer 2xx.",
	"tls.eab":             "An account that the certificate authority may demand, for mode acme.",
	"tls.eab.key_id":      "The account's name.",
	"tls.eab.mac":         "The account's key, a secret; better as ${VAR} than written out.",

	"tls.client_auth":        "Asks clients for certificates; not with mode off.",
	"tls.client_auth.ca":     "A PEM file of the roots that clients' certificates must lead to; without it nobody is asked. Read again when it changes.",
	"tls.client_auth.mode":   "require: there is no handshake without a good certificate; request: a client may have none, but a bad one is refused.",
	"tls.client_auth.header": "Tells the backend the subject of the client's certificate. It never comes from a client.",

	"drain":       "How the program stops.",
	"drain.delay": "How long readiness says 503 while clients still come in, because load balancers learn late.",
	"drain.for":   "What connections then have to end in; closes are spread over 0.8 of it, and what is left is cut.",

	"ops":                "The listener for operators: /livez, /readyz and /metrics. Never the public one.",
	"ops.listen":         "host:port, unix:/path, or off.",
	"ops.check_upstream": "Makes /readyz depend on the backends: 503 while one cannot be reached.",

	"log":        "What is logged, on standard error.",
	"log.level":  "debug, info, warn or error.",
	"log.format": "text, json, or auto: text on a terminal, JSON elsewhere.",
}

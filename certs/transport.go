package certs

import (
	"net"
	"net/http"
	"time"
)

// newTransport is for questions of which each has this time. A Transport goes on with a
// dial or a TLS handshake when the request has ended that wanted it: without a limit of
// its own, who accepts and says nothing would have each question cost a connection. It
// speaks HTTP/1.1, by which a question without an answer ends its connection: by HTTP/2
// those behind it would go by one that may be dead.
func newTransport(limit time.Duration) *http.Transport {
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: limit}).DialContext, TLSHandshakeTimeout: limit, MaxResponseHeaderBytes: 16 << 10,
	}
}

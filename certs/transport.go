package certs

import (
	"net"
	"net/http"
	"time"
)

// newClient asks by t, each question within limit, and goes where it is sent and not on
// from there. A Transport goes on with a dial or a TLS handshake when the request has ended
// that wanted it: without a limit of its own, who accepts and says nothing would have each
// question cost a connection. It speaks HTTP/1.1, by which a question without an answer ends
// its connection: by HTTP/2 those behind it would go by one that may be dead.
func newClient(limit time.Duration, t *http.Transport) *http.Client {
	t.DialContext, t.TLSHandshakeTimeout, t.MaxResponseHeaderBytes = (&net.Dialer{Timeout: limit}).DialContext, limit, 16<<10
	return &http.Client{
		Timeout: limit, Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

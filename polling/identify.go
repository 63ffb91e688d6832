package polling

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"

	"sidecar/access"
	"sidecar/session"
)

// Identify is who a session that r opens belongs to, or whose it must be for r to
// have it: the headers and cookies that s names. Cookies are found by access.Cookie,
// since net/http passes over values that it finds odd. A client that has shown a
// certificate is that of this certificate too.
func Identify(s *session.Settings, r *http.Request) session.Identity {
	header := func(name string) []string { return r.Header[http.CanonicalHeaderKey(name)] }
	cookie := func(name string) []string { return access.Cookie(r.Header, name) }
	return certified(s.Identify(header, cookie), r.TLS)
}

// certified is who, and the certificate that has passed a handshake. A renewed one is
// another.
func certified(who session.Identity, t *tls.ConnectionState) session.Identity {
	if t == nil || len(t.VerifiedChains) == 0 || len(t.VerifiedChains[0]) == 0 {
		return who
	}
	h := sha256.New()
	h.Write([]byte("client certificate "))
	h.Write(who[:])
	h.Write(t.VerifiedChains[0][0].Raw)
	return session.Identity(h.Sum(nil))
}

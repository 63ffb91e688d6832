package polling

import (
	"net/http"

	"sidecar/access"
	"sidecar/session"
)

// Identify is who a session that r opens belongs to, or whose it must be for r to
// have it: the headers and cookies that s names. Cookies are found by access.Cookie,
// since net/http passes over values that it finds odd.
func Identify(s *session.Settings, r *http.Request) session.Identity {
	header := func(name string) []string { return r.Header[http.CanonicalHeaderKey(name)] }
	cookie := func(name string) []string { return access.Cookie(r.Header, name) }
	return s.Identify(header, cookie)
}

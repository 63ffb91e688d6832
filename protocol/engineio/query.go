package engineio

import (
	"net/url"
	"strings"
)

// A query is what of a request's query is the protocol's own. A parameter given
// twice is as one that nobody knows: two readers may choose differently.
type query struct {
	revision  string // EIO
	transport string
	sid       string
	asked     bool // there is a sid, though maybe empty
	base64    bool // b64: binary messages are to be text on a WebSocket, too
}

// twice is what a parameter that was given twice has for a value, and empty one that
// is given without any: nothing is called so.
const twice, empty = " twice ", " empty "

// parseQuery reads raw. It is not url.ParseQuery: that would make a map for each
// poll.
func parseQuery(raw string) (q query) {
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch plain(name) {
		case "EIO":
			once(&q.revision, value)
		case "transport":
			once(&q.transport, value)
		case "sid":
			if q.asked {
				q.sid = twice
				continue
			}
			q.asked, q.sid = true, plain(value)
		case "b64":
			q.base64 = q.base64 || value != ""
		}
	}
	return q
}

func once(field *string, value string) {
	if *field != "" {
		*field = twice
		return
	}
	if *field = plain(value); *field == "" {
		*field = empty
	}
}

// plain takes escapes off. What has broken ones stays as it is, and is none of ours.
func plain(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	if p, err := url.QueryUnescape(s); err == nil {
		return p
	}
	return s
}

// appsOwn is raw without the protocol's own parameters.
func appsOwn(raw string) string {
	var b strings.Builder
	for pair := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		switch plain(name) {
		case "EIO", "transport", "sid", "t", "b64", "j":
			continue
		}
		if pair == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pair)
	}
	return b.String()
}

package engineio

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sidecar/access"
	"sidecar/proxy"
	"sidecar/session"
)

// cookieName is the cookie that repeats the sid.
const cookieName = "io"

// welcome opens a session. The backend is asked first: its refusal is the client's
// answer, before any 101.
func (h *Handler) welcome(w http.ResponseWriter, r *http.Request, q query, c access.Client) {
	_, upgrades := r.Header["Upgrade"]
	switch {
	case r.Method != http.MethodGet:
		h.refuse(w, r, errMethod)
		return
	case upgrades != (q.transport == "websocket") || r.ContentLength != 0:
		h.refuse(w, r, errRequest)
		return
	case q.revision != "4":
		h.refuse(w, r, errRevision)
		return
	case upgrades && !proxy.Upgradable(w, r):
		return
	}
	e, header, err := h.found(r, c, !upgrades)
	switch {
	case err != nil:
		h.refuse(w, r, err)
	case upgrades:
		e.greetSocket(w, r, q, header)
	default:
		e.greet(w, r, c, header)
	}
}

// found opens a session, which is counted until it ends. header is that of the
// backend's yes.
func (h *Handler) found(r *http.Request, c access.Client, fresh bool) (e *engine, header http.Header, err error) {
	release, err := h.Desk.Guard.Admit(c)
	if err != nil {
		return nil, nil, err
	}
	if h.Sessions.Full() {
		release()
		return nil, nil, session.ErrFull
	}
	sid := session.NewID(h.Sessions.Owner)
	link, err := h.dial(r, c, sid)
	if err != nil {
		release()
		return nil, nil, err
	}
	header = link.Header
	if e, err = h.open(sid, h.identify(r), link, release); err != nil {
		link.Drop()
		release()
		return nil, nil, err
	}
	link.Start(e.session)
	if err := e.begin(fresh); err != nil {
		e.end(vanished) // has the link closed, and released
		return nil, nil, err
	}
	return e, header, nil
}

// dial asks the backend in the client's name.
func (h *Handler) dial(r *http.Request, c access.Client, sid string) (*proxy.Link, error) {
	offers := offered(r)
	if len(offers) == 0 {
		offers = h.Subprotocols
	}
	if h.Settings.Cookie {
		r = withoutCookie(r)
	}
	return h.Dialer.Dial(r.Context(), proxy.Ask{
		Request: r, Client: c, Session: session.Public(sid), Subprotocols: offers,
		Target: &url.URL{Path: h.Target, RawQuery: appsOwn(r.URL.RawQuery)},
	})
}

// withoutCookie is r without the cookie of ours: a session's secret, perhaps of one
// that lives in another window.
func withoutCookie(r *http.Request) *http.Request {
	if len(access.Cookie(r.Header, cookieName)) == 0 {
		return r
	}
	r = r.Clone(r.Context())
	var kept []string
	for _, line := range r.Header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
			if name != cookieName && name != "" {
				kept = append(kept, strings.TrimSpace(part))
			}
		}
	}
	r.Header.Del("Cookie")
	if len(kept) > 0 {
		r.Header.Set("Cookie", strings.Join(kept, "; "))
	}
	return r
}

// greet answers a handshake by polling.
func (e *engine) greet(w http.ResponseWriter, r *http.Request, c access.Client, backend http.Header) {
	h := e.handler
	for _, cookie := range backend["Set-Cookie"] {
		w.Header().Add("Set-Cookie", cookie)
	}
	if h.Settings.Cookie {
		http.SetCookie(w, &http.Cookie{
			Name: cookieName, Value: e.sid, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.Scheme == "https",
		})
	}
	if !h.Desk.Write(w, r, payload(e.hello(`"websocket"`))) {
		e.end(vanished)
	}
}

// greetSocket answers a handshake by WebSocket, and has the session go on there.
func (e *engine) greetSocket(w http.ResponseWriter, r *http.Request, q query, backend http.Header) {
	subprotocol := firstOffered(r)
	if name := backend.Get("Sec-Websocket-Protocol"); subprotocol != "" && name != "" {
		subprotocol = name // of the client's: nothing else was offered
	}
	header := chosen(subprotocol)
	if cookies := backend["Set-Cookie"]; len(cookies) > 0 {
		header["Set-Cookie"] = cookies
	}
	c, err := e.handler.Carriers.Accept(w, r, header)
	if err != nil {
		e.end(vanished)
		return
	}
	s := &socket{engine: e, carrier: c, base64: q.base64, hello: e.hello("")}
	e.mu.Lock()
	if e.over {
		why := e.ending.client
		e.mu.Unlock()
		turnAway(c, why)
		return
	}
	e.socket = s
	e.mu.Unlock()
	c.Start(s)
	s.wake()
}

// hello is the open packet.
func (e *engine) hello(upgrades string) []byte {
	s := &e.handler.Settings
	b := append(make([]byte, 0, 160), byte(open))
	b = append(b, `{"sid":"`...)
	b = append(b, e.sid...)
	b = append(b, `","upgrades":[`...)
	b = append(b, upgrades...)
	b = append(b, `],"pingInterval":`...)
	b = strconv.AppendInt(b, milliseconds(s.PingInterval), 10)
	b = append(b, `,"pingTimeout":`...)
	b = strconv.AppendInt(b, milliseconds(s.PingTimeout), 10)
	b = append(b, `,"maxPayload":`...)
	b = strconv.AppendInt(b, s.MaxPayload, 10)
	return append(b, '}')
}

// milliseconds are at least 1: clients take 0 for no time at all.
func milliseconds(d time.Duration) int64 { return max(1, d.Milliseconds()) }

// offered are the subprotocols that a client offers.
func offered(r *http.Request) (list []string) {
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); isToken(name) {
				list = append(list, name)
			}
		}
	}
	return list
}

func firstOffered(r *http.Request) string {
	if list := offered(r); len(list) > 0 {
		return list[0]
	}
	return ""
}

// isToken is RFC 9110 §5.6.2: what an answer may repeat without harm.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

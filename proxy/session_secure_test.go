package proxy

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecar/session"
)

// secureClient connects one over TLS, and shakes hands.
func (h *hall) secureClient() *peer {
	h.t.Helper()
	ln := listen(h.t)
	front := httptest.NewUnstartedServer(http.HandlerFunc(h.ServeHTTP))
	front.Listener.Close()
	front.Listener = tls.NewListener(Detachable(ln), &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	front.Start()
	h.t.Cleanup(front.Close)
	p := dialPeer(h.t, ln.Addr().String())
	p.secure(tls.Client(p.conn.TCPConn, &tls.Config{InsecureSkipVerify: true}))
	p.send([]byte(handshakeRequest("")))
	if got := p.head(); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		h.t.Fatalf("answer to the handshake = %q; want 101", got)
	}
	return p
}

// openSecure makes one session, both of whose hops are over TLS.
func openSecure(t *testing.T, change func(*hall)) (h *hall, front, back *peer) {
	t.Helper()
	d := &stageDoor{t: t, ln: listen(t), secure: true}
	h = newHall(t, d.url(), func(h *hall) {
		h.dialer.Backend.tls = &tls.Config{InsecureSkipVerify: true}
		if change != nil {
			change(h)
		}
	})
	accepted := make(chan *peer, 1)
	go func() { accepted <- d.accept() }()
	front = h.secureClient()
	return h, front, <-accepted
}

func TestSecureClientOfASession(t *testing.T) {
	h, front, back := openSecure(t, nil)
	for _, s := range []string{"hello", strings.Repeat("x", 3*frameRoom+5), ""} {
		front.send(front.frame(0x80|opBinary, s))
		if got := back.message(); got != s {
			t.Errorf("a message of %d bytes came as %d", len(s), len(got))
		}
		back.send(back.frame(0x80|opText, s))
		if got := front.message(); got != s {
			t.Errorf("a message of %d bytes came as %d", len(s), len(got))
		}
	}
	front.send(front.frame(0x80|opClose, "\x0f\xa1bye"))
	back.wantClose(4001)
	back.send(back.frame(0x80|opClose, "\x0f\xa1"))
	front.wantClose(4001)
	h.wantGone(4001)
}

// A session that ends while a write to its backend waits is over soon, and so is
// its client's connection.
func TestEndWhileAWriteWaits(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, func(*hall)) (*hall, *peer, *peer){
		"plain":  func(t *testing.T, c func(*hall)) (*hall, *peer, *peer) { return open(t, "/", c) },
		"secure": openSecure,
	} {
		t.Run(name, func(t *testing.T) {
			h, front, _ := begin(t, func(h *hall) { h.dialer.Limits.WriteTimeout = time.Hour })
			s := <-h.opened
			payload := strings.Repeat("x", 1<<20)
			full := front.frame(0x80|opBinary, payload)
			front.conn.SetWriteDeadline(time.Now().Add(time.Second))
			for n := 0; ; n++ {
				if _, err := front.conn.Write(full); err != nil {
					break
				}
				if n == 256 {
					t.Fatal("256 MiB were taken for a backend that does not read")
				}
			}
			late := time.After(10 * closeGrace)
			s.End(session.Left, session.Close{Code: codeGoingAway})
			for h.live.Len() > 0 {
				select {
				case <-late:
					t.Fatalf("%d connections are left after %v", h.live.Len(), 10*closeGrace)
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
}

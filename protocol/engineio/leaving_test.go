package engineio

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"sidecar/session"
)

// TestClientLeavesInTheHandshake: what was opened for it is given back.
func TestClientLeavesInTheHandshake(t *testing.T) {
	hold, free := make(chan struct{}), make(chan struct{})
	for name, upgrade := range map[string]string{"polling": "", "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			gone := make(chan struct{})
			r.back.answer = func(w http.ResponseWriter, q *http.Request) {
				hold <- struct{}{}
				select {
				case <-q.Context().Done(): // the dial was given up
					close(gone)
				case <-free:
				}
			}
			conn, err := net.Dial("tcp", r.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			transport := map[string]string{"": polls}[upgrade]
			if transport == "" {
				transport = sockets
			}
			fmt.Fprintf(conn, "GET /app/engine.io/?%s HTTP/1.1\r\nHost: x\r\n%s\r\n", transport, upgrade)
			<-hold
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			select {
			case <-gone:
			case <-time.After(patience):
				t.Error("the backend is still asked")
			}
			eventually(t, "counted sessions", 0, r.limiter.Len)
		})
	}
	close(free)
}

// deaf is a connection whose client has gone when it is to be answered.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A fleeting session ends while its client is being answered with a 101.
type fleeting struct {
	http.ResponseWriter
	all *session.Sessions
}

func (f fleeting) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (f fleeting) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	for _, s := range f.all.All() {
		s.End(session.Drained, session.Close{Code: codeGoingAway})
	}
	return http.NewResponseController(f.ResponseWriter).Hijack()
}

func TestSessionEndsInTheHandshake(t *testing.T) {
	r := newRig(t, func(r *rig) {
		r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.h.ServeHTTP(fleeting{w, &r.all}, q) })
	})
	r.client().mustDial(sockets).wantClose(codeGoingAway)
	r.polling().upgrading().wantClose(codeGoingAway)
}

func TestAnswerToTheHandshakeIsLost(t *testing.T) {
	r := newRig(t)
	q := httptest.NewRequest("GET", "/app/engine.io/?"+polls, nil)
	q.RemoteAddr = netip.MustParseAddrPort("127.0.0.1:1").String()
	r.h.ServeHTTP(deaf{httptest.NewRecorder()}, q)
	r.back.next().wantClose(codeGoingAway)
	r.wantSessions(0)
	q = httptest.NewRequest("GET", "/app/engine.io/?"+sockets, nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		q.Header.Set(name, value)
	}
	r.h.ServeHTTP(httptest.NewRecorder(), q) // which cannot be hijacked
	r.back.next().wantClose(codeGoingAway)
	r.wantSessions(0)
}

package resumable

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

// A mortal connection throws everything away once it is dead, and nobody is told: as where
// a machine slept, or a router forgot.
type mortal struct {
	net.Conn
	dead *atomic.Bool
}

func (m mortal) Read(p []byte) (int, error) {
	for {
		n, err := m.Conn.Read(p)
		if err != nil || !m.dead.Load() {
			return n, err
		}
	}
}

func (m mortal) Write(p []byte) (int, error) {
	if m.dead.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

// mortals dials for a rig. kill is the end of all connections that are open.
type mortals struct {
	r   *rig
	mu  sync.Mutex
	all []*atomic.Bool
}

func (m *mortals) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := m.r.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, new(atomic.Bool))
	return mortal{c, m.all[len(m.all)-1]}, nil
}

func (m *mortals) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, dead := range m.all {
		dead.Store(true)
	}
}

// newTLSRig is a rig whose server takes TLS, and HTTP/2 with it.
func newTLSRig(t *testing.T, cert tls.Certificate) *rig {
	r := &rig{t: t, f: newFake(t), ln: make(chan net.Conn), closed: make(chan struct{})}
	r.server = &http.Server{Handler: r.f, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go r.server.ServeTLS(r, "", "")
	t.Cleanup(func() {
		r.cut()
		r.server.Close()
	})
	return r
}

// Connections that died in silence are not used again: the stream is back by a new one,
// and nobody thinks that streams are held back.
func TestConnectionsThatDiedAreLeft(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	cert, roots := server.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(server.Certificate())
	server.Close()
	for _, two := range []bool{false, true} {
		for _, kind := range []Transport{Stream, Poll} {
			for _, check := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s over HTTP/2 %v, asked %v", kind, two, check), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r, url := newRig(t, nil), "ws://example.com/"
						if two {
							r, url = newTLSRig(t, cert), "wss://example.com/"
						}
						d := mortals{r: r}
						o := &Options{DialContext: d.dial, TLS: &tls.Config{RootCAs: roots}, Memory: &Memory{}}
						if kind == Poll {
							o.Transports = []Transport{Poll}
						} else {
							o.Transports = []Transport{Stream, Poll}
						}
						c, err := Dial(t.Context(), url, o)
						if err != nil {
							t.Fatal(err)
						}
						defer c.CloseNow()
						r.echo(c, "hello")
						time.Sleep(7 * time.Second)
						d.kill()
						start, most := time.Now(), 42*time.Second
						if check {
							c.CheckNetwork()
							most = 4 * time.Second
						}
						r.echo(c, "back")
						if took := time.Since(start); took > most {
							t.Errorf("back after %v; want at most %v", took, most)
						}
						if c.Transport() != kind {
							t.Errorf("transport %q; want %q", c.Transport(), kind)
						}
						if _, mute := o.Memory.known("example.com", time.Now()); mute {
							t.Error("streams are thought held back")
						}
					})
				})
			}
		}
	}
}

// A stream that is asked for a sign of life may be over before the answer is late: whatever
// is in use by then was not asked.
func TestCheckOfAStreamThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.welcome.Rotate = 8000
		r.f.set(wire.WebSocket, refused)
		o := r.options(WebSocket, Stream)
		var changes times
		o.OnTransport = func(now Transport, why error) {
			if changes.add(); now == None && len(changes.list()) > 3 {
				t.Errorf("the WebSocket was lost: %v", why)
			}
		}
		c := r.open(o)
		r.echo(c, "hello")
		time.Sleep(7900 * time.Millisecond)
		r.f.set(wire.WebSocket, nil)
		r.f.set(wire.Stream, hanging)
		c.CheckNetwork()
		time.Sleep(1900 * time.Millisecond)
		if c.Transport() != WebSocket {
			t.Fatalf("transport %q; want websocket", c.Transport())
		}
		before := len(r.f.said())
		time.Sleep(10 * time.Second)
		if c.Transport() != WebSocket || len(r.f.said()) != before {
			t.Errorf("transport %q, %d carriers more; want the same WebSocket", c.Transport(), len(r.f.said())-before)
		}
	})
}

// leaving says GOAWAY behind each WELCOME, and cuts.
func (f *fake) leaving(within uint64, welcomed *times) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
		c, err := up.Upgrade(w, q, nil)
		if err != nil {
			return true
		}
		defer c.Close()
		_, p, err := c.ReadMessage()
		if err != nil {
			return true
		}
		hello, _, _ := wire.Split(p)
		_, _, answer := f.attach(hello.Body)
		welcomed.add()
		c.WriteMessage(websocket.BinaryMessage, answer)
		c.WriteMessage(websocket.BinaryMessage, wire.AppendPing(wire.AppendGoaway(nil, within), nil))
		for pong := false; err == nil && !pong; { // till then it may not have come
			_, p, err = c.ReadMessage()
			pong = bytes.Contains(p, wire.AppendPong(nil, nil))
		}
		return true
	}
}

// A server that stops, and says so to each who comes back, is not asked all the time.
func TestCutBehindGoaway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.open(r.options(WebSocket))
		r.echo(c, "hello")
		time.Sleep(2 * time.Second)
		var welcomed times
		r.f.set(wire.WebSocket, r.f.leaving(2, &welcomed))
		r.cut()
		time.Sleep(10 * time.Second)
		if n := len(welcomed.list()); n < 5 || n > 40 {
			t.Errorf("%d carriers in 10 s; want 5 to 40", n)
		}
		r.f.set(wire.WebSocket, nil)
		r.echo(c, "all is well")
	})
}

// Who dials into nothing for long leaves no dialing behind.
func TestDialingThatHangsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.f.welcome.TTL = 3_600_000
		var hangs atomic.Bool
		var now, most, all atomic.Int64
		o := r.options(Stream, Poll)
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !hangs.Load() {
				return r.dial(ctx, network, addr)
			}
			all.Add(1)
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c := r.open(o)
		r.echo(c, "hello")
		hangs.Store(true)
		r.cut()
		time.Sleep(30 * time.Minute)
		if all.Load() < 20 || most.Load() > maxAlive {
			t.Errorf("%d dialed, %d at once; want 20 at least, and at most %d at once", all.Load(), most.Load(), maxAlive)
		}
		hangs.Store(false)
		r.echo(c, "back")
	})
}

// startedOnly lets the first bytes of an answer through, and no more.
func startedOnly(w http.ResponseWriter, q *http.Request) bool {
	io.Copy(io.Discard, q.Body)
	w.Header().Set("Content-Type", wire.ContentType)
	w.Write(wire.AppendPad(nil, 2048))
	w.(http.Flusher).Flush()
	<-q.Context().Done()
	return true
}

// A stream that begins and never brings its WELCOME keeps nobody from a poll.
func TestOpeningBesideAStreamThatOnlyBegins(t *testing.T) {
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request) bool{"refused": refused, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.f.set(wire.WebSocket, hook)
				r.f.set(wire.Stream, startedOnly)
				start := time.Now()
				c := r.open(r.options())
				if took := time.Since(start); took < besideStream || took > 7*time.Second || c.Transport() != Poll {
					t.Errorf("open after %v by %q; want 5s to 7s by poll", took, c.Transport())
				}
				r.echo(c, "hello")
				time.Sleep(2 * time.Minute) // probes hang too
				r.echo(c, "still there")
				c.mu.Lock()
				defer c.mu.Unlock()
				if len(c.carriers) > 2 {
					t.Errorf("%d carriers live; want the poll and a probe", len(c.carriers))
				}
			})
		})
	}
}

// What a program says of connections holds for those of requests too.
func TestSettingsOfConnections(t *testing.T) {
	f := newFake(t)
	server := httptest.NewUnstartedServer(f)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, kind := range []Transport{WebSocket, Stream, Poll} {
		var asked, dialed, checked, major atomic.Int64
		if kind != WebSocket {
			f.set(wire.Kind(kind), func(_ http.ResponseWriter, q *http.Request) bool { major.Store(int64(q.ProtoMajor)); return false })
		}
		c, err := Dial(t.Context(), server.URL, &Options{
			Transports: []Transport{kind},
			Proxy:      func(*http.Request) (*url.URL, error) { asked.Add(1); return nil, nil },
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed.Add(1)
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			},
			TLS: &tls.Config{RootCAs: roots, VerifyConnection: func(tls.ConnectionState) error { checked.Add(1); return nil }},
		})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		for range 3 { // new connections are as the first
			(&rig{t: t}).echo(c, "hello")
			c.mu.Lock()
			c.wg.Go(c.renew())
			c.mu.Unlock()
		}
		c.CloseNow()
		if asked.Load() == 0 || dialed.Load() == 0 || checked.Load() == 0 || checked.Load() > dialed.Load() {
			t.Errorf("%s: proxy asked %d times, dialed %d, checked %d", kind, asked.Load(), dialed.Load(), checked.Load())
		}
		if kind != WebSocket && (major.Load() != 2 || dialed.Load() < 2) {
			t.Errorf("%s: by HTTP/%d, dialed %d times; want HTTP/2, and new connections", kind, major.Load(), dialed.Load())
		}
	}
}

// A check has its 2 s: a radio that wakes needs more than a stream has to begin elsewhere.
func TestCheckOfAStreamThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		o := r.options(Stream, Poll)
		o.OnTransport = func(now Transport, why error) {
			if now != Stream {
				t.Errorf("transport %q: %v", now, why)
			}
		}
		c := r.open(o)
		r.echo(c, "hello")
		r.f.set(wire.Stream, func(_ http.ResponseWriter, q *http.Request) bool {
			time.Sleep(askedTwice - 100*time.Millisecond)
			return false
		})
		before := len(r.f.said())
		c.CheckNetwork()
		time.Sleep(5 * time.Second)
		if n := len(r.f.said()) - before; n != 1 {
			t.Errorf("%d carriers more; want the one that asked", n)
		}
		r.echo(c, "all is well")
	})
}

package resumable

import (
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

// exampleCertificate is one of example.com, and who is to be trusted for it.
func exampleCertificate() (tls.Certificate, *x509.CertPool) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server.TLS.Certificates[0], roots
}

// Connections that died in silence are not used again: the stream is back by a new one,
// and nobody thinks that streams are held back.
func TestConnectionsThatDiedAreLeft(t *testing.T) {
	cert, roots := exampleCertificate()
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

// What a program says of connections holds for those of requests too.
func TestSettingsOfConnections(t *testing.T) {
	f, server, roots := newSecureFake(t)
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

// However often connections die and are cut, those that were left do not pile up.
func TestConnectionsDoNotPileUp(t *testing.T) {
	cert, roots := exampleCertificate()
	for _, kind := range []Transport{Stream, Poll} {
		synctest.Test(t, func(t *testing.T) {
			r := newTLSRig(t, cert)
			d := mortals{r: r}
			c, err := Dial(t.Context(), "wss://example.com/", &Options{DialContext: d.dial, TLS: &tls.Config{RootCAs: roots}, Transports: []Transport{kind}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			for range 10 {
				d.kill()
				c.CheckNetwork()
				r.echo(c, "behind silence")
				time.Sleep(2 * time.Second)
				r.cut()
				r.echo(c, "behind a cut")
				time.Sleep(2 * time.Second)
			}
			time.Sleep(3 * time.Minute)
			own := &c.client.Transport.(*pool).own
			own.mu.Lock()
			defer own.mu.Unlock()
			if n := len(own.all); n < 1 || n > 2 || len(d.all) < 20 {
				t.Errorf("%s: %d connections are kept of %d; want 1 or 2 of 20 at least", kind, n, len(d.all))
			}
		})
	}
}

// Sends may go by another connection than their stream, and that one may have died.
func TestSendsLeaveADeadConnection(t *testing.T) {
	cert, roots := exampleCertificate()
	synctest.Test(t, func(t *testing.T) {
		r := newTLSRig(t, cert)
		d := mortals{r: r}
		c, err := Dial(t.Context(), "wss://example.com/", &Options{DialContext: d.dial, TLS: &tls.Config{RootCAs: roots}, Transports: []Transport{Stream}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.mu.Lock()
		c.wg.Go(c.renew())
		c.mu.Unlock()
		r.echo(c, "by a connection of its own")
		d.mu.Lock()
		n := len(d.all)
		d.all[n-1].Store(true)
		d.mu.Unlock()
		start := time.Now()
		r.echo(c, "by the next")
		if took := time.Since(start); n != 2 || took > 12*time.Second {
			t.Errorf("of %d connections one died: the echo took %v; want 2, and 11s and a little", n, took)
		}
	})
}

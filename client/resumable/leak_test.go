package resumable

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// Connections of requests are closed when the client is, those over HTTP/2 too, which
// outlive their requests.
func TestNoConnectionIsLeft(t *testing.T) {
	for _, kind := range []Transport{Stream, Poll} {
		for _, two := range []bool{false, true} {
			server := httptest.NewUnstartedServer(newFake(t))
			server.EnableHTTP2 = two
			opened, closed := make(chan bool, 100), make(chan bool, 100)
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				switch s {
				case http.StateNew:
					opened <- true
				case http.StateClosed:
					closed <- true
				}
			}
			server.StartTLS()
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			c, err := Dial(t.Context(), server.URL, &Options{TLS: &tls.Config{RootCAs: roots}, Transports: []Transport{kind}})
			if err != nil {
				t.Fatalf("Dial: %v", err)
			}
			(&rig{t: t}).echo(c, "hello")
			c.CloseNow()
			if len(opened) == 0 {
				t.Error("no connection was opened")
			}
			for late := time.After(10 * time.Second); len(opened) > 0; <-opened {
				select {
				case <-closed:
				case <-late:
					t.Errorf("%s, HTTP/2 %v: a connection is open 10 s behind the end", kind, two)
					server.CloseClientConnections()
				}
			}
			server.Close()
		}
	}
}

// Who asks again and again begins one carrier, and none behind the end.
func TestCheckNetworkManyTimes(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		synctest.Wait()
		r.blackhole(true)
		for range 20 {
			c.CheckNetwork()
		}
		c.mu.Lock()
		if n := len(c.carriers); n > 2 {
			t.Errorf("%d carriers; want 2 at most", n)
		}
		c.endLocked(ErrClosed, 1001) // CloseNow has begun
		born := c.born
		c.mu.Unlock()
		c.CheckNetwork()
		c.mu.Lock()
		if c.born != born {
			t.Error("a carrier was begun behind the end")
		}
		c.mu.Unlock()
		r.blackhole(false)
		c.CloseNow()
	})
}

package resumable

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
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

// Connections are closed with the client, dialing ends with it, and what that brings all the
// same is closed.
func TestConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own connections
		var ends []net.Conn // the servers'
		slow, stubborn := "slow", "stubborn"
		dial := own.opens(func(ctx context.Context, _, addr string) (net.Conn, error) {
			if addr != "" {
				<-ctx.Done()
			}
			if addr == slow {
				return nil, ctx.Err()
			}
			here, there := net.Pipe()
			ends = append(ends, there)
			return here, nil
		})
		errs := make(chan error, 2)
		for _, addr := range []string{slow, stubborn} {
			go func() {
				_, err := dial(t.Context(), "tcp", addr)
				errs <- err
			}()
		}
		var mine []net.Conn
		for range 2 {
			c, err := dial(t.Context(), "tcp", "")
			if err != nil {
				t.Fatal(err)
			}
			mine = append(mine, c)
		}
		mine[0].Close()
		synctest.Wait()
		if n := len(own.all); n != 3 {
			t.Errorf("%d are kept; want the one that is open, and two that are dialed", n)
		}
		own.close()
		for range 2 {
			if err := <-errs; err == nil {
				t.Error("dialing goes on behind the end")
			}
		}
		if _, err := dial(t.Context(), "tcp", ""); err == nil {
			t.Error("a connection is dialed behind the end")
		}
		for i, there := range ends {
			there.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := there.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("connection %d: %v; want its end", i, err)
			}
		}
		if len(ends) != 3 || len(own.all) != 0 {
			t.Errorf("%d connections came, %d are kept; want 3 and none", len(ends), len(own.all))
		}
	})
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

package certs

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// An asker counts the questions and answers with a status.
type asker struct {
	asked  atomic.Int32
	status atomic.Int32
	name   atomic.Value
}

func (a *asker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	a.name.Store(r.URL.RawQuery)
	w.WriteHeader(int(a.status.Load()))
}

func TestGate(t *testing.T) {
	a := &asker{}
	s := httptest.NewServer(a)
	defer s.Close()
	var told counted
	g := newGate(t.Context(), OnDemand{Allow: []string{"*.a.example", "b.example"}, Ask: s.URL + "/?k=1"}, told.failed)
	defer g.close()
	for _, c := range []struct {
		name    string
		status  int
		allowed bool
		asked   int32 // by then
	}{
		{"c.example", 200, false, 0}, {"x.y.a.example", 200, false, 0}, {"a.example", 200, false, 0},
		{"x.a.example", 200, true, 1}, {"x.a.example", 403, true, 1}, {"b.example", 403, false, 2},
		{"b.example", 200, false, 2}, {"r.a.example", 302, false, 3}, {"f.a.example", 500, false, 4},
	} {
		a.status.Store(int32(c.status))
		err := g.judge(context.Background(), c.name)
		if (err == nil) != c.allowed || a.asked.Load() != c.asked {
			t.Errorf("%s with %d: %v after %d questions; want allowed %v after %d", c.name, c.status, err, a.asked.Load(), c.allowed, c.asked)
		}
		if c.status == 500 && errors.Is(err, errNotAllowed) {
			t.Error("a broken asker counts as a no")
		}
	}
	if got := a.name.Load(); got != "domain=f.a.example&k=1" {
		t.Errorf("asked with %q", got)
	}
	if !told.has("ask") {
		t.Error("a broken asker is not counted")
	}
}

func TestAGateWhoseAskerIsGoneRefuses(t *testing.T) {
	s := httptest.NewServer(&asker{})
	s.Close()
	g := newGate(t.Context(), OnDemand{Ask: s.URL}, func(string) {})
	if err := g.judge(context.Background(), "a.example"); err == nil {
		t.Error("it allows")
	}
}

// An asker whose connection dies without a word, as behind a balancer that forgets it,
// is asked by another. HTTP/2 would go on with the dead one: there the end of a question
// is not the connection's.
func TestAnAskerWhoseConnectionDies(t *testing.T) {
	a := &asker{}
	a.status.Store(http.StatusOK)
	s := httptest.NewUnstartedServer(a)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	var dead []*cut
	g := newGate(t.Context(), OnDemand{Ask: s.URL}, func(string) {})
	defer g.close()
	g.client.Timeout = 10 * time.Second
	by := g.client.Transport.(*http.Transport)
	by.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	dial := by.DialContext
	by.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		dead = append(dead, &cut{Conn: c})
		return dead[len(dead)-1], nil
	}
	if err := g.judge(t.Context(), "a.example"); err != nil {
		t.Fatal(err)
	}
	dead[0].over.Store(true)
	g.client.Timeout = 100 * time.Millisecond
	if err := g.judge(t.Context(), "b.example"); err == nil {
		t.Fatal("a dead connection has an answer")
	}
	g.client.Timeout = 10 * time.Second
	if err := g.judge(t.Context(), "c.example"); err != nil {
		t.Errorf("the next question: %v; want an answer, by another connection", err)
	}
}

// A cut is a connection on which nothing that is written arrives any more once it is over.
type cut struct {
	net.Conn
	over atomic.Bool
}

func (c *cut) Write(b []byte) (int, error) {
	if c.over.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

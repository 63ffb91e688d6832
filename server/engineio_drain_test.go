package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// holds waits until so many requests are under way, parked or not.
func (s *running) holds(n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d polls", n), func() bool {
		parked := 0
		if s.lot != nil {
			parked = s.lot.Len()
		}
		return int(s.inForce.Load().refs.Load())-1+parked == n
	})
}

// park has a poll of p held, beside so many others: what the requests before it left
// behind must be gone, or it would be taken for the poll.
func (s *running) park(p *engineClient, others int) <-chan string {
	s.t.Helper()
	s.holds(others)
	ended := p.park()
	s.holds(others + 1)
	return ended
}

func TestDrainEndsEngineIOSessions(t *testing.T) {
	for _, way := range []string{"loops", "goroutines"} {
		t.Run(way, func(t *testing.T) {
			a := newApp(t)
			s := start(t, Environment{Goroutines: way == "goroutines"}, withDrain(parse(t, speaking+"upstream: %s", a.ws()), 0, 2*time.Second))
			var held []<-chan string
			for i := range 5 {
				p := s.engine("/engine.io/")
				p.open("")
				p.echoes("x")
				held = append(held, s.park(p, i))
			}
			c := s.mustSocket("/engine.io/?EIO=4&transport=websocket")
			if _, _, err := c.ReadMessage(); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			s.stop()
			for _, ended := range held {
				if got := within(t, ended); got != "200 1" {
					t.Errorf("a poll that was held: %q; want it answered with a close", got)
				}
			}
			if code, _ := closeOf(t, c); code != 1001 {
				t.Errorf("the WebSocket was closed with %d; want 1001", code)
			}
			_ = c.Close()
			if err := s.wait(patience); err != nil {
				t.Errorf("Run: %v; want nil\n%s", err, s.log)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("took %v; want less than drain.for", took)
			}
			if got, want := strings.Count(s.log.String(), `"msg":"session ended"`), 6; got != want {
				t.Errorf("%d lines in the log; want %d before the end:\n%s", got, want, s.log)
			}
			if n := s.sessions.Len(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

// While load balancers learn, clients of sessions come back over the connections that
// they have; no other server knows them.
func TestEngineIOGoesOnWhileReadinessIs503(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, withDrain(parse(t, speaking+"upstream: %s", a.ws()), time.Minute, time.Second))
	p := s.engine("/engine.io/")
	p.open("")
	s.stop()
	eventually(t, "the drain", s.draining.Load)
	res, body := p.ask("POST", "", "4hello")
	if res.Close || body != "ok" {
		t.Errorf("POST: %q, close %v; want ok and the connection kept", body, res.Close)
	}
	if got := p.get(); got != "4hello" {
		t.Errorf("GET: %q; want the echo", got)
	}
	plain, err := p.http.Get("http://" + s.addr() + "/page")
	if err != nil {
		t.Fatal(err)
	}
	if _ = plain.Body.Close(); !plain.Close {
		t.Error("a plain request keeps its connection; want it to find another server")
	}
	s.Close()
}

// A client whose poll is answered while the listeners are closed cannot poll again:
// it is told the end with the answer, and not by a refused connection.
func TestAnAnswerInTheDrainIsTheLast(t *testing.T) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conns := make(chan *websocket.Conn, 2)
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			conns <- c
		}
	}))
	t.Cleanup(func() { b.CloseClientConnections(); b.Close() })
	for _, way := range []string{"loops", "goroutines"} {
		t.Run(way, func(t *testing.T) {
			s := start(t, Environment{Goroutines: way == "goroutines"},
				withDrain(parse(t, speaking+"upstream: %s", "ws"+strings.TrimPrefix(b.URL, "http")), 0, 20*time.Second))
			var polls [2]<-chan string
			var backends [2]*websocket.Conn
			for i := range polls {
				p := s.engine("/engine.io/")
				p.open("")
				backends[i] = <-conns
				defer backends[i].Close()
				polls[i] = s.park(p, i)
			}
			s.stop()
			first := make(chan int, 1)
			go func() { code, _ := closeOf(t, backends[0]); first <- code }()
			if got := within(t, polls[0]); got != "200 1" {
				t.Errorf("the first, whose turn is at once: %q", got)
			}
			if code := <-first; code != 1001 {
				t.Errorf("its backend heard %d; want 1001", code)
			}
			begin := time.Now() // the other's turn is after 8 s
			if err := backends[1].WriteMessage(websocket.TextMessage, []byte("late")); err != nil {
				t.Fatal(err)
			}
			if got := within(t, polls[1]); got != "200 4late\x1e1" {
				t.Errorf("the other: %q; want the message and the close", got)
			}
			if code, reason := closeOf(t, backends[1]); code != 1001 || reason != "server going away" {
				t.Errorf("its backend heard %d %q; want 1001", code, reason)
			}
			if err := s.wait(patience); err != nil || time.Since(begin) > 6*time.Second {
				t.Errorf("Run: %v after %v; want nil at once", err, time.Since(begin))
			}
		})
	}
}

// Where TLS ends here each poll keeps a goroutine, and a stream over HTTP/2 its place.
func TestDrainEndsPollsOverTLS(t *testing.T) {
	a := newApp(t)
	s := startTLSIn(t, Environment{}, withDrain(parse(t, speaking+"upstream: %s", a.ws()), 0, 2*time.Second))
	var held []<-chan string
	for i, h2 := range []bool{false, true, true} {
		p := &engineClient{t: t, base: s.url("/engine.io/"), http: s.client(h2)}
		p.open("")
		p.echoes("x")
		held = append(held, s.park(p, i))
	}
	s.stop()
	for i, ended := range held {
		if got := within(t, ended); got != "200 1" {
			t.Errorf("poll %d: %q; want it answered with a close", i, got)
		}
	}
	if err := s.wait(patience); err != nil {
		t.Errorf("Run: %v; want nil\n%s", err, s.log)
	}
	if n := s.waiting.inside.Load(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

// A second signal waits for nobody.
func TestCloseEndsPollsAtOnce(t *testing.T) {
	for _, way := range []string{"loops", "goroutines"} {
		t.Run(way, func(t *testing.T) {
			a := newApp(t)
			s := start(t, Environment{Goroutines: way == "goroutines"}, withDrain(parse(t, speaking+"upstream: %s", a.ws()), time.Minute, time.Minute))
			p := s.engine("/engine.io/")
			p.open("")
			held := s.park(p, 0)
			begin := time.Now()
			s.stop()
			s.Close()
			within(t, held)
			if err := s.wait(patience); !errors.Is(err, ErrDrain) || time.Since(begin) > 3*time.Second {
				t.Errorf("Run: %v after %v; want ErrDrain at once", err, time.Since(begin))
			}
			if n := s.sessions.Len(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

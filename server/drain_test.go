package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/config"
)

func drainTest(t *testing.T, delay, length time.Duration) (*app, *running) {
	t.Helper()
	a := newApp(t)
	return a, start(t, Environment{}, withDrain(parse(t, "upstream: %s", a.ws()), delay, length))
}

func withDrain(c config.Config, delay, length time.Duration) config.Config {
	c.Drain = config.Drain{Delay: delay, For: length}
	return c
}

// closeOf is the code and reason that a client is closed with.
func closeOf(t *testing.T, c *websocket.Conn) (int, string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, _, err := c.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		t.Errorf("ended with %v; want a close", err)
		return 0, ""
	}
	return closed.Code, closed.Text
}

func TestDrainClosesEverybodyAndEndsWell(t *testing.T) {
	_, s := drainTest(t, 0, 2*time.Second)
	var clients []*websocket.Conn
	for range 20 {
		c := s.mustSocket("/ws")
		echoes(t, c, "x")
		clients = append(clients, c)
	}
	begin := time.Now()
	s.stop()
	for _, c := range clients {
		go func() { // a client that reads on answers the close by itself
			if code, reason := closeOf(t, c); code != 1001 || reason != "server going away" {
				t.Errorf("closed with %d %q; want 1001", code, reason)
			}
			_ = c.Close()
		}()
	}
	if err := s.wait(patience); err != nil {
		t.Errorf("Run: %v; want nil", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v; want less than drain.for", took)
	}
}

func TestDrainOfNobodyIsQuick(t *testing.T) {
	_, s := drainTest(t, 0, 30*time.Second)
	idle := dial(t, s.addr()) // a keep-alive connection that idles
	fmt.Fprint(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	answerOf(t, idle)
	s.stop()
	if err := s.wait(3 * time.Second); err != nil {
		t.Errorf("Run: %v; want nil", err)
	}
	closedIn(t, idle)
}

// A request that was read before its connection was cut may reach its handler
// when all else has ended; it must not wait there for ever.
func TestALateRequestIsAnswered(t *testing.T) {
	_, s := drainTest(t, 0, time.Second)
	s.stop()
	if err := s.wait(3 * time.Second); err != nil {
		t.Errorf("Run: %v; want nil", err)
	}
	answered := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/late", nil))
		answered <- w.Code
	}()
	select {
	case code := <-answered:
		if code != http.StatusOK {
			t.Errorf("got %d; want 200", code)
		}
	case <-time.After(patience):
		t.Fatal("it waits")
	}
}

func TestDelayTakesClientsWhileReadinessSaysNo(t *testing.T) {
	_, s := drainTest(t, time.Hour, 2*time.Second)
	kept := dial(t, s.addr())
	fmt.Fprint(kept, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, _ := answerOf(t, kept); res.Close {
		t.Error("before the drain an answer said Connection: close")
	}
	if status, body := s.opsGet("/readyz"); status != 200 {
		t.Errorf("before: readyz %d %q; want 200", status, body)
	}
	s.stop()
	eventually(t, "readiness saying no", func() bool {
		status, body := s.opsGet("/readyz")
		return status == 503 && strings.Contains(body, "stopping")
	})
	if status, _ := s.opsGet("/livez"); status != 200 {
		t.Errorf("livez %d; want 200", status)
	}
	if _, text := s.opsGet("/metrics"); !strings.Contains(text, "\nsidecar_draining 1\n") {
		t.Error("no sidecar_draining 1")
	}
	fmt.Fprint(kept, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, body := answerOf(t, kept); !res.Close || body != "GET /" {
		t.Errorf("during: closes %v, %q; want an answer and Connection: close", res.Close, body)
	}
	c := s.mustSocket("/ws") // a new handshake, and it lives on
	echoes(t, c, "still here")
	s.Close()
	_ = s.wait(2 * time.Second)
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	a, s := drainTest(t, 0, 30*time.Second)
	c := dial(t, s.addr())
	fmt.Fprint(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-a.entered
	s.stop()
	eventually(t, "closing the listener", func() bool {
		c, err := net.Dial("tcp", s.addr())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	a.let()
	if res, _ := answerOf(t, c); res.StatusCode != 200 || !res.Close {
		t.Errorf("the request under way: %d, closes %v; want 200, true", res.StatusCode, res.Close)
	}
	if err := s.wait(patience); err != nil {
		t.Errorf("Run: %v; want nil", err)
	}
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	const length = 500 * time.Millisecond
	for _, c := range []struct {
		name  string
		stick func(*testing.T, *app, *running)
	}{
		{"a request", func(t *testing.T, a *app, s *running) {
			fmt.Fprint(dial(t, s.addr()), "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
			<-a.entered
		}},
		{"a body that never ends", func(t *testing.T, a *app, s *running) {
			fmt.Fprint(dial(t, s.addr()), "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1")
			<-a.entered
		}},
		{"a client that does not answer", func(t *testing.T, _ *app, s *running) {
			echoes(t, s.mustSocket("/ws"), "x")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, s := drainTest(t, 0, length)
			c.stick(t, a, s)
			begin := time.Now()
			s.stop()
			if err := s.wait(patience); !errors.Is(err, ErrDrain) || !strings.Contains(err.Error(), "drain.for") {
				t.Errorf("Run: %v; want ErrDrain, naming the setting", err)
			}
			if took := time.Since(begin); took < length || took > length+time.Second {
				t.Errorf("took %v; want %v to 1s more", took, length)
			}
			eventually(t, "giving all slots back", func() bool { return s.slots.open() == 0 })
		})
	}
}

func TestDrainForNothingCutsAtOnce(t *testing.T) {
	_, s := drainTest(t, 0, 0)
	echoes(t, s.mustSocket("/ws"), "x")
	begin := time.Now()
	s.stop()
	if err := s.wait(patience); !errors.Is(err, ErrDrain) {
		t.Errorf("Run: %v; want ErrDrain", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v; want less than 1s", took)
	}
}

func TestCloseEndsADrain(t *testing.T) {
	for name, delay := range map[string]time.Duration{"in delay": time.Hour, "in for": 0} {
		t.Run(name, func(t *testing.T) {
			a, s := drainTest(t, delay, time.Hour)
			fmt.Fprint(dial(t, s.addr()), "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
			<-a.entered
			echoes(t, s.mustSocket("/ws"), "x")
			s.stop()
			eventually(t, "the drain", s.draining.Load)
			begin := time.Now()
			s.Close()
			if err := s.wait(patience); !errors.Is(err, ErrDrain) {
				t.Errorf("Run: %v; want ErrDrain", err)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("took %v; want less than 1s", took)
			}
		})
	}
}

func TestAFailedListenerEndsRun(t *testing.T) {
	_, s := drainTest(t, 0, time.Second)
	eventually(t, "the start", s.started.Load)
	_ = s.listeners[0].Close()
	if err := s.wait(patience); err == nil || !strings.HasPrefix(err.Error(), "serving: ") {
		t.Errorf("Run: %v; want why serving failed", err)
	}
}

func TestNoHandshakeIsForgottenByTheDrain(t *testing.T) {
	gate := make(chan struct{})
	asked := make(chan struct{})
	slow := newApp(t)
	slow.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-gate
		echo(w, r)
	})
	s := start(t, Environment{}, withDrain(parse(t, "upstream: %s", slow.ws()), 0, 10*time.Second))
	got := make(chan int, 1)
	go func() {
		c, _, err := s.socket("/ws", nil)
		if err != nil {
			t.Error(err)
			got <- 0
			return
		}
		code, _ := closeOf(t, c)
		got <- code
	}()
	<-asked
	s.stop()
	eventually(t, "the drain", s.draining.Load)
	close(gate)
	if code := <-got; code != 1001 {
		t.Errorf("a handshake under way ended with %d; want 1001", code)
	}
	if err := s.wait(patience); err != nil {
		t.Errorf("Run: %v; want nil", err)
	}
}

package resumable_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/access"
	"sidecar/client/resumable"
	"sidecar/heartbeat"
	"sidecar/polling"
	"sidecar/protocol/resume"
	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
	"sidecar/session"
	"sidecar/test/faultlink"
)

const patience = 30 * time.Second

// A real is the server's own handler, before a backend that sends back what it gets,
// behind a link that fails when it is told to.
type real struct {
	t       *testing.T
	handler *resume.Handler
	front   func(w http.ResponseWriter, r *http.Request) (done bool) // is asked first
	link    *faultlink.Link
	all     session.Sessions
	live    proxy.Live
	got     chan int // how many messages each connection to the backend had, at its end
	code    chan int // and the code of its close
}

func newReal(t *testing.T) *real {
	s := &real{t: t, got: make(chan int, 100), code: make(chan int, 100)}
	back := httptest.NewServer(http.HandlerFunc(s.echo))
	t.Cleanup(back.Close)
	b, err := proxy.NewBackend(proxy.Upstream{URL: "ws" + strings.TrimPrefix(back.URL, "http")}, "/")
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	settings := session.Default()
	s.handler = &resume.Handler{
		Route: "app", Settings: resume.Default(), Heartbeat: heartbeat.Default(), Message: 16 << 20,
		Sessions: &s.all, Session: &settings,
		Desk:     &polling.Desk{Guard: &access.Guard{Limiters: []*access.Limiter{access.NewLimiter(access.Limits{})}}},
		Dialer:   &proxy.Dialer{Route: "app", Backend: b, Live: &s.live, Log: quiet},
		Carriers: &proxy.Carriers{Live: &s.live, Limits: proxy.Limits{Message: wire.MaxBody}}, Log: quiet,
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	if s.link, err = faultlink.Listen(server.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.link.Close(); s.end(); server.Close() })
	return s
}

func (s *real) serve(w http.ResponseWriter, r *http.Request) {
	if s.front != nil && s.front(w, r) {
		return
	}
	if !resume.Handles(r) {
		http.Error(w, "not of this protocol", http.StatusNotFound)
		return
	}
	s.handler.ServeHTTP(w, r)
}

// end ends all sessions.
func (s *real) end() {
	for _, one := range s.all.All() {
		one.End(session.Drained, session.Close{Code: 1001})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.live.Drain(ctx, 0, 1001, "over")
}

func (s *real) echo(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{"chosen"}, CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for n := 0; ; n++ {
		kind, m, err := c.ReadMessage()
		if end := (*websocket.CloseError)(nil); errors.As(err, &end) {
			s.code <- end.Code
		}
		if err != nil || c.WriteMessage(kind, m) != nil {
			s.got <- n
			return
		}
	}
}

func (s *real) dial(o *resumable.Options) *resumable.Conn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := resumable.Dial(ctx, "ws://"+s.link.Addr()+"/chat?room=1", o)
	if err != nil {
		s.t.Fatalf("Dial: %v", err)
	}
	s.t.Cleanup(func() { c.CloseNow() })
	return c
}

// numbered writes n messages and wants each back once and in its place.
func (s *real) numbered(c *resumable.Conn, n int, stops []int, disturb func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		for i := range n {
			if err := c.Write(ctx, resumable.Binary, numbered(i)); err != nil {
				s.t.Errorf("writing message %d: %v", i, err)
				return
			}
		}
	})
	for i := range n {
		if slices.Contains(stops, i) {
			disturb()
		}
		_, p, err := c.Read(ctx)
		if err != nil {
			cancel()
			s.t.Errorf("reading message %d: %v", i, err)
			return
		}
		if want := string(numbered(i)); string(p) != want {
			cancel()
			s.t.Errorf("message %d: %d bytes %.12q; want %d bytes %.12q", i, len(p), p, len(want), want)
			return
		}
	}
}

func numbered(i int) []byte {
	size := []int{0, 10, 900, 5_000, 70_000}[i%5]
	return append(fmt.Appendf(nil, "%08d ", i), make([]byte, size)...)
}

// closeWell closes, and wants the backend to have had n messages and that code.
func (s *real) closeWell(c *resumable.Conn, n int) {
	s.t.Helper()
	if err := c.Close(4001, "done"); err != nil {
		s.t.Errorf("Close: %v", err)
	}
	if got := <-s.got; got != n {
		s.t.Errorf("the backend got %d messages; want %d", got, n)
	}
	if code := <-s.code; code != 4001 {
		s.t.Errorf("the backend was closed with %d; want 4001", code)
	}
	var end *resumable.CloseError
	if _, _, err := c.Read(context.Background()); !errors.As(err, &end) || end.Code != 4001 {
		s.t.Errorf("Read after Close: %v", err)
	}
}

var kinds = []resumable.Transport{resumable.WebSocket, resumable.Stream, resumable.Poll}

func TestRealEcho(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := newReal(t)
			c := s.dial(&resumable.Options{Transports: []resumable.Transport{kind}, Subprotocols: []string{"other", "chosen"}})
			if c.Transport() != kind || c.Subprotocol() != "chosen" {
				t.Errorf("transport %q, subprotocol %q; want %q and chosen", c.Transport(), c.Subprotocol(), kind)
			}
			s.numbered(c, 60, nil, nil)
			s.closeWell(c, 60)
		})
	}
}

// Connections end in each way, under traffic in both directions.
func TestRealCuts(t *testing.T) {
	ways := map[string]func(l *faultlink.Link){
		"reset":         func(l *faultlink.Link) { l.End(faultlink.Both, faultlink.Reset) },
		"fin":           func(l *faultlink.Link) { l.End(faultlink.Both, faultlink.FIN) },
		"client knows":  func(l *faultlink.Link) { l.End(faultlink.Down, faultlink.Reset) },
		"in mid-answer": func(l *faultlink.Link) { l.Set(faultlink.Down, faultlink.Fault{Cut: faultlink.Reset, After: 150_001}) },
		"in mid-body":   func(l *faultlink.Link) { l.Set(faultlink.Up, faultlink.Fault{Cut: faultlink.Reset, After: 150_001}) },
	}
	for _, kind := range kinds {
		for name, cut := range ways {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				s := newReal(t)
				c := s.dial(&resumable.Options{Transports: []resumable.Transport{kind}, MinBackoff: 10 * time.Millisecond})
				s.numbered(c, 200, []int{5, 60, 61, 130}, func() {
					s.link.Set(faultlink.Both, faultlink.Fault{})
					cut(s.link)
				})
				s.link.Set(faultlink.Both, faultlink.Fault{})
				s.closeWell(c, 200)
			})
		}
	}
}

package engineio

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/access"
	"sidecar/polling"
	"sidecar/proxy"
	"sidecar/session"
)

// A bubble is a handler whose time is the test's, with one session that a test plays
// the backend of.
type bubble struct {
	t    *testing.T
	h    *Handler
	e    *engine
	back *patient
	pipe pipes
	http *http.Client
	all  session.Sessions
	live proxy.Live
	born time.Time
	ends time.Duration // when the session ended, since it was born; 0: it lives
	why  session.Reason
	mu   sync.Mutex
}

// A patient backend takes a message when it is told to.
type patient struct {
	quiet
	mu    sync.Mutex
	write func()
}

func (p *patient) Write(m session.Message) error {
	p.mu.Lock()
	write := p.write
	p.mu.Unlock()
	if write != nil {
		write()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quiet.Write(m)
}

// pipes is a listener whose connections never leave the bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p <- there
	return here, nil
}

// inBubble runs a test on a session that began by polling, with the default times.
func inBubble(t *testing.T, test func(t *testing.T, b *bubble), changes ...func(*Settings)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, back: &patient{}, pipe: make(pipes, 10)}
		settings := session.Default()
		b.h = &Handler{
			Settings: Default(), Sessions: &b.all, Session: &settings, Desk: &polling.Desk{Guard: &access.Guard{}},
			Dialer: &proxy.Dialer{Live: &b.live}, Carriers: &proxy.Carriers{Live: &b.live}, Log: slog.New(slog.DiscardHandler), Observer: b,
		}
		for _, change := range changes {
			change(&b.h.Settings)
		}
		server := &http.Server{Handler: b.h}
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(b.pipe) }()
		transport := &http.Transport{DialContext: b.pipe.dial}
		b.http = &http.Client{Transport: transport}
		var err error
		if b.e, err = b.h.open(session.NewID(""), b.h.identify(&http.Request{}), b.back, func() {}); err != nil {
			t.Fatal(err)
		}
		if err := b.e.begin(true); err != nil {
			t.Fatal(err)
		}
		b.born = time.Now()
		defer func() {
			b.e.session.End(session.Left, session.Close{Code: codeNormal})
			close(b.pipe)
			<-served
			synctest.Wait()
			transport.CloseIdleConnections()
			server.Close()
		}()
		test(t, b)
	})
}

func (b *bubble) Opened() {}
func (b *bubble) Ended(why session.Reason, age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends, b.why = age, why
}
func (b *bubble) Attached(time.Duration) {}
func (b *bubble) Passed(bool, int)       {}
func (b *bubble) Skipped(int)            {}
func (b *bubble) Paused()                {}

// at waits until the session is so old.
func (b *bubble) at(age time.Duration) { time.Sleep(age - time.Since(b.born)); synctest.Wait() }

func (b *bubble) age() time.Duration { return time.Since(b.born) }

func (b *bubble) do(method, body string) string {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, "http://x/engine.io/?"+polls+"&sid="+b.e.sid, content)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatalf("%s at %v: %v", method, b.age(), err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatalf("%s at %v: %v", method, b.age(), err)
	}
	return string(got)
}

func (b *bubble) post(body string) {
	b.t.Helper()
	if got := b.do("POST", body); got != "ok" {
		b.t.Fatalf("POST of %q at %v got %q", body, b.age(), got)
	}
}

// wantPoll polls, to be answered so when the session is so old.
func (b *bubble) wantPoll(want string, age time.Duration) {
	b.t.Helper()
	if got := b.do("GET", ""); got != want || b.age() != age {
		b.t.Fatalf("poll got %q at %v; want %q at %v", got, b.age(), want, age)
	}
}

// wantEnd waits for the session to end, for that reason and at that age.
func (b *bubble) wantEnd(why session.Reason, age time.Duration) {
	b.t.Helper()
	b.at(age + 10*time.Minute)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != why || b.ends != age {
		b.t.Fatalf("the session ended at %v for %q; want %v and %q", b.ends, b.why, age, why)
	}
}

// upgrade changes over to a WebSocket.
func (b *bubble) upgrade(says ...string) *peer {
	b.t.Helper()
	d := websocket.Dialer{NetDialContext: b.pipe.dial}
	ws, _, err := d.Dial("ws://x/engine.io/?"+sockets+"&sid="+b.e.sid, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ws.Close() })
	p := &peer{b.t, ws, time.Hour}
	for _, m := range says {
		if p.say(m); m == probe {
			p.want(answered)
		}
	}
	return p
}

func TestPingByPolling(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.at(30 * time.Second)
		b.post("3")
		b.wantPoll("2", 55*time.Second) // counted from the pong
		b.post("3")
		b.at(90 * time.Second)
		b.wantPoll("2", 90*time.Second) // it is due since 80 s
		b.post("3")
		b.e.session.Deliver(session.Message{Data: []byte("a")})
		b.wantPoll("4a", 90*time.Second)
		b.wantPoll("2", 115*time.Second)
	})
}

func TestPingOnABusyLink(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		for i := range 24 {
			b.e.session.Deliver(session.Message{Data: []byte("down")})
			b.wantPoll("4down", time.Duration(i)*time.Second)
			b.post("4up")
			b.at(time.Duration(i+1) * time.Second)
		}
		b.wantPoll("2", 25*time.Second)
	})
}

func TestPongThatNobodyAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.at(5 * time.Second)
		b.post("3")
		b.at(26 * time.Second)
		b.post("3") // the ping is due, and has not left
		b.wantPoll("2", 26*time.Second)
		b.wantEnd(session.Expired, 45*time.Second)
	})
}

func TestSilentClient(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.wantPoll("1", 45*time.Second)
		b.wantEnd(session.Expired, 45*time.Second)
		if len(b.back.closed) != 1 || b.back.closed[0].Code != codeGoingAway {
			t.Errorf("backend was told %v; want 1001", b.back.closed)
		}
	})
	// The time runs even if no poll is there to carry the ping.
	inBubble(t, func(t *testing.T, b *bubble) {
		b.post("4a")
		b.wantEnd(session.Expired, 45*time.Second)
	})
}

func TestOtherPacketsGiveMoreTimeOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.post("4a")
		b.at(50 * time.Second)
		b.post("4a")
		b.wantEnd(session.Expired, 65*time.Second)
	})
	// What came before the ping does not count.
	inBubble(t, func(t *testing.T, b *bubble) {
		b.post("4a")
		b.at(24 * time.Second)
		b.post("4a")
		b.wantPoll("2", 25*time.Second)
		b.wantEnd(session.Expired, 45*time.Second)
	})
}

func TestFirstRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) { b.wantEnd(session.Expired, 10*time.Second) })
	inBubble(t, func(t *testing.T, b *bubble) { b.wantEnd(session.Expired, 500*time.Millisecond) },
		func(s *Settings) { s.PingInterval, s.PingTimeout = 300*time.Millisecond, 200*time.Millisecond })
	inBubble(t, func(t *testing.T, b *bubble) { b.wantEnd(session.Expired, 10*time.Second) },
		func(s *Settings) { s.PingInterval = 5 * time.Second })
	for _, first := range []func(b *bubble){
		func(b *bubble) { b.post("4a") },
		func(b *bubble) { go b.do("GET", "") },
		func(b *bubble) { b.upgrade("4what") },
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.at(10*time.Second - 1)
			first(b)
			b.wantEnd(session.Expired, 45*time.Second)
		})
	}
}

func TestPingOnASocket(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.upgrade(probe, "5")
		p.want("2")
		if got := b.age(); got != 25*time.Second {
			t.Errorf("the ping came at %v", got)
		}
		p.say("3")
		p.want("2")
		if got := b.age(); got != 50*time.Second {
			t.Errorf("the second ping came at %v", got)
		}
		p.say("4a")
		p.wantClose(codeGoingAway)
		b.wantEnd(session.Expired, 90*time.Second)
	})
}

// TestPingIsOutstandingInTheChange: the time to answer it does not stop.
func TestPingIsOutstandingInTheChange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.wantPoll("2", 25*time.Second)
		b.upgrade("5")
		b.wantEnd(session.Expired, 45*time.Second)
	})
	inBubble(t, func(t *testing.T, b *bubble) { // in an answer that has not left, it goes by the WebSocket
		b.post("4a")
		b.at(26 * time.Second)
		p := b.upgrade(probe, "5")
		p.want("2")
		p.say("3")
		p.want("2")
		if got := b.age(); got != 51*time.Second {
			t.Errorf("the second ping came at %v", got)
		}
	})
}

// TestSlowBackendIsNotTheClientsSilence: its pong is behind what the backend has yet
// to take.
func TestSlowBackendIsNotTheClientsSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.back.write = func() { time.Sleep(99 * time.Second) }
		b.wantPoll("2", 25*time.Second)
		b.post("4slow")
		if got := b.age(); got != 124*time.Second {
			t.Fatalf("the POST was answered at %v", got)
		}
		b.post("3")
		b.wantPoll("2", 149*time.Second)
	})
}

func TestUpgradeTimes(t *testing.T) {
	for _, says := range [][]string{nil, {probe}} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.at(time.Second)
			p := b.upgrade(says...)
			p.wantClose(codeNoStatus)
			if got := b.age(); got != 11*time.Second {
				t.Errorf("the WebSocket was closed at %v; want after 10 s", got)
			}
			b.wantPoll("2", 25*time.Second)
			b.post("3")
			b.upgrade(probe, "5").want("2")
		})
	}
	inBubble(t, func(t *testing.T, b *bubble) { // the first noop, and the others
		b.upgrade(probe)
		b.wantPoll("6", 20*time.Millisecond)
		b.wantPoll("6", 120*time.Millisecond)
		b.at(200 * time.Millisecond)
		b.wantPoll("6", 220*time.Millisecond)
		b.e.session.Deliver(session.Message{Data: []byte("a")})
		b.wantPoll("4a", 220*time.Millisecond)
	})
}

func TestAnswersLinger(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.post("4a\x1e4b")
		b.e.session.Deliver(session.Message{Data: []byte("A")})
		b.wantPoll("4A", 5*time.Millisecond)
		b.at(time.Second)
		b.post("4a\x1e4b\x1e4c")
		go func() {
			for _, m := range []string{"A", "B", "C"} {
				time.Sleep(time.Millisecond)
				b.e.session.Deliver(session.Message{Data: []byte(m)})
			}
		}()
		b.wantPoll("4A\x1e4B\x1e4C", time.Second+3*time.Millisecond)
		b.post("4a")
		b.e.session.Deliver(session.Message{Data: []byte("A")})
		b.wantPoll("4A", time.Second+3*time.Millisecond)
	})
	inBubble(t, func(t *testing.T, b *bubble) { // what lingers when the client changes over goes there
		b.post("4a\x1e4b")
		go b.do("GET", "")
		synctest.Wait()
		b.e.session.Deliver(session.Message{Data: []byte("A")})
		b.e.mu.Lock()
		lingers := len(b.e.got)
		b.e.mu.Unlock()
		if lingers != 1 {
			t.Fatalf("%d messages linger; want 1", lingers)
		}
		p := b.upgrade("5")
		p.want("4A")
		b.e.session.Deliver(session.Message{Data: []byte("B")})
		p.want("4B")
		if got := b.age(); got != 0 {
			t.Errorf("the messages came at %v", got)
		}
	})
}

func TestBackendsCloseWaitsForThePoll(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.e.session.Deliver(session.Message{Data: []byte("last")})
		b.e.session.DeliverClose(session.Close{Code: 4001})
		b.at(9 * time.Second)
		b.post("4nobody")
		b.at(44 * time.Second)
		b.wantPoll("2\x1e4last\x1e1", 44*time.Second)
		b.wantEnd(session.Closed, 44*time.Second)
	})
}

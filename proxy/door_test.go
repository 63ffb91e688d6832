package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/access"
)

// A recorder is a backend that keeps every byte it gets, by connection, and
// answers each as a test says.
type recorder struct {
	addr   string
	mu     sync.Mutex
	visits []*visit
}

// A visit is one connection to a recorder. What is read of r is kept.
type visit struct {
	net.Conn
	r    *bufio.Reader
	head string // the request's, up to the empty line
	got  syncBuffer
	over chan struct{} // closed once the connection has been read to its end
}

// record answers on ln with answer (nil: never), after the request's head, and
// then reads to the end.
func record(ln net.Listener, answer func(v *visit)) *recorder {
	rec := &recorder{addr: ln.Addr().String()}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			v := &visit{Conn: c, over: make(chan struct{})}
			v.r = bufio.NewReader(io.TeeReader(c, &v.got))
			rec.mu.Lock()
			rec.visits = append(rec.visits, v)
			rec.mu.Unlock()
			go v.serve(answer)
		}
	}()
	return rec
}

func (v *visit) serve(answer func(v *visit)) {
	defer close(v.over)
	defer v.Close()
	v.SetDeadline(time.Now().Add(20 * time.Second))
	v.head = (&peer{r: v.r}).head()
	if answer != nil {
		answer(v)
	}
	io.Copy(io.Discard, v.r)
}

func (v *visit) say(s string) { io.WriteString(v.Conn, s) }

// says answers every connection alike.
func says(s string) func(v *visit) { return func(v *visit) { v.say(s) } }

// list are the connections so far.
func (r *recorder) list() []*visit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*visit(nil), r.visits...)
}

// all waits until n connections have come and ended, and returns what each got.
func (r *recorder) all(t *testing.T, n int) []string {
	t.Helper()
	eventually(t, "connections to the backend", func() bool { return len(r.list()) >= n })
	var got []string
	for _, v := range r.list() {
		select {
		case <-v.over:
		case <-time.After(20 * time.Second):
			t.Fatal("a connection to the backend was left open")
		}
		got = append(got, v.got.String())
	}
	if len(got) != n {
		t.Errorf("backend saw %d connections; want %d: %q", len(got), n, got)
	}
	return got
}

// eventually waits for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// A door is a Raw and an HTTP behind a real server.
type door struct {
	t       *testing.T
	addr    string
	raw     *Raw
	plain   *HTTP // nil: everything goes to raw
	limiter *access.Limiter
	seen    *witness
	log     *syncBuffer
}

// newDoor opens a route with the prefix. When the test ends, nothing of it may
// be left.
func newDoor(t *testing.T, u Upstream, prefix string) *door {
	t.Helper()
	b, err := NewBackend(u, prefix)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, seen: &witness{}, log: &syncBuffer{}}
	log := slog.New(slog.NewJSONHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d.limiter = access.NewLimiter(access.Limits{})
	guard := &access.Guard{Limiters: []*access.Limiter{d.limiter}}
	d.raw = &Raw{Route: prefix, Backend: b, Guard: guard, Live: &Live{}, Observer: d.seen, Log: log}
	d.plain = &HTTP{Route: prefix, Backend: b, Log: log}
	front := httptest.NewUnstartedServer(d)
	front.Config.MaxHeaderBytes = 32 << 10
	front.Config.DisableGeneralOptionsHandler = true
	front.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	front.Start()
	d.addr = front.Listener.Addr().String()
	t.Cleanup(func() {
		front.Close()
		b.Close()
		eventually(t, "all relays ended", func() bool { return d.raw.Live.Len() == 0 })
		eventually(t, "all slots released", func() bool { return d.limiter.Len() == 0 })
		if s := d.log.String(); strings.Contains(s, "panic") {
			t.Errorf("log = %s; want no panic", s)
		}
	})
	return d
}

// doorTo is a door to a recorder of its own.
func doorTo(t *testing.T, answer func(v *visit)) (*door, *recorder) {
	t.Helper()
	rec := record(listen(t), answer)
	return newDoor(t, Upstream{URL: "ws://" + rec.addr}, "/"), rec
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, up := r.Header["Upgrade"]; up || d.plain == nil {
		d.raw.ServeHTTP(w, r)
		return
	}
	d.plain.ServeHTTP(w, r)
}

// ask sends bytes over a connection of its own and reads the head of the answer.
func (d *door) ask(request string) (*peer, *http.Response) {
	d.t.Helper()
	p := dialPeer(d.t, d.addr)
	p.send([]byte(request))
	return p, p.answer()
}

func (p *peer) answer() *http.Response {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatalf("reading an answer: %v", err)
	}
	return res
}

func bodyOf(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("reading the body: %v after %q", err, b)
	}
	return string(b)
}

func wantStatus(t *testing.T, res *http.Response, status int) {
	t.Helper()
	if res.StatusCode != status {
		t.Errorf("status = %d; want %d", res.StatusCode, status)
	}
}

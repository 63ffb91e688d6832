package polling

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/loop"
)

const patience = 10 * time.Second

// A way is how a client comes, and how its poll is held.
type way struct {
	name       string
	after      time.Duration // when it is parked; 0: never
	tls, http2 bool
}

func (w way) parks() bool { return w.after != 0 }

// everyWay is all that must behave alike.
var everyWay = []way{
	{name: "plain"},
	{name: "parked", after: -1},
	{name: "parked later", after: time.Millisecond},
	{name: "TLS", tls: true},
	{name: "HTTP/2", tls: true, http2: true},
}

// inEveryWay runs a test once for each way for which it is meant.
func inEveryWay(t *testing.T, meant func(way) bool, test func(t *testing.T, r *rig)) {
	for _, w := range everyWay {
		if meant(w) {
			t.Run(w.name, func(t *testing.T) { test(t, newRig(t, w)) })
		}
	}
}

func every(way) bool   { return true }
func clear(w way) bool { return !w.tls }

// A rig is a server whose /poll is held and handed to the test, as the feed of its
// /stream is, whose /post says what it read, and whose /now answers at once.
type rig struct {
	*httptest.Server
	t     testing.TB
	way   way
	desk  *Desk
	polls chan *Poll
	feeds chan *feed
	gone  atomic.Int32
	left  chan struct{} // told of each gone
	now   func() Answer
	back  backs
}

func newRig(t testing.TB, w way) *rig {
	t.Helper()
	r := &rig{
		t: t, way: w, polls: make(chan *Poll, 100), feeds: make(chan *feed, 100), left: make(chan struct{}, 100_000),
		desk: &Desk{Guard: &access.Guard{}},
		now:  func() Answer { return Answer{Type: "text/plain", Body: []byte("now")} },
	}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.Config.ReadHeaderTimeout = patience
	r.EnableHTTP2 = w.http2
	r.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetWriteBuffer(64 << 10) // or the kernel takes megabytes for a client that reads nothing
		}
		return ctx
	}
	if w.tls {
		r.StartTLS()
	} else {
		r.Start()
	}
	t.Cleanup(r.Close)
	if w.parks() {
		r.park()
	}
	return r
}

// park gives r a lot where there can be one.
func (r *rig) park() {
	if !loop.Native {
		r.t.Skip("nothing can be parked here")
	}
	loops, err := loop.StartGroup()
	if err != nil {
		r.t.Fatal(err)
	}
	r.back = make(backs, 1000)
	r.desk.Lot = &Lot{Loops: loops, GiveBack: func(c net.Conn) { r.back <- c }, After: r.way.after}
	ended := make(chan struct{})
	go func() { defer close(ended); r.Config.Serve(r.back) }()
	r.t.Cleanup(func() {
		r.closeLot()
		loops.Stop()
		close(r.back)
		<-ended
	})
}

// closeLot cuts whoever is left.
func (r *rig) closeLot() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.desk.Lot.Close(ctx)
	if n := r.desk.Lot.Len(); n != 0 {
		r.t.Errorf("%d are left in a lot that was closed", n)
	}
}

// backs is the listener of connections that come back.
type backs chan net.Conn

func (b backs) Accept() (net.Conn, error) {
	if c, ok := <-b; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (b backs) Close() error   { return nil }
func (b backs) Addr() net.Addr { return &net.TCPAddr{} }

func (r *rig) serve(w http.ResponseWriter, q *http.Request) {
	if _, err := r.desk.Check(w, q); err != nil {
		err.(*access.Refusal).ServeHTTP(w, q)
		return
	}
	if q.Method == http.MethodOptions {
		r.desk.Preflight(w, q)
		return
	}
	switch q.URL.Path {
	case "/post":
		b, err := r.desk.Read(w, q, 4096)
		if err != nil {
			err.(*access.Refusal).ServeHTTP(w, q)
			return
		}
		r.desk.Write(w, q, Answer{Type: "text/plain", Body: fmt.Appendf(nil, "%d bytes", len(b))})
	case "/stream":
		r.stream(w, q)
	case "/now":
		r.desk.Write(w, q, r.now())
	default:
		if q.URL.Path != "/unread" {
			b, err := r.desk.Read(w, q, 100)
			if err != nil {
				r.t.Errorf("Read: %v", err)
			}
			w.Header().Set("X-Read", string(b))
		}
		w.Header().Set("X-Path", q.URL.Path)
		p, err := r.desk.Hold(w, q, func() { r.gone.Add(1); r.left <- struct{}{} })
		if err != nil {
			r.t.Errorf("Hold: %v", err)
			return
		}
		r.polls <- p
		p.Wait()
	}
}

// poll is the next one that is held.
func (r *rig) poll() *Poll {
	r.t.Helper()
	select {
	case p := <-r.polls:
		return p
	case <-time.After(patience):
		r.t.Fatal("no poll is held")
		return nil
	}
}

// settled waits until n connections are in the lot at this stage; where nothing is
// parked there is nothing to wait for.
func (r *rig) settled(at stage, n int) {
	r.t.Helper()
	if !r.way.parks() {
		return
	}
	within(r.t, "parking", func() bool {
		found := 0
		r.desk.Lot.each(func(s *seat) {
			if s.stage == at {
				found++
			}
		})
		return found == n
	})
}

func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// leaves waits until a poll's client is known to have left.
func (r *rig) leaves(most time.Duration) {
	r.t.Helper()
	select {
	case <-r.left:
	case <-time.After(most):
		r.t.Fatalf("the client's leaving is unknown after %v", most)
	}
}

// A reply is what a client got.
type reply struct {
	*http.Response
	body string
	err  error
}

// get asks by the way's own client, and tells when the answer is there.
func (r *rig) get(path string, header ...string) <-chan reply {
	return r.ask("GET", path, nil, header...)
}

func (r *rig) ask(method, path string, body io.Reader, header ...string) <-chan reply {
	r.t.Helper()
	q, err := http.NewRequest(method, r.URL+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Add(header[i], header[i+1])
	}
	got := make(chan reply, 1)
	go func() { got <- r.do(q) }()
	return got
}

func (r *rig) do(q *http.Request) reply {
	res, err := r.Client().Do(q)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res, string(b), err}
}

// await is the answer, which must come.
func await(t *testing.T, c <-chan reply) reply {
	t.Helper()
	select {
	case got := <-c:
		if got.err != nil {
			t.Fatal(got.err)
		}
		return got
	case <-time.After(patience):
		t.Fatal("no answer")
		return reply{}
	}
}

// A raw client says HTTP/1 byte by byte.
type raw struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (r *rig) dial() *raw {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &raw{c, r.t, bufio.NewReader(c)}
}

func (c *raw) send(text string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, text, args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) get(path string) { c.t.Helper(); c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path) }

// answer reads one answer.
func (c *raw) answer() reply {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal("reading an answer:", err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal("reading a body:", err)
	}
	return reply{res, string(b), nil}
}

// ended waits for the end of the connection, before which nothing may come.
func (c *raw) ended() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || isTimeout(err) {
		c.t.Errorf("got %q, %v; want the end", b, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// A once counts what must happen one time.
type once struct {
	mu sync.Mutex
	ok []bool
	at chan bool
}

func newOnce() *once { return &once{at: make(chan bool, 10)} }

func (o *once) done(ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ok = append(o.ok, ok)
	o.at <- ok
}

func (o *once) want(t *testing.T, want bool) {
	t.Helper()
	select {
	case got := <-o.at:
		if got != want {
			t.Errorf("done(%v); want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatal("done was not called")
	}
}

func text(s string) Answer { return Answer{Type: "text/plain; charset=UTF-8", Body: []byte(s)} }

package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/loop"
)

// A torrent is many relayed connections at once, full of frames both ways, which
// come and go and suffer harm. What is set up by funcs can be TLS, too.
type torrent struct {
	seed     uint64
	goal     int64         // frames that must have arrived before the drain
	frames   int           // a script's, at most
	width    int           // connections at once
	patience time.Duration // how long a connection may take
	// dial connects a client. listen is where the front and the backend listen.
	dial  func(addr net.Addr) (net.Conn, error)
	reset func(net.Conn)                  // ends a connection as a crash would
	spoil func(net.Conn) net.Conn         // stands between a backend and its socket; nil: nothing
	front func(net.Listener) net.Listener // what the server listens with; nil: the plain listener

	raw     *Raw
	addr    net.Addr // of the front
	server  *http.Server
	backend net.Listener
	reached chan struct{} // closed once the goal is
	lives   atomic.Uint64
	arrived atomic.Int64
	bytes   atomic.Int64
	stalled atomic.Int64
	last    atomic.Int64 // lives that only the drain ends
	told    atomic.Int64 // ends of those that heard of it

	broken atomic.Bool // enough is wrong
	mu     sync.Mutex  // guards what follows
	called map[string]chan net.Conn
	errs   []error
	harmed [harms]int
}

// chance is the seed of a test; E2E_SEED replays a run.
func chance(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%s: E2E_SEED=%d\n", t.Name(), seed) // not by t.Log, which a timeout would swallow
	return seed
}

func plainReset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func plainDial(a net.Addr) (net.Conn, error) { return net.Dial(a.Network(), a.String()) }

// listenOn listens on 127.0.0.1 or, for unix, in a directory of the test's.
func listenOn(t *testing.T, network string) net.Listener {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// begin starts the front and the backend, each on its network.
func (f *torrent) begin(t *testing.T, clients, backends string, on *loop.Group) {
	t.Helper()
	f.backend = listenOn(t, backends)
	up := Upstream{URL: "ws://" + f.backend.Addr().String()}
	if backends == "unix" {
		up = Upstream{Socket: f.backend.Addr().String()}
	}
	b, err := NewBackend(up, "/")
	if err != nil {
		t.Fatal(err)
	}
	f.raw = &Raw{
		Route: "/", Backend: b, Guard: &access.Guard{}, Live: &Live{}, Loops: on, Log: slog.New(slog.DiscardHandler),
		Limits: Limits{Message: 1 << 40, WriteTimeout: 3 * time.Second},
	}
	front := listenOn(t, clients)
	f.addr = front.Addr()
	if f.front != nil {
		front = f.front(front)
	}
	f.reached, f.called = make(chan struct{}), map[string]chan net.Conn{}
	f.server = &http.Server{Handler: f.raw, ReadHeaderTimeout: time.Minute}
	go f.server.Serve(front)
	go f.accept()
}

// accept hands each connection of the backend to the life that asked for it.
func (f *torrent) accept() {
	for {
		c, err := f.backend.Accept()
		if err != nil {
			return
		}
		go func() {
			head, _, err := headAndRest(c) // the client sends nothing more before the answer
			_, own, _ := strings.Cut(head, "X-Own: ")
			own, _, _ = strings.Cut(own, "\r\n")
			f.mu.Lock()
			to := f.called[own]
			f.mu.Unlock()
			if err != nil || to == nil {
				c.Close()
				return
			}
			to <- c
		}()
	}
}

// open connects both ends of a life.
func (f *torrent) open(l *life) error {
	own := fmt.Sprint(l.number)
	accepted := make(chan net.Conn, 1)
	f.mu.Lock()
	f.called[own] = accepted
	f.harmed[l.harm]++
	f.mu.Unlock()
	front, err := f.dial(f.addr)
	if err != nil {
		return err
	}
	front.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(front, handshakeRequest("X-Own: "+own+"\r\n")); err != nil {
		return err
	}
	var back net.Conn
	select {
	case back = <-accepted:
	case <-time.After(time.Minute):
		return fmt.Errorf("the backend was not reached")
	}
	if _, err := io.WriteString(back, handshakeAnswer("")); err != nil {
		return err
	}
	head, early, err := headAndRest(front)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		return fmt.Errorf("answer %.40q, %v", head, err)
	}
	if f.spoil != nil {
		back = f.spoil(back)
	}
	l.ends[client].conn, l.ends[client].early, l.ends[backend].conn = front, early, back
	return nil
}

// count counts what arrived and was right.
func (f *torrent) count(frames, bytes int) {
	f.bytes.Add(int64(bytes))
	if n := f.arrived.Add(int64(frames)); n >= f.goal && n-int64(frames) < f.goal {
		close(f.reached)
	}
}

// run lives lives until the goal is reached, then drains the last ones.
func (f *torrent) run(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	for range f.width {
		wg.Go(f.work)
	}
	<-f.reached
	f.settle(t)
	for _, r := range f.raw.Live.list() {
		if _, ok := r.(*looped); !ok && !f.broken.Load() {
			t.Errorf("a connection is relayed by %T; want a loop", r)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if cut := f.raw.Live.Drain(ctx, 50*time.Millisecond, codeGoingAway, "enough"); cut > 0 {
		t.Errorf("the drain cut %d", cut)
	}
	wg.Wait()
	f.server.Close()
	f.backend.Close()
	f.raw.Backend.Close()
}

// settle waits until none but the last connections are left. Those before them
// have as long as they may take.
func (f *torrent) settle(t *testing.T) {
	t.Helper()
	late := time.After(f.patience)
	for !f.broken.Load() && (f.last.Load() < int64(f.width) || f.raw.Live.Len() < f.width) {
		select {
		case <-late:
			t.Errorf("after %v %d of %d last connections are there, %d begun", f.patience, f.raw.Live.Len(), f.width, f.last.Load())
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// work lives one life after the other, the last of them until the drain.
func (f *torrent) work() {
	for !f.broken.Load() {
		l := f.plan(f.lives.Add(1))
		last := f.arrived.Load() >= f.goal
		if last {
			f.last.Add(1)
			l.endless()
		}
		if err := l.live(); err != nil {
			f.fail(err)
		}
		if last {
			return
		}
	}
}

// fail keeps what was wrong with a life, ten of those at most, and lets no torrent
// go on that is wrong.
func (f *torrent) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errs = append(f.errs, err); len(f.errs) == 10 {
		f.broken.Store(true)
		f.count(int(f.goal), 0)
	}
}

// descriptors is how many this process has; -1 where that cannot be known.
func descriptors() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(all)
}

//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"time"
)

// patience is how long anything but the measured time may take.
const patience = 60 * time.Second

// handshakes is how many may be under way at once: fewer than any proxy's
// listener queue holds.
const handshakes = 64

// A Rig is the backend and the clients that reach it through a proxy. Nothing
// moves but during its methods' calls, and they must not run together.
type Rig struct {
	l *loop
	b *backend
}

// New makes a rig, whose backend listens. Close ends it.
func New() (*Rig, error) {
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	b, err := newBackend(l)
	if err != nil {
		l.close()
		return nil, err
	}
	return &Rig{l: l, b: b}, nil
}

// Backend is the host:port at which the backend listens.
func (r *Rig) Backend() string { return r.b.addr }

// Close closes the backend and all clients that are left.
func (r *Rig) Close() { r.l.close() }

// A Crowd is the clients of one run, all open.
type Crowd struct {
	r       *Rig
	clients []*client
	done    int             // echoes that were right
	turn    int             // whose is next where the pace is given
	again   bool            // each echo is answered with the next message
	news    []byte          // what is being broadcast
	since   time.Time       // when that began
	delays  []time.Duration // of those who heard it
}

// Open opens n clients at addr, whose messages have size bytes, and waits until
// each has had one echo.
func (r *Rig) Open(addr string, n, size int) (*Crowd, error) {
	return r.open(addr, n, func() *voice { return newVoice(size) })
}

// OpenEngine is Open for clients that speak Engine.IO over WebSocket, in text.
func (r *Rig) OpenEngine(addr string, n, size int) (*Crowd, error) {
	return r.open(addr, n, func() *voice { return newText(size) })
}

// OpenResume is Open for clients of resumable sessions over WebSocket.
func (r *Rig) OpenResume(addr string, n, size int) (*Crowd, error) {
	return r.open(addr, n, func() *voice {
		v := newVoice(size)
		v.talk = newTalk()
		return v
	})
}

func (r *Rig) open(addr string, n int, speak func() *voice) (*Crowd, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("opening clients: %w", err)
	}
	w := &Crowd{r: r}
	err = r.l.within(patience, fmt.Sprintf("opening %d clients", n), func() bool {
		for len(w.clients) < n && len(w.clients)-w.done < handshakes && r.l.err == nil {
			w.enter(to, speak())
		}
		return w.done == n
	})
	if err != nil {
		return nil, err
	}
	w.done = 0
	return w, nil
}

// enter starts one client more.
func (w *Crowd) enter(to netip.AddrPort, v *voice) {
	c := &client{l: w.r.l, voice: v, opened: (*client).say, heard: w.heard}
	if err := c.start(to, len(w.clients)); err != nil {
		w.r.l.fail(err)
	}
	w.clients = append(w.clients, c)
}

// Idle lets d pass; pings are answered.
func (r *Rig) Idle(d time.Duration) error {
	_, err := r.l.runFor(d)
	return err
}

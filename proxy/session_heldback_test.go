package proxy

import (
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/session"
)

// An answered is a backend's connection whose handshake nobody waits for.
type answered struct {
	net.Conn
	yes bool // it was given
}

func (c *answered) Write(b []byte) (int, error) {
	if !c.yes {
		c.yes = true
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// gorillaBackend is a backend as most are: gorilla's, that answers pings by itself.
func gorillaBackend(t *testing.T, far net.Conn) *websocket.Conn {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": testKey,
	} {
		r.Header.Set(name, value)
	}
	c, err := (&websocket.Upgrader{}).Upgrade(gate{httptest.NewRecorder(), &answered{Conn: far}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
		}
	}()
	return c
}

// A heldBack is a session whose backend is gorilla's, with a window that one message fills.
type heldBack struct {
	link   *Link
	s      *session.Session
	r      *session.Reader
	back   *websocket.Conn
	filler string // a message that fills the window
}

func holdBack(t *testing.T) *heldBack {
	t.Helper()
	near, far := pipe()
	l := &Link{live: &Live{}}
	l.hop.init(near, newTerms(backend, beatingPolicy, Limits{}, nil))
	if err := l.hop.adopt(); err != nil {
		t.Fatal(err)
	}
	all, set := session.Sessions{}, session.Default()
	set.Window = 4096
	s, err := all.Open(session.Opening{Settings: &set, Backend: l})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Attach(func() {})
	if err != nil {
		t.Fatal(err)
	}
	l.Start(s)
	return &heldBack{l, s, r, gorillaBackend(t, far), strings.Repeat("x", 4096)}
}

// takes has the client take one message, which must be there, and acknowledge it.
func (h *heldBack) takes(t *testing.T, want string) {
	t.Helper()
	b, err := h.r.Take(nil, 1<<20)
	switch {
	case err != nil || b.Close != nil:
		t.Fatalf("taking: %v, close %v; want a message", err, b.Close)
	case len(b.Messages) != 1 || string(b.Messages[0].Data) != want:
		t.Fatalf("took %d messages; want one of %d bytes", len(b.Messages), len(want))
	}
	if err := h.s.Ack(b.Last()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// says has the backend send a message, which must get to the session.
func (h *heldBack) says(t *testing.T, text string) {
	t.Helper()
	if err := h.back.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatalf("the backend cannot write any more: %v", err)
	}
	synctest.Wait()
}

func (h *heldBack) end() {
	h.s.End(session.Left, session.Close{Code: codeGoingAway})
	time.Sleep(2 * closeGrace)
	h.back.Close()
}

// A ping that was due before the window was full does not go out behind it. gorilla
// would not get its pong written within the second that it gives it, and nothing more
// after that: an error in writing lasts.
func TestHeldBackBackendIsNotPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := holdBack(t)
		defer h.end()
		h.says(t, h.filler)
		hop := &h.link.hop
		hop.mu.Lock()
		hop.ping = true
		hop.stir()
		hop.mu.Unlock()
		time.Sleep(5 * time.Second)
		h.takes(t, h.filler)
		h.says(t, "next")
		h.takes(t, "next")
		time.Sleep(10 * time.Minute) // pinged all the while
		h.says(t, "last")
		h.takes(t, "last")
	})
}

// Time in which a backend was not read is not its silence, were it a moment less than
// an interval: no ping goes out as soon as it is read again, maybe only for a moment.
func TestBackendReadForAMomentIsNotPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := pipe()
		h := &hop{}
		h.init(near, newTerms(backend, beatingPolicy, Limits{}, nil))
		h.pulse = beatingPolicy.Start(time.Now(), 0)
		h.setBusy(true)
		time.Sleep(beatingPolicy.Interval - 1)
		h.setBusy(false)
		time.Sleep(1)
		h.tick()
		pinged := func() bool {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.ping
		}
		if time.Sleep(beatingPolicy.Interval - 2); pinged() {
			t.Error("pinged before it was listened to for an interval")
		}
		if time.Sleep(2); !pinged() {
			t.Error("not pinged after an interval of listening")
		}
		h.cut()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dead = true
	})
}

// What came shows life as well as a pong, and makes a ping needless that waits for the
// writer.
func TestLifeMakesAPingNeedless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := pipe()
		h := &hop{}
		h.init(near, newTerms(backend, beatingPolicy, Limits{}, nil))
		h.ping = true
		if err := h.judge(rawFrame(0x80|opText, "hello", false), time.Now()); err != nil {
			t.Fatal(err)
		}
		if h.ping || h.rings == 0 {
			t.Errorf("ping %v, timer %v; want no ping, and the next one timed", h.ping, h.rings)
		}
		h.cut()
		h.dead = true
	})
}

package resume

import (
	"net/http"
	"sync"
	"testing"

	"sidecar/access"
	"sidecar/protocol/resume/wire"
)

// §5.3: a race of carriers opens one connection to the backend.
func TestRaceOpensOnce(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	ready := make(chan struct{})
	r.back.hold = ready
	ws := c.dial()
	ws.send(c.hello())
	st := c.stream(c.hello())
	frames := make(chan []wire.Frame)
	body := c.hello()
	go func() { frames <- c.ask(wire.Poll, body) }()
	eventually(t, "carriers that wait", 3, func() int { return r.waiting() })
	close(ready)
	first := c.welcomed(ws.frame())
	second := c.welcomed(st.frame())
	third := c.welcomed((<-frames)[0])
	if first.Session != second.Session || first.Session != third.Session || first.Token != third.Token {
		t.Errorf("sessions are %q, %q, %q; want one", first.Session, second.Session, third.Session)
	}
	if n := len(r.back.asked); n != 1 {
		t.Errorf("the backend was asked %d times; want once", n)
	}
	// Another object, target or list of subprotocols is another session.
	other := r.raw()
	other.attempt, other.query = c.attempt, "room=2"
	other.websocket()
	if other.session == c.session {
		t.Error("another target joined the session")
	}
}

// §5.3: nobody joins an opening by its attempt who has not the opener's identity and
// origin.
func TestStrangersDoNotJoin(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	c.websocket()
	for name, value := range map[string]string{"Authorization": "other", "Origin": r.URL} {
		other := r.raw()
		other.attempt = c.attempt
		other.header.Set(name, value)
		other.websocket()
		if other.session == c.session {
			t.Errorf("another %s joined the session", name)
		}
	}
}

func (r *rig) waiting() (n int) {
	l := r.h.lobby()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.all {
		n += o.waiting
	}
	return n
}

// §5.3: the dial outlives its carrier, and a HELLO repeated finds the session.
func TestOpeningOutlivesItsCarrier(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	ready := make(chan struct{})
	r.back.hold = ready
	l := c.dial()
	l.send(c.hello())
	<-r.back.asked
	l.ws.Close()
	eventually(t, "carriers that wait", 0, func() int { return r.waiting() })
	close(ready)
	r.wantSessions(1)
	c.websocket()
	if n := len(r.back.asked); n != 0 {
		t.Errorf("the backend was asked %d times more; want once in all", n)
	}
}

// §12: frames behind a HELLO that opens end the carrier; the opening goes on.
func TestFramesBeforeWelcome(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	ready := make(chan struct{})
	r.back.hold = ready
	l := c.dial()
	l.send(c.hello())
	l.send(text(1, "too early"))
	l.wantEnd(codeBroken)
	close(ready)
	r.wantSessions(1)
}

// §5.3, §14: eight carriers wait for an opening; one more is turned away.
func TestManyWait(t *testing.T) {
	r := newRig(t)
	c := r.raw()
	ready := make(chan struct{})
	r.back.hold = ready
	var all []*line
	for range maxWaiting {
		l := c.dial()
		l.send(c.hello())
		all = append(all, l)
	}
	eventually(t, "carriers that wait", maxWaiting, func() int { return r.waiting() })
	late := c.dial()
	late.send(c.hello())
	late.wantEnd(codeNormal)
	res := c.post(wire.Poll, c.hello())
	res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("a ninth poll got %d, %v; want 503", res.StatusCode, res.Header)
	}
	close(ready)
	for _, l := range all {
		c.welcomed(l.frame())
	}
}

// §5.6: limits refuse with their status, before a backend is asked, and what was
// refused is not counted.
func TestLimits(t *testing.T) {
	for name, limit := range map[string]func(*rig){
		"connections": func(r *rig) { r.limiter.Set(access.Limits{Connections: 1, PerAddress: -1, HandshakesPerSecond: -1}) },
		"memory":      func(r *rig) { r.all.Memory = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, limit)
			c := r.raw()
			c.websocket()
			for range 2 {
				second := r.raw()
				all := second.ask(wire.Poll, second.hello())
				if m := decode(t, all[0]); all[0].Type != wire.TypeRefused || m["status"] != 503.0 || m["retry"] == nil {
					t.Errorf("got %s; want REFUSED 503 with retry", show(all[0]))
				}
			}
			if got := len(r.back.asked); got != 1 {
				t.Errorf("the backend was asked %d times; want once", got)
			}
			c.websocket() // the session counts once
			// Refusals of ours are not remembered, once they were answered.
			eventually(t, "openings that are remembered", 1, func() int {
				l := r.h.lobby()
				l.mu.Lock()
				defer l.mu.Unlock()
				return len(l.all)
			})
		})
	}
}

// §14: HELLOs by the thousand for one attempt, and many attempts, leave nothing.
func TestFloodOfHellos(t *testing.T) {
	r := newRig(t)
	r.back.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 403) }
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				c := r.raw()
				body := c.hello()
				for range 3 {
					res, err := c.http.Do(c.request(wire.Poll, body))
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
				}
				c.http.CloseIdleConnections()
			}
		})
	}
	all.Wait()
	if n := len(r.back.asked); n != cap(r.back.asked) { // it holds no more
		t.Errorf("the backend was asked %d times; want at least %d", n, cap(r.back.asked))
	}
	if n := r.waiting(); n != 0 {
		t.Errorf("%d carriers wait still", n)
	}
	if got, want := r.limiter.Len(), 0; got != want {
		t.Errorf("%d sessions are counted; want %d", got, want)
	}
}

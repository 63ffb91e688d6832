package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/faultlink"
	"sidecar/test/history"
)

// A mirror is a backend that sends back what it gets, and wants all that one of
// its connections gets to be of the session that the connection's id names.
type mirror struct {
	addr    string
	open    atomic.Int64
	came    atomic.Int64
	foreign atomic.Int64
}

func serveMirror(t testing.TB) *mirror {
	m := new(mirror)
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		m.came.Add(1)
		m.open.Add(1)
		defer m.open.Add(-1)
		if err := echoTo(c, r.URL.Query().Get("id"), plan{}); err != nil {
			m.foreign.Add(1)
			t.Error(err)
		}
	}))
	m.addr = s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return m
}

// An accident is what becomes of a session in the midst of its traffic.
type accident int

const (
	none        accident = iota
	resetAll             // every socket of the client is reset
	abortedPoll          // the pending GET is broken off, and only that
	lostPost             // the connection of the POSTs is reset, and only that
	lostAnswer           // the handshake is broken off before its answer, and made again
	accidents
)

// A thousand sessions at once, by polling, by WebSocket and changing from one to
// the other, each echoing what is its own, amid resets and retries: nobody gets
// what is another's, twice, out of order, or loses anything without being told.
func TestNoEngineSessionSeesAnothersBytes(t *testing.T) {
	t.Parallel()
	const sessions, atOnce = 1000, 64
	seed, rng := random(t)
	m := serveMirror(t)
	h := new(history.History)
	front := newLink(t, bootEngine(t, m.addr, engineSettings(2*time.Second, 2*time.Second)))
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	var whole atomic.Int64
	for i := range sessions {
		v := visit{h: h, addr: front.Addr(), id: fmt.Sprintf("s%d", i), rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if v.retry() {
				whole.Add(1)
			}
		})
		if rng.IntN(120) == 0 {
			front.End(faultlink.Both, faultlink.Reset)
		}
	}
	wg.Wait()
	got := h.Check()
	t.Logf("seed %d: %v; %d of %d visits ended whole, %d connections at the backend", seed, got, whole.Load(), sessions, m.came.Load())
	if !got.Honest() || m.foreign.Load() > 0 {
		t.Errorf("seed %d: the history is not honest: %v", seed, got)
	}
	if whole.Load() < sessions/2 || whole.Load() == sessions {
		t.Errorf("seed %d: %d of %d visits ended whole; want most, and some hit", seed, whole.Load(), sessions)
	}
	m.wantEmpty(t)
}

// wantEmpty waits until the backend has nobody any more: a session whose client
// is gone must not outlive its ping timeout.
func (m *mirror) wantEmpty(t *testing.T) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for m.open.Load() > 0 {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("%d connections are left at the backend", m.open.Load())
		}
	}
}

// A visit is one client's: a session, and one more where the first one failed.
type visit struct {
	h        *history.History
	addr, id string
	rng      *rand.Rand
}

// retry visits, and once more without an accident where it did not end whole.
// It reports whether the first visit did.
func (v visit) retry() bool {
	what := none
	if v.rng.IntN(3) == 0 {
		what = accident(v.rng.IntN(int(accidents)))
	}
	if v.once(v.id, what) {
		return true
	}
	v.once(v.id+"again", none)
	return false
}

// once reports whether all that was sent came back.
func (v visit) once(id string, what accident) bool {
	n, size, after := 1+v.rng.IntN(20), 40+v.rng.IntN(2000), v.rng.IntN(12)
	e := v.open(id, what)
	if e == nil {
		return false // cut while it opened
	}
	p := newPeer(v.h, e, id, history.Up, history.Up, n)
	go p.read()
	for i := range n {
		if i == after {
			e.suffer(what)
		}
		if p.send(1, size) != nil {
			break
		}
	}
	select {
	case <-p.full:
		p.leave()
		<-p.ended
	case <-p.ended:
	}
	if p.code() != 1000 {
		v.h.Told(id, p.err.Error())
	}
	return v.h.Received(p.reads) == n
}

func (v visit) open(id string, what accident) *engine {
	e := newEngine(v.addr, v.addr, "id="+id)
	how := v.rng.IntN(4)
	if what == lostAnswer {
		lost := newEngine(v.addr, v.addr, "id="+id)
		lost.get.send("GET", lost.target("polling"), nil)
		lost.reset()
	}
	if how == 0 {
		if e.openWebSocket() != nil {
			return nil
		}
		return e
	}
	if e.openPolling() != nil {
		return nil
	}
	if how == 1 {
		go e.upgrade()
	}
	return e
}

// suffer has an accident.
func (e *engine) suffer(what accident) {
	switch what {
	case resetAll:
		e.reset()
	case abortedPoll:
		e.get.close(false)
	case lostPost:
		e.post.close(true)
	}
}

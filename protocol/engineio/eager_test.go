package engineio

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecar/session"
)

// An eager client sends its next request in the very moment that an answer leaves.
type eager struct {
	*httptest.ResponseRecorder
	next func()
}

func (w *eager) Flush() {
	w.ResponseRecorder.Flush()
	if next := w.next; next != nil {
		w.next = nil
		next()
	}
}

func (r *rig) direct(method, sid, body string, next func()) *eager {
	q := httptest.NewRequest(method, "/app/engine.io/?"+polls+"&sid="+sid, strings.NewReader(body))
	if body == "" {
		q.Body, q.ContentLength = http.NoBody, 0
	}
	w := &eager{httptest.NewRecorder(), next}
	r.h.ServeHTTP(w, q)
	return w
}

func TestNextPostComesAtOnce(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	var second *eager
	first := r.direct("POST", c.sid, "4a", func() { second = r.direct("POST", c.sid, "4b", nil) })
	if first.Body.String() != "ok" || second.Body.String() != "ok" {
		t.Errorf("POSTs got %q and %q; want ok", first.Body, second.Body)
	}
	b := r.back.next()
	b.want("a")
	b.want("b")
}

func TestNothingFollowsTextThatCannotTravel(t *testing.T) {
	r := newRig(t)
	c := r.polling()
	b := r.back.next()
	b.say("a\x1eb")
	eventually(t, "bytes held", 1<<10+64+3, r.all.Held)
	e, second := c.engine(), make(chan string, 1)
	first := r.direct("GET", c.sid, "", func() {
		b.say("behind")
		eventually(t, "bytes held", 1<<10+64+3+64+6, r.all.Held)
		go func() { second <- r.direct("GET", c.sid, "", nil).Body.String() }()
		eventually(t, "the next poll has come", true, func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.polled || len(second) > 0
		})
	})
	if got, next := first.Body.String(), <-second; got != "1" || next != "1" {
		t.Errorf("polls got %q and %q; want the end", got, next)
	}
}

// An onRoom backend is told of room within the acknowledgement of a message.
type onRoom struct {
	quiet
	room func()
}

func (o *onRoom) Room() { o.room() }

// TestNextPollComesBeforeTheAnswerIsDone: an answer that is out is no open poll, even
// where whoever wrote it has not noticed.
func TestNextPollComesBeforeTheAnswerIsDone(t *testing.T) {
	r := newRig(t, func(r *rig) { r.parks, r.h.Session.Window = true, 4<<10 })
	c := r.client()
	next := make(chan (<-chan answer), 1)
	back := &onRoom{}
	e, err := r.h.open(session.NewID(""), r.h.identify(&http.Request{}), back, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.begin(true); err != nil {
		t.Fatal(err)
	}
	c.sid = e.sid
	back.room = func() { next <- c.begun() }
	first := c.begun()
	eventually(t, "the poll is parked", true, func() bool { return r.h.Desk.Lot.Len() > 0 })
	large := strings.Repeat("x", 8<<10)
	e.session.Deliver(session.Message{Data: []byte(large)})
	c.wantGot(first, "4"+large)
	second := <-next
	e.session.Deliver(session.Message{Data: []byte("again")})
	c.wantGot(second, "4again")
	back.room = func() {}
	e.session.End(session.Left, session.Close{Code: codeNormal})
}

package resume

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/polling"
	"sidecar/protocol/resume/wire"
	"sidecar/proxy"
	"sidecar/session"
)

// FuzzRequest gives strangers' bodies to a handler, by each kind of request, some of
// them as what follows a true CONTINUE. It must answer each with a status of §3.2, and
// with nothing but whole frames.
func FuzzRequest(f *testing.F) {
	hello, err := (&wire.Hello{
		Version: 1, Attempt: wire.NewAttempt(), Generation: 1, Session: "s", Token: "t", Position: wire.Position{Lowest: 1}, Window: 4096,
	}).Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	for kind := range uint8(3) {
		for _, seed := range [][]byte{
			hello, text(1, "x"), ack(1), wire.AppendPing(nil, []byte("m")), wire.Use{Turn: 9, Generation: 2}.Append(nil),
			wire.Close{Number: 1, Code: 1000, Reason: "bye"}.Append(nil), []byte("<html>"), {},
			wire.Data{More: true, Number: 1, Payload: make([]byte, 1024)}.Append(nil),
		} {
			f.Add(kind, false, seed)
			f.Add(kind, true, seed)
		}
	}
	kinds := []wire.Kind{wire.Send, wire.Poll, wire.Stream}
	f.Fuzz(func(t *testing.T, kind uint8, known bool, body []byte) {
		if len(body) > 64<<10 {
			return
		}
		h, c := fuzzed(t)
		if known {
			b := wire.Continue{Generation: 1, Session: c.id, Token: c.tokens.Offer()}.Append(nil)
			b = append(b, wire.Ack{}.Append(nil)...)
			body = append(append(b, wire.AppendPing(nil, nil)...), body...)
		} else if f, _, err := wire.Split(body); err == nil && f.Type == wire.TypeHello {
			if hello, err := wire.ParseHello(f.Body); err == nil && hello.Session == "" {
				return // it would dial
			}
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/x?"+wire.AddKind("", kinds[int(kind)%len(kinds)]), bytes.NewReader(body))
		r.Header.Set("Content-Type", "text/plain")
		start := time.Now()
		h.ServeHTTP(w, r)
		if d := time.Since(start); d > 5*time.Second { // a send waits for one
			t.Errorf("answered after %v", d)
		}
		answer, _ := io.ReadAll(w.Result().Body)
		switch w.Code {
		case http.StatusOK:
			split(t, answer)
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if known && len(body) == 0 {
				t.Errorf("a true CONTINUE got %d %q", w.Code, answer)
			}
		default:
			t.Errorf("got status %d %q", w.Code, answer)
		}
		c.session.End(session.Left, session.Close{Code: codeNormal})
	})
}

// fuzzed is a handler with one session.
func fuzzed(t *testing.T) (*Handler, *client) {
	settings, all := session.Default(), &session.Sessions{}
	h := &Handler{
		Settings: Default(), Heartbeat: heartbeat.Policy{}, Sessions: all, Session: &settings,
		Desk: &polling.Desk{Guard: &access.Guard{}}, Dialer: &proxy.Dialer{Live: &proxy.Live{}}, Log: slog.New(slog.DiscardHandler),
	}
	back := &quiet{}
	c := &client{handler: h, id: session.NewID(""), attempt: "a", backend: back, release: func() {}}
	c.down.window = 4096
	s, err := all.Open(session.Opening{ID: c.id, Identity: h.identify(&http.Request{}), Settings: &settings, Backend: back, Protocol: c, Ended: c.ended})
	if err != nil {
		t.Fatal(err)
	}
	c.session = s
	return h, c
}

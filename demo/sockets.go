package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// ignore takes messages from clients that are not asked for any.
func ignore(int, []byte) error { return nil }

func (b *backend) echo(w http.ResponseWriter, r *http.Request) {
	u := websocket.Upgrader{EnableCompression: true, Subprotocols: []string{Subprotocol}}
	if s := b.accept(w, r, u, maxMessage); s != nil {
		s.run(s.write, s.beat)
	}
}

func (b *backend) ticker(w http.ResponseWriter, r *http.Request) {
	if s := b.accept(w, r, websocket.Upgrader{}, maxIgnored); s != nil {
		s.run(ignore, s.tick)
	}
}

// A tick is what /ticker sends.
type tick struct {
	N    int       `json:"n"` // from 1
	Time time.Time `json:"time"`
}

// tick is the pump of /ticker.
func (s *socket) tick(ctx context.Context) error {
	second, beat := time.NewTicker(time.Second), time.NewTicker(pingEvery)
	defer second.Stop()
	defer beat.Stop()
	for t := (tick{N: 1, Time: time.Now()}); ; {
		p, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("encoding a tick: %w", err)
		}
		if err := s.write(websocket.TextMessage, p); err != nil {
			return err
		}
		if t.Time, err = s.nextSecond(ctx, second.C, beat.C); err != nil {
			return err
		}
		t.N++
	}
}

// nextSecond waits for it, and pings meanwhile.
func (s *socket) nextSecond(ctx context.Context, second, beat <-chan time.Time) (time.Time, error) {
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case at := <-second:
			return at, nil
		case <-beat:
			if err := s.ping(); err != nil {
				return time.Time{}, err
			}
		}
	}
}

// close closes as it was asked to, or says what close it heard.
func (b *backend) close(w http.ResponseWriter, r *http.Request) {
	c, err := wantedClose(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := b.accept(w, r, websocket.Upgrader{}, maxIgnored)
	if s == nil {
		return
	}
	s.conn.SetCloseHandler(func(code int, reason string) error {
		return s.conn.WriteControl(websocket.CloseMessage, heard(code, reason), time.Now().Add(writeIn))
	})
	if c == nil {
		s.run(ignore, s.beat)
		return
	}
	s.run(ignore, func(context.Context) error { return c })
}

// wantedClose reads the code and reason of a request to /close; nil is none.
func wantedClose(r *http.Request) (*closing, error) {
	q := r.URL.Query() // not FormValue, which would read a body to disk
	code, reason := q.Get("code"), q.Get("reason")
	if code == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(code)
	if err != nil || !sendable(n) {
		return nil, fmt.Errorf("code: %q is none that a close frame may carry", code)
	}
	if len(reason) > maxReason {
		return nil, fmt.Errorf("reason: %d bytes are more than %d", len(reason), maxReason)
	}
	return &closing{n, reason}, nil
}

// sendable reports whether a close frame may carry the code (RFC 6455, section
// 7.4, and of the later ones 1012 and 1013).
func sendable(code int) bool {
	reserved := []int{1004, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure}
	return code >= 1000 && code <= 1013 && !slices.Contains(reserved, code) || code >= 3000 && code <= 4999
}

// heard is the answer to a close. It stays within the 125 bytes of a control frame.
func heard(code int, reason string) []byte {
	if code == websocket.CloseNoStatusReceived {
		return nil
	}
	if len(reason) > maxReason {
		reason = "a long reason"
	}
	return websocket.FormatCloseMessage(code, "heard "+reason)
}

// refusals are what /refuse can answer.
var refusals = map[string]int{
	"401": http.StatusUnauthorized,
	"403": http.StatusForbidden,
	"404": http.StatusNotFound,
	"429": http.StatusTooManyRequests,
	"503": http.StatusServiceUnavailable,
}

// refuse answers a handshake, and any other GET, with the status it is asked for.
func refuse(w http.ResponseWriter, r *http.Request) {
	status, ok := refusals[r.URL.Query().Get("status")]
	switch {
	case !ok:
		http.Error(w, "status: one of 401, 403, 404, 429 and 503", http.StatusBadRequest)
		return
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="demo"`)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, refusalBody(status), status)
}

func refusalBody(status int) string { return fmt.Sprintf("refused with %d, as asked", status) }

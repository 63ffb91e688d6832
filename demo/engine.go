package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
)

// root is where the sidecar's sessions of Engine.IO arrive. Other requests get
// the page.
func (b *backend) root(w http.ResponseWriter, r *http.Request, page http.Handler) {
	switch {
	case !websocket.IsWebSocketUpgrade(r):
		page.ServeHTTP(w, r)
	case r.URL.Query().Has("code"):
		b.close(w, r)
	default:
		b.echo(w, r)
	}
}

// Where the sidecar speaks Engine.IO, revision 4.
const (
	enginePolling = "/engine.io/?EIO=4&transport=polling"
	engineSocket  = "/engine.io/?EIO=4&transport=websocket"
	separator     = "\x1e" // between the packets of one body
)

// An engineSession is one of Engine.IO that began by polling.
type engineSession struct {
	t   *target
	sid string
}

// engine opens one, and wants to be offered the upgrade.
func (t *target) engine(ctx context.Context) (*engineSession, error) {
	packets, err := t.ask(ctx, http.MethodGet, enginePolling, "")
	if err != nil {
		return nil, err
	}
	o, err := readOpening(packets[0])
	if err == nil && !slices.Contains(o.Upgrades, "websocket") {
		err = fmt.Errorf("got %s; want websocket among the upgrades", brief([]byte(packets[0])))
	}
	return &engineSession{t, o.SID}, err
}

// An opening is the first packet of a session.
type opening struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

func readOpening(packet string) (o opening, err error) {
	body, ok := strings.CutPrefix(packet, "0")
	if !ok {
		return o, fmt.Errorf("got %s; want the packet that opens a session", brief([]byte(packet)))
	}
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		return o, fmt.Errorf("reading %s: %w", brief([]byte(packet)), err)
	}
	if o.SID == "" || o.Upgrades == nil || o.PingInterval <= 0 || o.PingTimeout <= 0 || o.MaxPayload <= 0 {
		return o, fmt.Errorf("got %s; want all that a client needs", brief([]byte(packet)))
	}
	return o, nil
}

// ask makes a request and splits the answer.
func (t *target) ask(ctx context.Context, method, path, body string) ([]string, error) {
	r, err := http.NewRequestWithContext(ctx, method, t.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Origin", t.base)
	r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	resp, err := t.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case resp.StatusCode != http.StatusOK || len(got) == 0:
		return nil, fmt.Errorf("got %d %s; want 200 and packets", resp.StatusCode, brief(got))
	}
	return strings.Split(string(got), separator), nil
}

func (s *engineSession) path(transport string) string { return transport + "&sid=" + s.sid }

// post sends packets.
func (s *engineSession) post(ctx context.Context, packets ...string) error {
	got, err := s.t.ask(ctx, http.MethodPost, s.path(enginePolling), strings.Join(packets, separator))
	if err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if len(got) != 1 || got[0] != "ok" {
		return fmt.Errorf("sending was answered with %q; want ok", got)
	}
	return nil
}

// poll asks for packets.
func (s *engineSession) poll(ctx context.Context) ([]string, error) {
	got, err := s.t.ask(ctx, http.MethodGet, s.path(enginePolling), "")
	if err != nil {
		err = fmt.Errorf("polling: %w", err)
	}
	return got, err
}

// expect polls until all that is wanted has come, in order. It returns how often
// it polled.
func (s *engineSession) expect(ctx context.Context, want []string) (polls int, err error) {
	for n := 0; n < len(want); {
		got, err := s.poll(ctx)
		if err != nil {
			return polls, err
		}
		polls++
		for _, p := range got {
			if n == len(want) || p != want[n] {
				return polls, fmt.Errorf("packet %d of %d is %s", n+1, len(want), brief([]byte(p)))
			}
			n++
		}
	}
	return polls, nil
}

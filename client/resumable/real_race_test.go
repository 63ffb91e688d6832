package resumable_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/client/resumable"
	"sidecar/protocol/resume/wire"
)

// A network that lets no WebSocket through, in each way, before the server's own handler.
func TestRealBlockedWebSocket(t *testing.T) {
	upgrade := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	for name, block := range map[string]func(w http.ResponseWriter, r *http.Request){
		"refused": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"killed": func(w http.ResponseWriter, r *http.Request) {
			if c, err := upgrade.Upgrade(w, r, nil); err == nil {
				c.Close()
			}
		},
		"hanging": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		for _, kind := range []resumable.Transport{resumable.Stream, resumable.Poll} {
			t.Run(name+"/"+string(kind), func(t *testing.T) {
				s := newReal(t)
				s.front = func(w http.ResponseWriter, r *http.Request) bool {
					if _, upgrades := r.Header["Upgrade"]; upgrades {
						block(w, r)
						return true
					}
					return false
				}
				start := time.Now()
				c := s.dial(&resumable.Options{Transports: []resumable.Transport{resumable.WebSocket, kind}})
				t.Logf("open after %v", time.Since(start))
				if c.Transport() != kind {
					t.Errorf("transport %q; want %q", c.Transport(), kind)
				}
				s.numbered(c, 50, nil, nil)
				s.closeWell(c, 50)
			})
		}
	}
}

// A message larger than a window passes by each transport.
func TestRealLargeMessage(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := newReal(t)
			c := s.dial(&resumable.Options{Transports: []resumable.Transport{kind}})
			large := make([]byte, 3<<20)
			for i := range large {
				large[i] = byte(i * 7 >> 3)
			}
			ctx := t.Context()
			if err := c.Write(ctx, resumable.Binary, large); err != nil {
				t.Fatal(err)
			}
			if _, p, err := c.Read(ctx); err != nil || string(p) != string(large) {
				t.Errorf("Read: %d bytes, %v; want the %d that went", len(p), err, len(large))
			}
			s.closeWell(c, 1)
		})
	}
}

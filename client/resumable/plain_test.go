package resumable

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// A plainServer is no sidecar: strict ones refuse subprotocols that they do not know.
func plainServer(strict bool, protocols ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: protocols}
		offered := websocket.Subprotocols(r)
		if strict && len(offered) > len(protocols) {
			http.Error(w, "unknown subprotocol", http.StatusBadRequest)
			return
		}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, m, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, m) != nil {
				return
			}
		}
	})
}

func TestPlainWebSocket(t *testing.T) {
	for name, test := range map[string]struct {
		strict bool
		offers []string
		want   string
	}{
		"none chosen": {false, nil, ""}, "refuses what it does not know": {true, nil, ""},
		"chosen": {false, []string{"chat"}, "chat"}, "chosen by a strict one": {true, []string{"chat"}, "chat"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, plainServer(test.strict, test.offers...))
				o := r.options()
				o.Subprotocols = test.offers
				c := r.open(o)
				if c.Transport() != Plain || c.Subprotocol() != test.want {
					t.Errorf("transport %q, subprotocol %q; want plain and %q", c.Transport(), c.Subprotocol(), test.want)
				}
				r.numbered(c, 50, nil, nil)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Read: %v; want its context's end", err)
				}
				r.echo(c, "the connection lives")
				if err := c.Close(4000, "bye"); err != nil {
					t.Errorf("Close: %v", err)
				}
				var end *CloseError
				if _, _, err := c.Read(context.Background()); !errors.As(err, &end) || end.Code != 4000 {
					t.Errorf("Read after Close: %v", err)
				}
				if err := c.Write(context.Background(), Text, nil); err == nil {
					t.Error("Write after Close: no error")
				}
			})
		})
	}
}

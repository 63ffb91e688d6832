package demo

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// A sabotage is a backend with one thing wrong, and the checks that must notice.
type sabotage struct {
	name  string
	path  string // what bad answers in place of the Backend; "": all
	bad   http.HandlerFunc
	fails []string
}

var sabotages = []sabotage{
	{"text altered", "/echo", echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if kind == websocket.TextMessage {
			p = bytes.ToUpper(p)
		}
		return c.WriteMessage(kind, p)
	}), []string{"text", "1,000 messages in order", "permessage-deflate"}},

	{"last byte altered", "/echo", echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if kind == websocket.BinaryMessage {
			p[len(p)-1] ^= 1
		}
		return c.WriteMessage(kind, p)
	}), []string{"binary", "1 MiB message"}},

	{"binary sent as text", "/echo", echoing(func(c *websocket.Conn, _ int, p []byte) error {
		return c.WriteMessage(websocket.TextMessage, p)
	}), []string{"binary", "1 MiB message"}},

	{"large messages refused", "/echo", echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if len(p) > 64<<10 {
			return io.ErrShortBuffer
		}
		return c.WriteMessage(kind, p)
	}), []string{"1 MiB message", "permessage-deflate"}},

	{"two exchanged", "/echo", exchanging("message 500"), []string{"1,000 messages in order"}},
	{"one lost", "/echo", echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if string(p) == "message 999" {
			return nil
		}
		return c.WriteMessage(kind, p)
	}), []string{"1,000 messages in order"}},
	{"one doubled", "/echo", echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if string(p) == "message 7" {
			c.WriteMessage(kind, p)
		}
		return c.WriteMessage(kind, p)
	}), []string{"1,000 messages in order"}},

	{"no deflate", "/echo", without("Sec-WebSocket-Extensions"), []string{"permessage-deflate"}},
	{"no subprotocol", "/echo", without("Sec-WebSocket-Protocol"), []string{"subprotocol"}},
	{"pings swallowed", "/echo", ponging(func(*websocket.Conn, string) error { return nil }), []string{"ping"}},
	{"pings answered wrongly", "/echo", ponging(func(c *websocket.Conn, _ string) error {
		return c.WriteControl(websocket.PongMessage, []byte("?"), time.Now().Add(time.Second))
	}), []string{"ping"}},

	{"other status", "/refuse", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, refusalBody(401), http.StatusBadGateway)
	}, []string{"refused handshake"}},
	{"body lost", "/refuse", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}, []string{"refused handshake"}},
	{"accepted instead", "/refuse", newBackend(100).echo, []string{"refused handshake"}},

	{"close codes lost", "/close", echoing(nil, func(c *websocket.Conn) { sendClose(c, 1000, "goodbye") }),
		[]string{"close from the backend", "close from the client"}},
	{"close reasons lost", "/close", closingWith(func(code int, _ string) (int, string) { return code, "" }),
		[]string{"close from the backend", "close from the client"}},
	{"no close frames", "/close", echoing(nil, func(c *websocket.Conn) { c.Close() }),
		[]string{"close from the backend", "close from the client"}},
	{"close from the client not passed on", "/close", closingWith(func(code int, reason string) (int, string) {
		return code, strings.TrimPrefix(reason, "heard ")
	}), []string{"close from the client"}},
	{"close from the backend altered", "/close", closingWith(func(code int, reason string) (int, string) {
		if code == 4001 {
			code = 1011
		}
		return code, reason
	}), []string{"close from the backend"}},

	{"close reason with controls", "/close", closingWith(func(code int, _ string) (int, string) {
		return code, "\x1b[2J\n"
	}), []string{"close from the backend", "close from the client"}},
	{"echo closed with controls", "/echo", echoing(nil, func(c *websocket.Conn) { sendClose(c, 4000, "\x1b[2J\nping  ok") }),
		[]string{"text", "binary", "1 MiB message", "1,000 messages in order", "permessage-deflate", "ping"}},

	{"ticks held back", "/ticker", echoing(nil, func(c *websocket.Conn) {
		time.Sleep(2 * time.Second)
		for _, p := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
			c.WriteMessage(websocket.TextMessage, []byte(p))
		}
	}), []string{"ticker"}},
	{"a tick lost", "/ticker", echoing(nil, func(c *websocket.Conn) {
		c.WriteMessage(websocket.TextMessage, []byte(`{"n":1}`))
		time.Sleep(2 * time.Second)
		c.WriteMessage(websocket.TextMessage, []byte(`{"n":3}`))
	}), []string{"ticker"}},

	{"a room for each", "/chat", func(w http.ResponseWriter, r *http.Request) { newBackend(1).chat(w, r) }, []string{"chat between two"}},

	{"another Host", "/api/hello", func(w http.ResponseWriter, r *http.Request) {
		r.Host = "backend.internal"
		hello(w, r)
	}, []string{"HTTP pass-through"}},
	{"no API", "/api/", http.NotFound, []string{"HTTP pass-through", "HTTP streaming"}},
	{"answers collected", "/api/stream", func(w http.ResponseWriter, r *http.Request) {
		all := httptest.NewRecorder()
		stream(all, r)
		w.Write(all.Body.Bytes())
	}, []string{"HTTP streaming"}},
	{"answers cut short", "/api/stream", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, streamLine(1))
	}, []string{"HTTP streaming"}},
}

// TestChecksNotice runs Once against every sabotage: exactly the checks named
// must fail, and every check must be named by one, or it cannot fail.
func TestChecksNotice(t *testing.T) {
	noticed := map[string]bool{"foreign Origin refused": true} // by TestOnceAgainstBackendAlone
	try := func(name string, fails []string, h func() http.Handler) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var table strings.Builder
				ok := run(t.Context(), &table, testBase, serve(t, sameOrigin(h())), checks, nil)
				if got := failures(t, checks, table.String()); ok || !slices.Equal(got, fails) {
					t.Errorf("passed: %v, failed: %q; want %q\n%s", ok, got, fails, table.String())
				}
			})
		})
		for _, name := range fails {
			noticed[name] = true
		}
	}
	for _, s := range sabotages {
		try(s.name, s.fails, func() http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", Backend())
			mux.HandleFunc(s.path, s.bad)
			return withEngine(&fakeEngine{}, mux)
		})
	}
	for i := range engineFaults {
		f := &engineFaults[i]
		try(f.name, f.fails, func() http.Handler { return withEngine(&f.bad, Backend()) })
	}
	for _, c := range checks {
		if !noticed[c.name] {
			t.Errorf("no sabotage makes %q fail", c.name)
		}
	}
}

func acceptAll() *websocket.Upgrader {
	return &websocket.Upgrader{
		EnableCompression: true,
		Subprotocols:      []string{Subprotocol},
		CheckOrigin:       func(*http.Request) bool { return true },
	}
}

// echoing answers each message with answer, after first was done.
func echoing(answer func(c *websocket.Conn, kind int, p []byte) error, first ...func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := acceptAll().Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for _, do := range first {
			do(c)
		}
		for {
			kind, p, err := c.ReadMessage()
			if err != nil || answer != nil && answer(c, kind, p) != nil {
				return
			}
		}
	}
}

// exchanging keeps one message back until after the next.
func exchanging(which string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var kept []byte
		echoing(func(c *websocket.Conn, kind int, p []byte) error {
			if string(p) == which {
				kept = p
				return nil
			}
			err := c.WriteMessage(kind, p)
			if kept != nil {
				err = c.WriteMessage(kind, kept)
				kept = nil
			}
			return err
		})(w, r)
	}
}

// without is an echo that does not see one header of the handshake.
func without(header string) http.HandlerFunc {
	b := newBackend(100)
	return func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(header)
		b.echo(w, r)
	}
}

// ponging is an echo that answers pings in its own way.
func ponging(answer func(c *websocket.Conn, mark string) error) http.HandlerFunc {
	return echoing(func(c *websocket.Conn, kind int, p []byte) error { return c.WriteMessage(kind, p) },
		func(c *websocket.Conn) {
			c.SetPingHandler(func(mark string) error { return answer(c, mark) })
		})
}

func sendClose(c *websocket.Conn, code int, reason string) {
	c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
}

// closingWith is /close with what it says altered.
func closingWith(alter func(code int, reason string) (int, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		echoing(nil, func(c *websocket.Conn) {
			if want, err := wantedClose(r); err == nil && want != nil {
				code, reason := alter(want.code, want.reason)
				sendClose(c, code, reason)
				return
			}
			c.SetCloseHandler(func(code int, reason string) error {
				code, reason = alter(code, "heard "+reason)
				sendClose(c, code, reason)
				return nil
			})
		})(w, r)
	}
}

package demo

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

func TestEchoSendsBack(t *testing.T) {
	for _, o := range []offer{{}, {deflate: true}} {
		t.Run(fmt.Sprintf("deflate %v", o.deflate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mustOpen(t, reach(t, Backend()), "/echo", o)
				for _, m := range []struct {
					kind int
					p    []byte
				}{
					{websocket.TextMessage, []byte("hello")},
					{websocket.TextMessage, nil},
					{websocket.BinaryMessage, []byte{0, 255, 128}},
					{websocket.BinaryMessage, bytes.Repeat([]byte{7}, maxMessage)},
				} {
					if err := c.echo(m.kind, m.p); err != nil {
						t.Errorf("%d bytes of kind %d: %v", len(m.p), m.kind, err)
					}
				}
			})
		})
	}
}

func TestEchoAgreesOnlyToWhatIsOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		for _, tt := range []struct {
			o           offer
			deflate     bool
			subprotocol string
		}{
			{offer{}, false, ""},
			{offer{deflate: true}, true, ""},
			{offer{subprotocols: []string{"other", Subprotocol}}, false, Subprotocol},
			{offer{subprotocols: []string{"other"}}, false, ""},
		} {
			c := mustOpen(t, to, "/echo", tt.o)
			if got := strings.HasPrefix(c.head.Get("Sec-WebSocket-Extensions"), "permessage-deflate"); got != tt.deflate {
				t.Errorf("%+v: deflate %v; want %v", tt.o, got, tt.deflate)
			}
			if got := c.Subprotocol(); got != tt.subprotocol {
				t.Errorf("%+v: subprotocol %q; want %q", tt.o, got, tt.subprotocol)
			}
		}
	})
}

func TestMessagesBeyondTheLimits(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		o          offer
		kind       int
		p          []byte
		code       int
	}{
		{"too big to echo", "/echo", offer{}, websocket.BinaryMessage, make([]byte, maxMessage+1), 1009},
		{"too big once inflated", "/echo", offer{deflate: true}, websocket.BinaryMessage, make([]byte, maxMessage+1), 1009},
		{"text that is not UTF-8", "/echo", offer{}, websocket.TextMessage, []byte{0xff}, 1007},
		{"too big for the ticker", "/ticker", offer{}, websocket.TextMessage, make([]byte, maxIgnored+1), 1009},
		{"too big to be said", "/chat?name=a", offer{}, websocket.TextMessage, make([]byte, maxSaid+1), 1009},
		{"binary to be said", "/chat?name=a", offer{}, websocket.BinaryMessage, []byte("a"), 1003},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mustOpen(t, reach(t, Backend()), tt.path, tt.o)
				// The backend may hang up in the middle of a message that is too big.
				go c.WriteMessage(tt.kind, tt.p)
				wantClosed(t, c, tt.code)
			})
		})
	}
}

func TestTickerTicksEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mustOpen(t, reach(t, Backend()), "/ticker", offer{})
		start := time.Now()
		for n := range 100 { // beyond the first pings
			var got tick
			if err := c.decode(&got); err != nil {
				t.Fatal(err)
			}
			if want := start.Add(time.Duration(n) * time.Second); got.N != n+1 || !got.Time.Equal(want) {
				t.Fatalf("got tick %d of %v; want %d of %v", got.N, got.Time, n+1, want)
			}
			if got, want := time.Since(start), time.Duration(n)*time.Second; got != want {
				t.Fatalf("tick %d came after %v; want %v", n+1, got, want)
			}
		}
	})
}

func TestSilentClientIsGivenUp(t *testing.T) {
	for _, path := range []string{"/echo", "/ticker", "/chat?name=a", "/close"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mustOpen(t, reach(t, Backend()), path, offer{})
				start := time.Now()
				c.SetPingHandler(func(string) error { return nil })
				if got := drained(c); got == nil {
					t.Error("connection goes on; want it ended")
				}
				if got := time.Since(start); got < readIn || got > readIn+2*lingerFor {
					t.Errorf("given up after %v; want about %v", got, readIn)
				}
			})
		})
	}
}

func TestAnsweringClientIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mustOpen(t, reach(t, Backend()), "/echo", offer{})
		mark := time.AfterFunc(10*readIn, func() { c.WriteMessage(websocket.TextMessage, []byte("still here")) })
		defer mark.Stop()
		if err := c.expect(websocket.TextMessage, []byte("still here")); err != nil {
			t.Errorf("after %v: %v", 10*readIn, err)
		}
	})
}

// drained reads until the connection ends.
func drained(c *client) error {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return err
		}
	}
}

func TestCloseWithCodeAndReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		long := strings.Repeat("r", maxReason)
		for code, reason := range map[int]string{1000: "", 1001: "away", 1013: "later", 3000: "ü", 4999: long} {
			c := mustOpen(t, to, fmt.Sprintf("/close?code=%d&reason=%s", code, url.QueryEscape(reason)), offer{})
			if got := wantClosed(t, c, code); got != reason {
				t.Errorf("code %d: reason %q; want %q", code, got, reason)
			}
		}
	})
}

func TestCloseRefusesWhatNoFrameMayCarry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		for _, code := range []string{"0", "-1", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "x", "99999999999999999999"} {
			wantRefused(t, to, "/close?code="+code, http.StatusBadRequest)
		}
		wantRefused(t, to, "/close?code=4000&reason="+strings.Repeat("r", maxReason+1), http.StatusBadRequest)
	})
}

func TestCloseAnswersWhatItHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		for _, tt := range []struct {
			code         int
			reason, want string
		}{
			{1000, "", "heard "},
			{4002, "farewell", "heard farewell"},
			{4002, strings.Repeat("r", 123), "heard a long reason"},
		} {
			c := mustOpen(t, to, "/close", offer{})
			mustSend(t, c, websocket.CloseMessage, websocket.FormatCloseMessage(tt.code, tt.reason))
			if got := wantClosed(t, c, tt.code); got != tt.want {
				t.Errorf("close with %d %q was answered with %q; want %q", tt.code, tt.reason, got, tt.want)
			}
		}
		c := mustOpen(t, to, "/close", offer{})
		mustSend(t, c, websocket.CloseMessage, nil)
		wantClosed(t, c, websocket.CloseNoStatusReceived)
	})
}

func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		for _, status := range []int{401, 403, 404, 429, 503} {
			got := wantRefused(t, to, fmt.Sprintf("/refuse?status=%d", status), status)
			if want := fmt.Sprintf("refused with %d, as asked", status); got.body != want {
				t.Errorf("body %q; want %q", got.body, want)
			}
		}
		for _, status := range []string{"", "101", "200", "302", "500", "x"} {
			wantRefused(t, to, "/refuse?status="+status, http.StatusBadRequest)
		}
	})
}

func TestTooManySockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, newBackend(2).handler())
		mustOpen(t, to, "/ticker", offer{})
		c := mustOpen(t, to, "/echo", offer{})
		wantRefused(t, to, "/echo", http.StatusServiceUnavailable)
		c.end()
		synctest.Wait()
		mustOpen(t, to, "/echo", offer{})
	})
}

func TestPlainRequestsForSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(1)
		to := reach(t, b.handler())
		for _, path := range []string{"/echo", "/ticker", "/chat?name=a", "/close"} {
			if _, err := to.get(t.Context(), path); err == nil || !strings.HasSuffix(err.Error(), "status 400") {
				t.Errorf("GET %s: %v; want status 400", path, err)
			}
		}
		if got := len(b.slots); got != 0 {
			t.Errorf("%d sockets counted after refused handshakes; want 0", got)
		}
	})
}

// TestNothingIsLeft ends connections in every way there is. The server still
// runs when it looks, so that what it ends at its own end does not count.
func TestNothingIsLeft(t *testing.T) {
	ends := map[string]func(*client){
		"cut": func(c *client) { c.end() },
		"closed": func(c *client) {
			c.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
			drained(c)
			c.end()
		},
		"half a frame": func(c *client) {
			c.NetConn().Write([]byte{0x82, 0xff, 0})
			c.Close()
		},
		"protocol broken": func(c *client) { c.NetConn().Write([]byte{0xff, 0x80, 1, 2, 3, 4}); drained(c); c.end() },
		"mute":            func(c *client) { time.Sleep(2 * readIn); c.end() }, // reads nothing
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(100)
				to := reach(t, b.handler())
				for _, path := range []string{"/echo", "/ticker", "/chat?name=a", "/close", "/close?code=4000"} {
					for range 3 {
						go end(mustOpen(t, to, path, offer{}))
					}
				}
				time.Sleep(3 * readIn) // of the bubble
				synctest.Wait()
				if got := len(b.slots); got != 0 {
					t.Errorf("%d sockets left; want 0", got)
				}
				if got := len(b.lobby.members); got != 0 {
					t.Errorf("%d members left; want 0", got)
				}
			})
		})
	}
}

package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/test/faultlink"
)

// A mishap is what goes wrong, and what the application hears of it from its
// stock client in each mode: all that the client reports but "open", in order.
type mishap struct {
	name string
	play func(t *testing.T, d *driver, m mode) []report
	want map[string]string // by mode
}

// twice is what is reported first as an error and then as the reason of the close.
func twice(message, details string) string {
	return fmt.Sprintf(`error "%[1]s" %[2]s; close "transport error" "%[1]s" %[2]s`, message, details)
}

var mishaps = []mishap{
	{"backend refuses with 403", refusing(403), refused(`status 403 body "no entry"`, `"Unexpected server response: 403"`)},
	{"backend refuses with 503", refusing(503), refused(`status 503 body "no entry"`, `"Unexpected server response: 503"`)},
	{"backend is not there", unreachable, refused(`status 502 body "{\"code\":4,\"message\":\"the backend cannot be reached\"}"`, `"Unexpected server response: 502"`)},
	{"backend dies", dies, ended(1012, "")},
	{"backend is slow", slow, ended(1011, "")},
	{"sidecar drains", drains, ended(1001, `"drain" `)},
	{"session expires", expires, map[string]string{
		"polling":   twice("xhr poll error", `status 400 body "{\"code\":1,\"message\":\"Session ID unknown\"}"`),
		"websocket": `close "transport close" "websocket connection closed" "ping timeout" code 1001`,
		"upgrading": `close "transport close" "websocket connection closed" "ping timeout" code 1001`,
	}},
	{"network is gone", vanishes, map[string]string{
		"polling": `close "ping timeout"`, "websocket": `close "ping timeout"`, "upgrading": `close "ping timeout"`,
	}},
}

// refused is what a client sees that does not get in. One that would upgrade begins
// by polling.
func refused(poll, ws string) map[string]string {
	return map[string]string{
		"polling":   twice("xhr poll error", poll),
		"websocket": twice("websocket error", ws),
		"upgrading": twice("xhr poll error", poll),
	}
}

// ended is what a client sees whose session is ended in order. One that has
// upgraded is on a WebSocket then.
func ended(code int, reason string) map[string]string {
	ws := fmt.Sprintf(`close "transport close" "websocket connection closed" %scode %d`, reason, code)
	return map[string]string{
		"polling": `close "transport close" "transport closed by the server"`, "websocket": ws, "upgrading": ws,
	}
}

// What an application with a stock client sees when something goes wrong. The
// same with both versions of the client.
func TestWhatAStockClientSees(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	table := map[string]string{}
	for _, pkg := range stockPackages {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			d := stockInNode(t, pkg)
			for _, h := range mishaps {
				for _, m := range modes {
					t.Run(h.name+", "+m.name, func(t *testing.T) {
						t.Parallel()
						got := tell(h.play(t, d, m))
						mu.Lock()
						table[h.name+", "+m.name+", "+pkg] = got
						mu.Unlock()
						if want := h.want[m.name]; got != want {
							t.Errorf("the client reported\n\t%s\nwant\n\t%s", got, want)
						}
					})
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, h := range mishaps {
			for _, m := range modes {
				for _, pkg := range stockPackages {
					t.Logf("%-25s %-10s %-22s %s", h.name, m.name, pkg, table[h.name+", "+m.name+", "+pkg])
				}
			}
		}
	})
}

// tell is what an application saw behind the opening.
func tell(seen []report) string {
	var s []string
	for _, r := range seen {
		if r.What != "open" && r.What != "upgrade" {
			s = append(s, r.String())
		}
	}
	return strings.Join(s, "; ")
}

// ended waits for the client's close and returns all that it saw.
func (c *stock) ended(t *testing.T) []report {
	t.Helper()
	over := make(chan struct{})
	go func() {
		c.await("close")
		close(over)
	}()
	within(t, patience, "the client's being told", over)
	return c.saw()
}

// start opens a client that need not come to be open.
func (d *driver) start(t *testing.T, addr string, m mode, id string) *stock {
	t.Helper()
	c, err := d.open("http://"+addr, map[string]any{"transports": m.transports, "query": map[string]string{"id": id}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func refusing(status int) func(t *testing.T, d *driver, m mode) []report {
	return func(t *testing.T, d *driver, m mode) []report {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "login=needed; Path=/")
			w.WriteHeader(status)
			fmt.Fprint(w, "no entry")
		}))
		t.Cleanup(s.Close)
		addr := bootEngine(t, s.Listener.Addr().String(), patientEngine)
		resp, err := http.Get("http://" + addr + "/engine.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Set-Cookie"); resp.StatusCode != status || got != "login=needed; Path=/" {
			t.Errorf("the handshake got %d, cookie %q; want the backend's", resp.StatusCode, got)
		}
		return d.start(t, addr, m, "s").ended(t)
	}
}

func unreachable(t *testing.T, d *driver, m mode) []report {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	back := newLink(t, ln.Addr().String())
	back.Refuse()
	return d.start(t, bootEngine(t, back.Addr(), patientEngine), m, "s").ended(t)
}

func dies(t *testing.T, d *driver, m mode) []report {
	b := startNode(t)
	c := d.start(t, bootEngine(t, b.addr, patientEngine), m, "s")
	c.settled(t, m)
	start := time.Now()
	b.cmd.Process.Kill()
	seen := c.ended(t)
	if took := time.Since(start); took > time.Second {
		t.Errorf("told after %v", took)
	}
	return seen
}

// settled waits until the client is open, and on its last transport.
func (c *stock) settled(t *testing.T, m mode) {
	t.Helper()
	what := "open"
	if m.name == "upgrading" {
		what = "upgrade"
	}
	got := make(chan report, 1)
	go func() {
		r, _ := c.await(what)
		got <- r
	}()
	if r := within(t, patience, what, got); r.What != what {
		t.Fatalf("the client reported %v; want %s", r, what)
	}
}

// slow has a backend that reads nothing: the client is held back, and told in the end.
func slow(t *testing.T, d *driver, m mode) []report {
	r := newEngineRig(t, overStock(d, m, ""), patientEngine+"limits: {write_timeout: 500ms}\n")
	k := r.open(t, "s", 0)
	c := k.client.line.(*stock)
	c.settled(t, m)
	k.exchange(t, 5, 100)
	r.back.Set(faultlink.Up, faultlink.Fault{Stall: true})
	start := time.Now()
	k.client.offer(250, 40_000)
	seen := c.ended(t)
	if took := time.Since(start); took < 500*time.Millisecond || took > 5*time.Second {
		t.Errorf("told after %v; want write_timeout, or a few of them while the kernel still took something", took)
	}
	return seen
}

// drains has a delay, in which a client that is between two polls may come back.
func drains(t *testing.T, d *driver, m mode) []report {
	a := serveArrivals(t)
	p := startProgram(t, a.addr, patientEngine+"drain: {delay: 500ms, for: 1s}\n")
	c := d.start(t, p.addr, m, "s")
	c.settled(t, m)
	b := within(t, patience, "the backend's end", a.of("s"))
	defer b.Close()
	p.signal(t, syscall.SIGTERM)
	if _, _, err := b.ReadMessage(); !websocket.IsCloseError(err, 1001) {
		t.Errorf("the backend got %v; want 1001", err)
	}
	b.Close()
	seen := c.ended(t)
	if got := p.exit(t, patience); got != 0 {
		t.Errorf("exit code %d; want 0", got)
	}
	return seen
}

// expires: what the client sends comes late, its pong too, and the session has been
// given up by then.
func expires(t *testing.T, d *driver, m mode) []report {
	for try := 1; ; try++ {
		seen := lose(t, d, m, faultlink.Up, faultlink.Fault{Stall: true})
		last := seen[len(seen)-1]
		if m.name == "polling" && last.Reason == "ping timeout" && try < 5 {
			continue // its poll was late, too: there was nothing to carry the ping
		}
		for i, r := range seen {
			if r.Message == "xhr post error" { // its poll and its pong are late: one is answered first
				seen[i].Message = "xhr poll error"
			}
		}
		return seen
	}
}

// vanishes: nothing arrives any more, and the client gives up by itself.
func vanishes(t *testing.T, d *driver, m mode) []report {
	return lose(t, d, m, faultlink.Both, faultlink.Fault{Blackhole: true})
}

func lose(t *testing.T, d *driver, m mode, ways faultlink.Dir, f faultlink.Fault) []report {
	// The client hears the last ping, so it waits longer than the server by interval.
	r := newEngineRig(t, overStock(d, m, ""), engineSettings(1500*time.Millisecond, 300*time.Millisecond))
	k := r.open(t, "s", 0)
	c := k.client.line.(*stock)
	c.settled(t, m)
	k.exchange(t, 5, 100)
	start := time.Now()
	r.front.Set(ways, f)
	within(t, patience, "the backend's being told", k.backend.ended)
	if took := k.backend.at.Sub(start); took > 3*time.Second || k.backend.code() != 1001 {
		t.Errorf("the backend got %v after %v; want 1001 after interval + timeout and little more", k.backend.err, took)
	}
	r.front.Set(faultlink.Both, faultlink.Fault{}) // too late
	seen := c.ended(t)
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("the client was told after %v; want interval + timeout and little more", took)
	}
	return seen
}

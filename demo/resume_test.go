package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/client/resumable"
	"sidecar/config"
	"sidecar/server"
)

// A hardship is a sidecar with one thing wrong, with its backend or with what is before
// it, and which checks must notice: all but those whose names have an end in passes.
type hardship struct {
	name     string
	settings string
	echo     http.HandlerFunc // nil: the Backend's
	front    func(next http.Handler) http.HandlerFunc
	passes   []string
}

const slowOpening = opensIn + time.Second

var hardships = []hardship{
	{name: "messages altered", echo: echoing(func(c *websocket.Conn, kind int, p []byte) error {
		return c.WriteMessage(kind, bytes.ToUpper(p))
	})},
	{name: "one lost", echo: echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if string(p) == "spoken 7" {
			return nil
		}
		return c.WriteMessage(kind, p)
	}), passes: []string{"at all"}},
	{name: "one doubled", echo: echoing(func(c *websocket.Conn, kind int, p []byte) error {
		if string(p) == "spoken 7" {
			c.WriteMessage(kind, p)
		}
		return c.WriteMessage(kind, p)
	}), passes: []string{"at all"}},
	{name: "two exchanged", echo: exchanging("spoken 7"), passes: []string{"at all"}},

	{name: "sessions bound to their connection", settings: "session: {identity: [X-Connection]}\n",
		front: func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("X-Connection", r.RemoteAddr)
				next.ServeHTTP(w, r)
			}
		}, passes: []string{"websocket stalled"}},
	// A poll that was held when all went silent would be held to its end: it is here.
	{name: "connections that are given up when silent", settings: "session: {ttl: 700ms}\n" +
		"heartbeat: {interval: 500ms, timeout: 500ms}\nresume: {poll: 1s}\n",
		passes: []string{"cut", "at all"}},

	{name: "no WebSockets of sessions", front: refusing(func(r *http.Request) bool {
		return strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), "sidecar.")
	}), passes: []string{"stream cut", "stream blocked", "stream stalled", "poll cut", "poll blocked", "poll stalled", "at all"}},
	{name: "no streams", front: refusing(func(r *http.Request) bool { return strings.HasSuffix(r.URL.RawQuery, "sidecar=stream") }),
		passes: []string{"websocket cut", "websocket blocked", "websocket stalled", "poll cut", "poll blocked", "poll stalled", "at all"}},
	{name: "no polls", front: refusing(func(r *http.Request) bool { return strings.HasSuffix(r.URL.RawQuery, "sidecar=poll") }),
		passes: []string{"websocket cut", "websocket blocked", "websocket stalled", "stream cut", "stream blocked", "stream stalled", "at all"}},
	{name: "slow to open without WebSocket", front: func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.RawQuery, "blocked") {
				_ = pause(r.Context(), slowOpening)
			}
			next.ServeHTTP(w, r)
		}
	}, passes: []string{"cut", "blocked", "stalled"}},
}

// refusing answers what is chosen as a server that is no sidecar would.
func refusing(chosen func(*http.Request) bool) func(http.Handler) http.HandlerFunc {
	return func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if chosen(r) {
				http.Error(w, "not here", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
}

// fails are the checks that must notice h.
func (h hardship) fails() (names []string) {
	for _, c := range resumptions {
		if !slices.ContainsFunc(h.passes, func(end string) bool { return strings.HasSuffix(c.name, " "+end) }) {
			names = append(names, c.name)
		}
	}
	return names
}

// start runs a sidecar with h until the test ends, and returns its address.
func (h hardship) start(t *testing.T) string {
	mux := http.NewServeMux()
	mux.Handle("/", Backend())
	if h.echo != nil {
		mux.HandleFunc("/echo", h.echo)
	}
	back := httptest.NewServer(mux)
	t.Cleanup(back.Close)
	text := fmt.Sprintf("listen: \"127.0.0.1:0\"\nops: {listen: off}\nlog: {level: error}\nupstream: ws://%s\n%s",
		back.Listener.Addr(), h.settings)
	c, err := config.Parse("demo", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Environment{Stderr: io.Discard}.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() { s.Close(); <-ended })
	base := &url.URL{Scheme: "http", Host: s.Addrs()[0].String()}
	if h.front == nil {
		return base.String()
	}
	front := httptest.NewServer(h.front(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			r.Out.Host = r.In.Host
			// Where an answer comes before the end of the body was read, net/http closes
			// the body, which fails the request: the end is here before that.
			whole, err := io.ReadAll(r.In.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			r.Out.Body = io.NopCloser(bytes.NewReader(whole))
		},
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) {}, // cuts are what is tested
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// TestResumptionsNotice is as TestChecksNotice, with a network and its time. That a
// sidecar with nothing wrong passes is for the test of the command.
func TestResumptionsNotice(t *testing.T) {
	noticed := map[string]bool{}
	for _, h := range hardships {
		for _, name := range h.fails() {
			noticed[name] = true
		}
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			base := h.start(t)
			var table strings.Builder
			ok := run(t.Context(), &table, base, new(net.Dialer).DialContext, nil, resumptions)
			if got, want := failures(t, resumptions, table.String()), h.fails(); ok || !slices.Equal(got, want) {
				t.Errorf("passed: %v, failed: %q; want %q\n%s", ok, got, want, table.String())
			}
		})
	}
	for _, c := range resumptions {
		if !noticed[c.name] {
			t.Errorf("nothing makes %q fail", c.name)
		}
	}
}

// A fault that does not come about is no proof of anything.
func TestFaultsMustHappen(t *testing.T) {
	for want, f := range map[string]fault{
		"no connection was cut": cut, "websocket where all is blocked": block, "messages came where no byte did": stall,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			to, err := newTarget(hardship{}.start(t), new(net.Dialer).DialContext)
			if err != nil {
				t.Fatal(err)
			}
			defer to.close()
			s, err := to.resume(t.Context(), newLink(to.dial), "/echo", resumable.WebSocket)
			if err != nil {
				t.Fatal(err)
			}
			real := s.link
			defer func() { s.link = real; s.end(true) }()
			s.link = newLink(to.dial)
			k := newTalk(s)
			if _, err := k.during(t.Context(), f); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v; want %q", err, want)
			}
		})
	}
}

// What fails leaves nothing behind, and soon: its goodbyes have a second.
func TestResumptionsStopWithTheirContext(t *testing.T) {
	base := hardship{}.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // amid most faults
	defer cancel()
	start := time.Now()
	var table strings.Builder
	if run(ctx, &table, base, new(net.Dialer).DialContext, nil, resumptions) {
		t.Error("all passed although there was no time")
	}
	if got := len(failures(t, resumptions, table.String())); got < 6 {
		t.Errorf("%d failed; want at least those blocked and stalled\n%s", got, table.String())
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v; want about 2s", took)
	}
}

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The two versions of the stock client.
var stockPackages = []string{"engine.io-client", "engine.io-client-old"}

// A driver has stock Engine.IO clients, in Node or in a page, do as it says.
type driver struct {
	ws      *websocket.Conn
	sending sync.Mutex
	mu      sync.Mutex
	clients []*stock
	version string // of the browser, if it is one
}

// A stock is one stock client. It is a line.
type stock struct {
	d    *driver
	n    int
	mu   sync.Mutex
	wake sync.Cond
	seen []report // what there was but for messages
	in   []report // messages nobody has read
	got  int      // messages in all
	over bool     // closed
}

// A report is what a client saw. See node/obey.mjs.
type report struct {
	N                          int
	What, Transport            string
	Text, Bytes                *string
	Reason, Message, Body, Why string
	Status, Code               *int
	Got                        int `json:"-"` // how many messages came before
}

// String is a report as the notes quote it.
func (r report) String() string {
	s := r.What
	for _, part := range []string{r.Reason, r.Message, r.Why} {
		if part != "" {
			s += fmt.Sprintf(" %q", part)
		}
	}
	if r.Status != nil {
		s += fmt.Sprintf(" status %d", *r.Status)
	}
	if r.Body != "" {
		s += fmt.Sprintf(" body %q", r.Body)
	}
	if r.Code != nil {
		s += fmt.Sprintf(" code %d", *r.Code)
	}
	return s
}

// stockInNode starts a process with clients of a package.
func stockInNode(t testing.TB, pkg string) *driver {
	t.Helper()
	return drive(t, func(control string) *exec.Cmd {
		return exec.Command(need(t, "node"), filepath.Join("node", "engine.mjs"), pkg, control)
	})
}

// stockInChromium opens a page of the server at addr with clients of a package.
func stockInChromium(t testing.TB, pkg, addr string) *driver {
	t.Helper()
	path, profile := need(t, "chromium"), t.TempDir()
	return drive(t, func(control string) *exec.Cmd {
		page := "http://" + addr + "/engine.html?" + url.Values{"package": {pkg}, "control": {control}}.Encode()
		return exec.Command(need(t, "node"), filepath.Join("node", "browser.mjs"), path, page, profile, "window.over")
	})
}

// drive starts what is to connect to a control URL, and ends it with the test.
func drive(t testing.TB, command func(control string) *exec.Cmd) *driver {
	t.Helper()
	arrived := make(chan *websocket.Conn, 1)
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			arrived <- c
		}
	}))
	t.Cleanup(s.Close)
	cmd := command(strings.Replace(s.URL, "http", "ws", 1))
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { end(cmd, ended); complain(t, log) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	select {
	case ws := <-arrived:
		d := &driver{ws: ws}
		t.Cleanup(func() { ws.Close() })
		go d.listen()
		return d
	case <-ended:
		t.Fatalf("the clients ended at once: %s", log)
	case <-ctx.Done():
		t.Fatalf("the clients did not come: %s", log)
	}
	panic("unreachable")
}

// end gives a process whose control is closed a while to end by itself: killed, it
// would leave its browser behind.
func end(cmd *exec.Cmd, ended <-chan struct{}) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		cmd.Process.Kill()
		<-ended
	}
}

func complain(t testing.TB, log *output) {
	if t.Failed() && log.String() != "" {
		t.Logf("the clients said:\n%s", tail(log.String(), 20))
	}
}

func (d *driver) listen() {
	for {
		_, b, err := d.ws.ReadMessage()
		var r report
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		d.mu.Lock()
		clients := d.clients
		d.mu.Unlock()
		if err != nil {
			for _, c := range clients {
				c.hear(report{What: "close", Reason: "the driver is gone", Message: err.Error()})
			}
			return
		}
		clients[r.N].hear(r)
	}
}

func (d *driver) tell(command map[string]any) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	return d.ws.WriteJSON(command)
}

// open starts a client that asks url, with options as in the package's manual.
func (d *driver) open(url string, options map[string]any) (*stock, error) {
	d.mu.Lock()
	c := &stock{d: d, n: len(d.clients)}
	c.wake.L = &c.mu
	d.clients = append(d.clients, c)
	d.mu.Unlock()
	return c, d.tell(map[string]any{"do": "open", "n": c.n, "url": url, "options": options})
}

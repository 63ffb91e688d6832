package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/client/resumable"
)

// A line is a session with the echoing backend. Who uses it sends a message and waits
// for it to come back.
type line interface {
	echo(text string) error
	// carriers is how many network connections it has had so far.
	carriers() int64
	close()
}

// A route is how a client gets to the sidecar at addr under the name that its TLS is
// for, and counts its connections.
type route struct {
	addr, name string
	tls        *tls.Config
	dials      atomic.Int64
}

func (r *route) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	r.dials.Add(1)
	return (&net.Dialer{Timeout: patience}).DialContext(ctx, network, r.addr)
}

func (r *route) carriers() int64 { return r.dials.Load() }

// A socket is a plain WebSocket.
type socket struct {
	*route
	c *websocket.Conn
}

func openSocket(r *route) (line, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, NetDialContext: r.dial, TLSClientConfig: r.tls}
	c, _, err := d.Dial("wss://"+r.name+"/", nil)
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	return &socket{r, c}, nil
}

func (s *socket) echo(text string) error {
	_ = s.c.SetReadDeadline(time.Now().Add(patience))
	if err := s.c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return err
	}
	_, b, err := s.c.ReadMessage()
	if err == nil && string(b) != text {
		err = fmt.Errorf("got %q; want %q", b, text)
	}
	return err
}

func (s *socket) close() { s.c.Close() }

// A poller is an Engine.IO client that polls. It has one connection to poll over and
// one to post over, and opens another only where one was cut.
type poller struct {
	*route
	get, post *http.Client
	url       string
	got       []string // messages not yet asked for
	waits     sync.WaitGroup
}

// client makes requests one after the other over one connection.
func (r *route) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: r.dial, TLSClientConfig: r.tls.Clone(), MaxConnsPerHost: 1}}
}

func openPoller(r *route) (line, error) {
	p := &poller{route: r, url: "https://" + r.name + "/engine.io/?EIO=4&transport=polling"}
	p.get, p.post = r.client(), r.client()
	b, err := p.ask(http.MethodGet, "")
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	var hello struct{ SID string }
	if err := json.Unmarshal(bytes.TrimPrefix(b, []byte("0")), &hello); err != nil {
		return nil, fmt.Errorf("reading %q: %w", b, err)
	}
	p.url += "&sid=" + hello.SID
	return p, nil
}

func (p *poller) ask(method, body string) ([]byte, error) {
	req, err := http.NewRequest(method, p.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	by := p.get
	if method == http.MethodPost {
		by = p.post
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := by.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %q", resp.StatusCode, b)
	}
	return b, err
}

// echo posts the message while a poll waits for it, as stock clients do.
func (p *poller) echo(text string) error {
	posted := make(chan error, 1)
	p.waits.Go(func() {
		_, err := p.ask(http.MethodPost, "4"+text)
		posted <- err
	})
	err := p.await(text)
	if first := <-posted; first != nil {
		return first
	}
	return err
}

func (p *poller) await(text string) error {
	for len(p.got) == 0 {
		b, err := p.ask(http.MethodGet, "")
		if err != nil {
			return err
		}
		if err := p.take(string(b)); err != nil {
			return err
		}
	}
	first := p.got[0]
	p.got = p.got[1:]
	if first != text {
		return fmt.Errorf("got %q; want %q", first, text)
	}
	return nil
}

// take sorts the packets of one answer, and answers a ping.
func (p *poller) take(payload string) error {
	for packet := range strings.SplitSeq(payload, "\x1e") {
		switch {
		case strings.HasPrefix(packet, "4"):
			p.got = append(p.got, packet[1:])
		case packet == "2":
			if _, err := p.ask(http.MethodPost, "3"); err != nil {
				return err
			}
		case packet != "6":
			return fmt.Errorf("got the packet %q", packet)
		}
	}
	return nil
}

func (p *poller) close() {
	_, _ = p.ask(http.MethodPost, "1")
	p.waits.Wait()
	p.get.CloseIdleConnections()
	p.post.CloseIdleConnections()
}

// A session is a resumable one.
type session struct {
	*route
	c *resumable.Conn
}

// openResumable opens one that may use a transport only.
func openResumable(via resumable.Transport) func(r *route) (line, error) {
	return func(r *route) (line, error) {
		c, err := resumable.Dial(context.Background(), "wss://"+r.name+"/", &resumable.Options{
			DialContext: r.dial, TLS: r.tls, Transports: []resumable.Transport{via},
		})
		if err != nil {
			return nil, fmt.Errorf("opening a resumable session: %w", err)
		}
		return &session{r, c}, nil
	}
}

func (s *session) echo(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.c.Write(ctx, resumable.Text, []byte(text)); err != nil {
		return err
	}
	_, b, err := s.c.Read(ctx)
	if err == nil && string(b) != text {
		err = fmt.Errorf("got %q; want %q", b, text)
	}
	return err
}

func (s *session) close() { _ = s.c.CloseNow() }

// speaking makes a sidecar speak all that kinds are of.
const speaking = "protocols: [websocket, resume, engineio, http]\n"

// kinds are all ways to speak to the sidecar that tests have.
var kinds = []struct {
	name string
	open func(*route) (line, error)
}{
	{"websocket", openSocket},
	{"engine.io polling", openPoller},
	{"resumable on websocket", openResumable(resumable.WebSocket)},
	{"resumable on stream", openResumable(resumable.Stream)},
	{"resumable on poll", openResumable(resumable.Poll)},
}

// A crowd is one client of each kind, which all speak until they are told to stop.
type crowd struct {
	stop    chan struct{}
	talkers []*talker
}

// A talker is one of them. Its fields are its own until it has ended.
type talker struct {
	kind  string
	line  line
	first int64 // connections at the start
	sent  int
	ended chan error
}

// gather opens one line of each kind to the sidecar at addr, and has each send a
// message ten times a second.
func gather(t testing.TB, addr, name string, tls *tls.Config) *crowd {
	t.Helper()
	c := &crowd{stop: make(chan struct{})}
	for _, k := range kinds {
		l, err := k.open(&route{addr: addr, name: name, tls: tls})
		if err == nil {
			err = l.echo("first")
		}
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		one := &talker{kind: k.name, line: l, first: l.carriers(), ended: make(chan error, 1)}
		c.talkers = append(c.talkers, one)
		go func() { one.ended <- one.talk(c.stop) }()
	}
	return c
}

func (k *talker) talk(stop <-chan struct{}) error {
	defer k.line.close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := k.line.echo(fmt.Sprintf("message %d", k.sent)); err != nil {
				return fmt.Errorf("behind %d messages: %w", k.sent, err)
			}
			k.sent++
		case <-stop:
			return nil
		}
	}
}

// leave ends the talking. Every message must have come back, in order, over the
// connections that were there at the start.
func (c *crowd) leave(t testing.TB) {
	t.Helper()
	close(c.stop)
	for _, k := range c.talkers {
		if err := <-k.ended; err != nil {
			t.Errorf("%s: %v", k.kind, err)
		}
		more := k.line.carriers() - k.first
		t.Logf("%s: %d messages came back, %d new connections", k.kind, k.sent, more)
		if more > 0 || k.sent == 0 {
			t.Errorf("%s: %d new connections, %d messages; want none, and some", k.kind, more, k.sent)
		}
	}
}

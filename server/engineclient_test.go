package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An engineClient is a client of Engine.IO that polls, by an http.Client of its own.
type engineClient struct {
	t    *testing.T
	base string // up to the path, with the slash at its end
	sid  string
	http *http.Client
}

// engine makes one for a path; it has not asked for anything yet.
func (s *running) engine(path string) *engineClient {
	c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	s.t.Cleanup(c.CloseIdleConnections)
	return &engineClient{t: s.t, base: "http://" + s.addr() + path, http: c}
}

// ask is one request; more goes behind the protocol's own parameters.
func (p *engineClient) ask(method, more, body string) (*http.Response, string) {
	p.t.Helper()
	res, b, err := p.try(p.t.Context(), method, more, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, b
}

func (p *engineClient) try(ctx context.Context, method, more, body string) (*http.Response, string, error) {
	url := p.base + "?EIO=4&transport=polling" + more
	if p.sid != "" {
		url += "&sid=" + p.sid
	}
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	res, err := p.http.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// open shakes hands, and returns what the server said of itself.
func (p *engineClient) open(more string) (said struct {
	Sid                       string
	Upgrades                  []string
	PingInterval, PingTimeout int
	MaxPayload                int
}) {
	p.t.Helper()
	res, body := p.ask("GET", more, "")
	first, _, _ := strings.Cut(body, "\x1e")
	rest, ok := strings.CutPrefix(first, "0")
	if err := json.Unmarshal([]byte(rest), &said); !ok || res.StatusCode != http.StatusOK || err != nil || said.Sid == "" {
		p.t.Fatalf("handshake: %d %q", res.StatusCode, body)
	}
	p.sid = said.Sid
	return said
}

// post sends a payload that is to be taken.
func (p *engineClient) post(payload string) {
	p.t.Helper()
	if res, body := p.ask("POST", "", payload); res.StatusCode != http.StatusOK || body != "ok" {
		p.t.Fatalf("POST: %d %q; want ok", res.StatusCode, body)
	}
}

// get polls until there is a payload that is no ping, whose pong it sends.
func (p *engineClient) get() string {
	p.t.Helper()
	for {
		res, body := p.ask("GET", "", "")
		if res.StatusCode != http.StatusOK {
			p.t.Fatalf("GET: %d %q", res.StatusCode, body)
		}
		if body != "2" {
			return body
		}
		p.post("3")
	}
}

// echoes sends a text and waits for it to come back.
func (p *engineClient) echoes(text string) {
	p.t.Helper()
	p.post("4" + text)
	if got, want := p.get(), "4"+text; got != want {
		p.t.Fatalf("echo: %q; want %q", got, want)
	}
}

// park begins a poll that is to be held, and returns how it will end.
func (p *engineClient) park() <-chan string {
	p.t.Helper()
	ended := make(chan string, 1)
	go func() {
		res, body, err := p.try(p.t.Context(), "GET", "", "")
		if err != nil {
			ended <- err.Error()
			return
		}
		ended <- fmt.Sprintf("%d %s", res.StatusCode, body)
	}()
	return ended
}

// within is how a held poll ended.
func within(t *testing.T, ended <-chan string) string {
	t.Helper()
	select {
	case how := <-ended:
		return how
	case <-time.After(patience):
		t.Fatalf("a poll was held for more than %v", patience)
		return ""
	}
}

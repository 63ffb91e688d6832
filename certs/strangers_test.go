package certs

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever a stranger says the name is: what is no name of a host asks nobody, orders
// nothing, makes no file, and counts as nobody's fault.
func TestStrangersNames(t *testing.T) {
	url, roots, ordered := silent(t)
	var asked atomic.Int32
	oracle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer oracle.Close()
	dir := t.TempDir()
	var told counted
	var said notes
	c, err := Environment{Log: said.log(), Failed: told.failed}.Start(acmeSettings(func(s *Settings) {
		s.Domains, s.Storage, s.CA, s.CARoots, s.OnDemand.Ask = nil, dir, url, roots, oracle.URL
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Begin()
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5)
	for _, name := range []string{
		"", ".", "1.2.3.4", "::1", "[::1]", "a.1", "*.a.example", "*", "a..b", "-a.example", "a b.example", "a/../b", "../../etc/passwd",
		"a.example:443", "ü.example", "a\x00.example", "a\r\nb.example", strings.Repeat("a", 64) + ".example",
		long + "b", strings.Repeat("a.", 127), strings.Repeat("a.", 40000), "a.example..",
	} {
		for _, protos := range [][]string{nil, {"h2"}, {acmeTLS}} {
			if got, err := c.get(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protos}); got != nil || err != nil {
				t.Errorf("%.40q with %v: got %v, %v; want neither, for the alert unrecognized_name", name, protos, got, err)
			}
		}
		if c.Serves(name) {
			t.Errorf("%.40q: a request is redirected", name)
		}
		r := httptest.NewRequest("GET", "/.well-known/acme-challenge/x", nil)
		r.Host = name
		if w := httptest.NewRecorder(); c.Challenge(w, r) {
			t.Errorf("%.40q: a challenge is answered with %d %q", name, w.Code, w.Body)
		}
	}
	if asked.Load() > 0 || len(ordered) > 0 || len(told.stages) > 0 || said.lines("") > 0 {
		t.Errorf("asked %d times, %d requests to the authority, told of %v, %d lines; want nothing", asked.Load(), len(ordered), told.stages, said.lines(""))
	}
	if found, err := os.ReadDir(dir); len(found) > 0 || err != nil {
		t.Errorf("%v in storage, %v", found, err)
	}
	for _, name := range []string{"A.Example", "a.example.", "a.example", "xn--bcher-kva.example", "a_b.example", long[:maxName-len(".example")] + ".example"} {
		if got, err := c.get(&tls.ClientHelloInfo{ServerName: name}); got != nil || err != nil {
			t.Errorf("%q: got %v, %v; want neither, since it is refused", name, got, err)
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("asked %d times about four names", n)
	}
}

// The challenge's protocol gets a stranger nothing: no certificate, no file, no fault.
func TestStrangersAskForTheChallengesCertificate(t *testing.T) {
	url, roots, ordered := silent(t)
	dir := t.TempDir()
	var told counted
	var said notes
	c, err := Environment{Log: said.log(), Failed: told.failed}.Start(acmeSettings(func(s *Settings) {
		s.Storage, s.CA, s.CARoots, s.OnDemand.Allow = dir, url, roots, []string{"*.demand.example"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Begin()
	<-ordered // for a.example, and hangs
	before := said.lines("")
	for _, name := range []string{"a.example", "A.EXAMPLE", "x.demand.example"} {
		if got, err := c.get(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{acmeTLS}, Conn: fakeConn{}}); got != nil && len(got.Certificate) > 0 || err == nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if n := said.lines("") - before; n > 0 || len(told.stages) > 0 {
		t.Errorf("%d lines, told of %v; want nothing", n, told.stages)
	}
	if locks, err := filepath.Glob(filepath.Join(dir, "*", "*demand*")); len(locks) > 0 || err != nil {
		t.Errorf("files of a stranger's name: %q, %v", locks, err)
	}
}

// A fakeConn has addresses, and nothing else.
type fakeConn struct{ net.Conn }

func (fakeConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }
func (fakeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// Whoever is asked may say whatever it likes for as long as it likes: its status counts,
// and it has a second.
func TestAskersThatAreStrange(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name := r.URL.Query().Get("domain"); name {
		case "endless.example":
			for err := error(nil); err == nil; {
				_, err = io.WriteString(w, strings.Repeat("x", 1<<16))
			}
		case "drip.example":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-over
		case "head.example":
			for i := range 1000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		case "mute.example":
			<-over
		}
	}))
	defer s.Close()
	defer close(over)
	g := newGate(t.Context(), OnDemand{Ask: s.URL}, func(string) {})
	defer g.close()
	for name, allowed := range map[string]bool{"endless.example": true, "drip.example": true, "head.example": false, "mute.example": false} {
		start := time.Now()
		err := g.judge(t.Context(), name)
		if took := time.Since(start); (err == nil) != allowed || took > 3*askTime {
			t.Errorf("%s: %v after %v; want allowed %v within a second", name, err, took, allowed)
		}
	}
}

// A reload that changes nothing on demand asks nobody again.
func TestReloadKeepsVerdicts(t *testing.T) {
	a := &asker{}
	a.status.Store(http.StatusForbidden)
	s := httptest.NewServer(a)
	defer s.Close()
	set := internalSettings("a.example")
	set.OnDemand.Ask = s.URL
	dir := t.TempDir()
	m, err := manage(set, Environment{Log: slog.New(slog.DiscardHandler)}.withDefaults(), newShelf(dir, slog.New(slog.DiscardHandler)), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 3 {
		if m.Serves("x.example") {
			t.Error("it is served")
		}
		m.adopt(set)
	}
	if n := a.asked.Load(); n != 1 {
		t.Errorf("asked %d times; want once", n)
	}
	set.OnDemand.Allow = []string{"*.example"}
	m.adopt(set)
	if m.Serves("x.example") || a.asked.Load() != 2 {
		t.Errorf("after a change asked %d times; want twice", a.asked.Load())
	}
}

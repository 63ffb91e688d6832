package server

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sidecar/certs"
	"sidecar/test/authority"
)

// reauth puts another client_auth in force.
func (i *identified) reauth(change func(*certs.ClientAuth)) {
	i.t.Helper()
	c := i.boot
	change(&c.TLS.ClientAuth)
	if err := i.Reload(c); err != nil {
		i.t.Fatal(err)
	}
	if strings.Contains(i.log.String(), "need a restart") {
		i.t.Errorf("it asks for a restart:\n%s", i.log)
	}
}

// page asks for a page over HTTP/2, and returns the status and what the backend heard.
func (c *caller) page() (status int, heard string) {
	c.t.Helper()
	status, text, err := get1(c, true)
	if err != nil {
		return 0, err.Error()
	}
	if status == http.StatusOK {
		return status, c.backend.saw()
	}
	return status, text
}

// A connection that lives gets no further than a new one would, and its client may
// make a new one.
func TestNewRootsCountForLiveConnections(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	others := authority.Named(t, "others")
	alice, bob := i.caller(i.clients.Client(t, "alice")), i.caller(others.Client(t, "bob"))
	if status, heard := alice.page(); status != 200 || heard != "X-Client-Subject: CN=alice" {
		t.Fatalf("alice: %d, %q", status, heard)
	}
	if status, _ := bob.page(); status != 0 {
		t.Fatalf("bob is let in: %d", status)
	}
	live := i.dialWith(alice)
	file := authority.Roots(t, others)
	i.reauth(func(a *certs.ClientAuth) { a.CA = file })
	if status, text := alice.page(); status != http.StatusMisdirectedRequest || !strings.Contains(text, "certificate") {
		t.Errorf("alice, on the connection of before: %d %q; want 421", status, text)
	}
	if status, heard := alice.page(); status != 0 {
		t.Errorf("alice, on a new connection: %d %q; want no handshake", status, heard)
	}
	if status, heard := bob.page(); status != 200 || heard != "X-Client-Subject: CN=bob" {
		t.Errorf("bob: %d, %q", status, heard)
	}
	echoes(t, live, "a WebSocket goes on")
	i.reauth(func(*certs.ClientAuth) {})
	if status, heard := alice.page(); status != 200 || heard != "X-Client-Subject: CN=alice" {
		t.Errorf("alice, with the roots of before: %d, %q", status, heard)
	}
	if _, text := i.opsGet("/metrics"); !strings.Contains(text, `sidecar_requests_refused_total{reason="certificate"} 1`) {
		t.Error("the request that was refused is not counted")
	}
}

func TestReloadsOfClientAuth(t *testing.T) {
	i := startIdentified(t, Environment{}, "request")
	alice, nobody := i.caller(i.clients.Client(t, "alice")), i.caller()
	check := func(when string, c *caller, status int, heard string) {
		t.Helper()
		if s, h := c.page(); s != status || status == 200 && h != heard {
			t.Errorf("%s: %d, %q; want %d, %q", when, s, h, status, heard)
		}
	}
	check("request", alice, 200, "X-Client-Subject: CN=alice")
	check("request", nobody, 200, "")
	i.reauth(func(a *certs.ClientAuth) { a.Mode = "require" })
	check("require", alice, 200, "X-Client-Subject: CN=alice")
	check("require, on a connection of before", nobody, 421, "")
	check("require, on a new one", nobody, 0, "")
	i.reauth(func(a *certs.ClientAuth) { a.Header = "X-Other" })
	if _, _, err := get1(alice, true); err != nil {
		t.Fatal(err)
	}
	if h := <-i.backend.asked; h.Get("X-Other") != "CN=alice" {
		t.Errorf("another header: the backend was told %q", h)
	}
	i.reauth(func(a *certs.ClientAuth) { *a = certs.Default().ClientAuth })
	if s, _, err := get1(nobody, true); err != nil || s != 200 {
		t.Errorf("not asked any more: %d, %v", s, err)
	}
	<-i.backend.asked
	i.reauth(func(a *certs.ClientAuth) { a.Mode = "require" })
	check("asked again, on a connection of before", nobody, 421, "")
}

// What cannot be used changes nothing; a mode that waits for a restart takes nobody's
// certificate off meanwhile.
func TestFaultyReloadsOfClientAuth(t *testing.T) {
	i := startIdentified(t, Environment{}, "require")
	alice, nobody := i.caller(i.clients.Client(t, "alice")), i.caller()
	if err := os.WriteFile(i.roots, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.Reload(i.boot); err == nil || !strings.Contains(err.Error(), "reloading: tls.client_auth.ca: ") {
		t.Errorf("a faulty file: %v", err)
	}
	if err := Check(i.boot); err == nil || !strings.Contains(err.Error(), "tls.client_auth.ca: ") {
		t.Errorf("Check of a faulty file: %v", err)
	}
	off := i.boot
	off.TLS = certs.Default()
	if err := i.Reload(off); err != nil {
		t.Fatal(err)
	}
	if s, heard := alice.page(); s != 200 || heard != "X-Client-Subject: CN=alice" {
		t.Errorf("alice: %d, %q", s, heard)
	}
	if s, heard := nobody.page(); s != 0 {
		t.Errorf("nobody: %d, %q; want no handshake", s, heard)
	}
}

// Where the sidecar has made its own certificate, too.
func TestClientAuthWithModeInternal(t *testing.T) {
	i := &identified{clients: authority.New(t), backend: newWitness(t)}
	c := parse(t, "upstream: %s", i.backend.ws())
	c.TLS.ClientAuth.CA = authority.Roots(t, i.clients)
	i.secured = startInternal(t, Environment{}, c)
	if status, heard := i.caller(i.clients.Client(t, "alice")).page(); status != 200 || heard != "X-Client-Subject: CN=alice" {
		t.Errorf("alice: %d, %q", status, heard)
	}
	if status, _ := i.caller().page(); status != 0 {
		t.Errorf("nobody: %d; want no handshake", status)
	}
}

// Once a root has expired, all its clients are refused: somebody must be able to know
// beforehand.
func TestTheEndOfRootsIsShown(t *testing.T) {
	i := startIdentified(t, Environment{}, "request")
	shown := func(when, want string) {
		t.Helper()
		_, text := i.opsGet("/metrics")
		var got string
		for line := range strings.Lines(text) {
			if value, found := strings.CutPrefix(line, "sidecar_tls_client_roots_expiry_timestamp_seconds "); found {
				got = strings.TrimSpace(value)
			}
		}
		if got != want {
			t.Errorf("%s: %q; want %q", when, got, want)
		}
	}
	value := func(at time.Time) string { return fmt.Sprint(float64(at.Unix())) }
	shown("at first", value(i.clients.Expires()))
	sooner := i.clients.Below(t, "sooner", time.Hour)
	file := authority.Roots(t, i.clients, sooner)
	i.reauth(func(a *certs.ClientAuth) { a.CA = file })
	shown("with one that ends sooner", value(sooner.Expires()))
	i.reauth(func(a *certs.ClientAuth) { *a = certs.Default().ClientAuth })
	shown("with nobody asked", "")
}

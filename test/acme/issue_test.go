package acme

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A name gets its certificate by each challenge alone, by either where both are on, and
// by the one that works where the authority reaches one port only.
func TestIssue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, more    string
		plain, secure bool // what the authority reaches
	}{
		{"http-01 alone", ", challenges: [http-01]", true, false},
		{"tls-alpn-01 alone", ", challenges: [tls-alpn-01]", false, true},
		{"both", "", true, true},
		{"both, port 80 alone is reached", "", true, false},
		{"both, port 443 alone is reached", "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, dir := newAuthority(t, terms{}), t.TempDir()
			s := launch(t, serveEcho(t), a.settings(dir, "domains: [a.example.test]"+c.more)+speaking)
			a.leads(s)
			if !c.plain {
				a.plain.lead()
			}
			if !c.secure {
				a.secure.lead()
			}
			took := s.ready(t, patience)
			leaf := a.served(t, s, "a.example.test")
			t.Logf("ready after %v, %d orders, the authority asked %d times at port 80 and %d at 443; for %v until %v",
				took.Round(time.Millisecond), a.orders.Load(), a.plain.callers.Load(), a.secure.callers.Load(), leaf.DNSNames, leaf.NotAfter)
			if c.name == "both" && a.orders.Load() != 1 {
				t.Errorf("%d orders; want 1", a.orders.Load())
			}
			s.used(t, a, "a.example.test")
		})
	}
}

// used has a client of each kind speak over the certificate for name.
func (s *sidecar) used(t *testing.T, a *authority, name string) {
	t.Helper()
	for _, k := range kinds {
		l, err := k.open(&route{addr: s.addr, name: name, tls: a.trusting(name)})
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		if err := l.echo("over the certificate"); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		l.close()
	}
}

// Without a plain listener there is TLS-ALPN-01, and nothing is bound beside the
// listeners that were asked for.
func TestIssueWithoutPlainListener(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	settings := strings.Replace(a.settings(t.TempDir(), "domains: [a.example.test], challenges: [tls-alpn-01]"), `"127.0.0.1:0"`, "off", 1)
	s := launch(t, serveEcho(t), settings)
	a.leads(s)
	t.Logf("ready after %v", s.ready(t, patience).Round(time.Millisecond))
	a.served(t, s, "a.example.test")
}

// The plain listener redirects while it answers challenges, and to no name that is not
// ours. What asks for a challenge that there is none of gets no secret.
func TestPlainListenerRedirects(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	s := launch(t, serveEcho(t), a.settings(t.TempDir(), "domains: [a.example.test], challenges: [http-01]"))
	a.leads(s)
	s.ready(t, patience)
	for _, c := range []struct {
		host, path string
		status     int
		location   string
	}{
		{"a.example.test", "/chat?room=1", 301, "https://a.example.test/chat?room=1"},
		{"evil.example.test", "/chat", 421, ""},
		{"a.example.test", "/.well-known/acme-challenge/unknown", 301, "https://a.example.test/.well-known/acme-challenge/unknown"},
		{"evil.example.test", "/.well-known/acme-challenge/unknown", 421, ""},
	} {
		status, location := redirected(t, s.plain, c.host, c.path)
		if status != c.status || location != c.location {
			t.Errorf("%s%s: status %d, to %q; want %d and %q", c.host, c.path, status, location, c.status, c.location)
		}
	}
}

// Keys are for the program's user alone.
func TestFilesAreSecret(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, terms{}), filepath.Join(t.TempDir(), "made", "by", "it")
	s := launch(t, serveEcho(t), a.settings(dir, "domains: [a.example.test]"))
	a.leads(s)
	s.ready(t, patience)
	keys := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		t.Log(info.Mode(), strings.TrimPrefix(path, dir))
		if strings.HasSuffix(path, ".key") {
			keys++
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v; want %v", strings.TrimPrefix(path, dir), info.Mode(), want)
		}
		return nil
	})
	if err != nil || keys < 2 {
		t.Errorf("%d keys, %v; want the account's and the certificate's", keys, err)
	}
}

// The shortest sidecar.yaml, but for what keeps a test on loopback, and all that the
// program prints from nothing to a certificate that is served.
func TestFromNothing(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, terms{})
	text := fmt.Sprintf(`upstream: ws://%s
tls: {mode: acme, domains: [chat.example.test]}
`, serveEcho(t))
	cmd := exec.Command(program(t), "--config", write(t, "sidecar.yaml", text), "--listen", "127.0.0.1:0", "--ops.listen", "127.0.0.1:0",
		"--tls.http", "127.0.0.1:0", "--tls.ca", a.url, "--tls.ca_roots", a.roots, "--log.format", "json")
	cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+t.TempDir())
	start := time.Now()
	s := execute(t, cmd)
	a.leads(s)
	s.ready(t, patience)
	took := time.Since(start)
	a.served(t, s, "chat.example.test")
	s.stop(t)
	t.Logf("ready %v after the start, with\n%s\n%s", took.Round(time.Millisecond), text, s.log)
	for _, want := range []string{"ordering a certificate", "certificate obtained"} {
		if n := len(s.log.lines(`"level":"INFO"`, want, "chat.example.test")); n != 1 {
			t.Errorf("%d lines of level info say %q; want 1", n, want)
		}
	}
	if n := len(s.log.lines(`"level":"WARN"`)) + len(s.log.lines(`"level":"ERROR"`)); n > 0 {
		t.Errorf("%d warnings and errors; want none", n)
	}
}

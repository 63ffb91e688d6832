package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/certs"
	"sidecar/test/authority"
)

const day = 24 * time.Hour

// A lines is a log, line by line.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// with counts the lines that contain text.
func (l *lines) with(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// A rig is a Source over a pair of files.
type rig struct {
	*certs.Source
	t     *testing.T
	log   *lines
	ca    *authority.Authority
	files authority.Pair
}

func filesSettings(p authority.Pair) certs.Settings {
	s := certs.Default()
	s.Mode, s.Cert, s.Key = "files", []string{p.Cert}, []string{p.Key}
	return s
}

func start(t *testing.T, valid time.Duration, name string) *rig {
	t.Helper()
	r := &rig{t: t, log: &lines{}, ca: authority.New(t)}
	r.files = r.ca.Files(t, name)
	r.files.Write(t, r.ca, valid, name)
	var err error
	if r.Source, err = certs.Start(filesSettings(r.files), slog.New(slog.NewJSONHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// leaf is the certificate that a handshake gets.
func (r *rig) leaf() *x509.Certificate {
	r.t.Helper()
	c, err := r.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		r.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return leaf
}

func (r *rig) wantName(when, name string) {
	r.t.Helper()
	if got := r.leaf().DNSNames; !slices.Equal(got, []string{name}) {
		r.t.Errorf("%s: handshakes get a certificate for %v; want %s", when, got, name)
	}
}

// pass lets so much time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAChangedPairIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 90*day, "old.example")
		r.files.Write(t, r.ca, 90*day, "new.example")
		pass(10*time.Second + time.Millisecond)
		r.wantName("seen once", "old.example")
		pass(10 * time.Second)
		r.wantName("seen twice", "new.example")
		if got := r.log.with(`"msg":"certificate in use"`); got != 2 {
			t.Errorf("%d lines of certificates in use; want 2", got)
		}
		if !r.Expiry().Equal(r.leaf().NotAfter) || !r.Serves("new.example") || r.Serves("old.example") {
			t.Error("Expiry or Serves are not of the new certificate")
		}
		r.Close()
	})
}

// A file that is being written holds something else at each look.
func TestAPairIsTakenOnlyOnceItIsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 90*day, "old.example")
		for range 5 {
			r.files.Write(t, r.ca, 90*day, "new.example")
			pass(10 * time.Second)
			r.wantName("still changing", "old.example")
		}
		pass(10 * time.Second)
		r.wantName("at rest", "new.example")
		r.Close()
	})
}

func TestABadPairKeepsTheOldOne(t *testing.T) {
	cert := func(r *rig) ([]byte, []byte) { return r.ca.Issue(r.t, 90*day, "new.example") }
	for name, c := range map[string]struct {
		damage func(r *rig)
		want   string
	}{
		"only the certificate is new": {func(r *rig) {
			b, _ := cert(r)
			write(r.t, r.files.Cert, b)
		}, "does not belong to the certificate"},
		"the chain is cut": {func(r *rig) {
			b, k := cert(r)
			r.files.Put(r.t, b[:len(b)-100], k)
		}, "holds a PEM block that is not whole"},
		"the key is cut": {func(r *rig) {
			b, k := cert(r)
			r.files.Put(r.t, b, k[:len(k)-10])
		}, "holds a PEM block that is not whole"},
		"no line break before the last of the chain": {func(r *rig) {
			b, k := cert(r)
			r.files.Put(r.t, slices.Concat(b, bytes.TrimSpace(r.ca.PEM), r.ca.PEM), k)
		}, "holds a PEM block that is not whole"},
		"the chain has rubbish": {func(r *rig) {
			b, k := cert(r)
			r.files.Put(r.t, append(b, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...), k)
		}, "faulty certificate as number 3"},
		"both are empty": {func(r *rig) { r.files.Put(r.t, nil, nil) }, "holds no certificate"},
		"the key is gone": {func(r *rig) {
			if err := os.Remove(r.files.Key); err != nil {
				r.t.Fatal(err)
			}
		}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, 90*day, "old.example")
				good, goodKey := read(t, r.files.Cert), read(t, r.files.Key)
				c.damage(r)
				pass(time.Hour)
				r.wantName("damaged", "old.example")
				if n := r.log.with("cannot be used"); n != 1 || r.log.with(c.want) != 1 {
					t.Errorf("%d complaints in an hour; want one with %q:\n%s", n, c.want, &r.log.buf)
				}
				if r.Fresh() {
					t.Error("it is fresh")
				}
				r.files.Put(t, good, goodKey)
				pass(time.Minute)
				if !r.Fresh() || r.log.with("certificate in use") != 1 {
					t.Error("the old pair is back, but it is not as before")
				}
				c.damage(r)
				pass(time.Minute)
				if n := r.log.with("cannot be used"); n != 2 {
					t.Errorf("%d complaints after it broke again; want 2", n)
				}
				r.files.Write(t, r.ca, 90*day, "new.example")
				pass(time.Minute)
				r.wantName("mended", "new.example")
				r.Close()
			})
		})
	}
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// As Kubernetes changes a mounted secret: the directory behind a link is another.
func TestALinkThatTurnsIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := authority.New(t)
		one, two := ca.Files(t, "one.example"), ca.Files(t, "two.example")
		link := filepath.Join(t.TempDir(), "data")
		turn := func(to authority.Pair) {
			t.Helper()
			next := link + ".next"
			if err := os.Symlink(filepath.Dir(to.Cert), next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, link); err != nil {
				t.Fatal(err)
			}
		}
		turn(one)
		r := &rig{t: t, log: &lines{}, ca: ca, files: authority.Pair{Cert: link + "/cert.pem", Key: link + "/key.pem"}}
		var err error
		if r.Source, err = certs.Start(filesSettings(r.files), slog.New(slog.NewJSONHandler(r.log, nil))); err != nil {
			t.Fatal(err)
		}
		r.wantName("at first", "one.example")
		turn(two)
		pass(time.Minute)
		r.wantName("turned", "two.example")
		r.Close()
	})
}

func TestPrepareChangesNothingUntilUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 90*day, "old.example")
		other := r.ca.Files(t, "other.example")
		use, err := r.Prepare(filesSettings(other))
		if err != nil {
			t.Fatal(err)
		}
		r.wantName("prepared", "old.example")
		use()
		r.wantName("used", "other.example")
		r.files.Write(t, r.ca, 90*day, "nobody.example")
		pass(time.Minute)
		r.wantName("the old files changed", "other.example")
		other.Write(t, r.ca, 90*day, "renewed.example")
		pass(time.Minute)
		r.wantName("the new files changed", "renewed.example")
		if _, err := r.Prepare(filesSettings(authority.Pair{Cert: other.Cert, Key: r.files.Key})); err == nil {
			t.Error("a key of another certificate passes")
		}
		r.wantName("a faulty reload", "renewed.example")
		r.Close()
	})
}

// What a slow reload read may be older than what is in the files by the time it is
// put in force.
func TestASlowReloadDoesNotBringAnOldPairBackForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 90*day, "old.example")
		use, err := r.Prepare(filesSettings(r.files))
		if err != nil {
			t.Fatal(err)
		}
		r.files.Write(t, r.ca, 90*day, "new.example")
		pass(20*time.Second + time.Millisecond)
		r.wantName("while it is being reloaded", "new.example")
		use()
		pass(20 * time.Second)
		r.wantName("reloaded", "new.example")
		r.Close()
	})
}

// Each thing that time makes of a certificate is said once.
func TestExpiryIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 14*day+time.Hour, "a.example")
		count := func(when string, use, soon, expired int) {
			t.Helper()
			if u, s, e := r.log.with("certificate in use"), r.log.with("in less than 14 days"), r.log.with("has expired"); u != use || s != soon || e != expired {
				t.Errorf("%s: %d in use, %d soon, %d expired; want %d, %d, %d", when, u, s, e, use, soon, expired)
			}
		}
		count("at start", 1, 0, 0)
		pass(30 * time.Minute)
		count("a little more than 14 days left", 1, 0, 0)
		pass(time.Hour)
		count("a little less", 1, 1, 0)
		r.files.Write(t, r.ca, time.Hour, "a.example")
		pass(50 * time.Minute)
		count("renewed for an hour", 1, 2, 0)
		pass(time.Hour)
		count("expired", 1, 2, 1)
		r.files.Write(t, r.ca, 90*day, "a.example")
		pass(time.Minute)
		count("renewed", 2, 2, 1)
		r.Close()
	})
}

func TestTheLineOfACertificateSaysWhatItIs(t *testing.T) {
	r := start(t, 90*day, "a.example")
	var line struct {
		Level, Msg, File string
		Names            []string
		Expires          time.Time
	}
	if err := json.Unmarshal(r.log.buf.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "INFO" || line.File != r.files.Cert || !slices.Equal(line.Names, []string{"a.example"}) || !line.Expires.Equal(r.leaf().NotAfter) {
		t.Errorf("got %+v", line)
	}
}

// Close waits: in a bubble a goroutine that is left would fail the test.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 90*day, "a.example")
		pass(15 * time.Second)
		r.Close()
		r.Close()
		r.files.Write(t, r.ca, 90*day, "b.example")
		pass(time.Hour)
		r.wantName("closed", "a.example")
	})
}

func TestFaultsAtTheStart(t *testing.T) {
	ca := authority.New(t)
	good, other := ca.Files(t, "a.example"), ca.Files(t, "b.example")
	file := func(text []byte) string {
		name := filepath.Join(t.TempDir(), "x.pem")
		write(t, name, text)
		return name
	}
	encrypted := file([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	large := file(make([]byte, 1<<20+1))
	dir, none := t.TempDir(), filepath.Join(t.TempDir(), "none.pem")
	const certRemedy, keyRemedy = "; it must hold PEM blocks CERTIFICATE, the server's own first", "; it must hold a PEM block PRIVATE KEY, not encrypted"
	for name, c := range map[string]struct{ cert, key, want string }{
		"good": {good.Cert, good.Key, ""},
		"both missing": {none, none, `tls.cert: "` + none + `" cannot be read: no such file or directory; name the PEM file of a certificate and its chain` + "\n" +
			`tls.key: "` + none + `" cannot be read: no such file or directory; name the PEM file of the certificate's key`},
		"a directory":       {dir, good.Key, `tls.cert: "` + dir + `" is no regular file; name the PEM file of a certificate and its chain`},
		"too large":         {large, good.Key, `tls.cert: "` + large + `" is larger than 1 MiB; name the PEM file of a certificate and its chain`},
		"another key":       {good.Cert, other.Key, `tls.key: "` + other.Key + `" does not belong to the certificate in "` + good.Cert + `"; name the key that it was made for`},
		"changed about":     {good.Key, good.Cert, `tls.cert: "` + good.Key + `" holds no certificate` + certRemedy + "\n" + `tls.key: "` + good.Cert + `" holds no key` + keyRemedy},
		"a key that is not": {good.Cert, encrypted, `tls.key: "` + encrypted + `" holds an encrypted key` + keyRemedy},
	} {
		got := ""
		if err := certs.Check(filesSettings(authority.Pair{Cert: c.cert, Key: c.key})); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
		s, err := certs.Start(filesSettings(authority.Pair{Cert: c.cert, Key: c.key}), slog.New(slog.DiscardHandler))
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: Start says %v; want %q", name, err, c.want)
		}
		if s != nil {
			s.Close()
		}
	}
}

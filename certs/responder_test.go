package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Of what a responder may say, only what is good, current, about this certificate and
// of who may say it is stapled. Else it is asked again, and that is said once.
func TestWhatIsStapled(t *testing.T) {
	signed := func(by issuer) func(*ocsp.Response) { return func(r *ocsp.Response) { r.Certificate = by.cert } }
	for name, c := range map[string]struct {
		say     func(*testing.T, issuer) (int, []byte, error)
		stapled bool
	}{
		"good": {func(t *testing.T, i issuer) (int, []byte, error) { return 200, i.answer(t, 7, week), nil }, true},
		"of a delegate": {func(t *testing.T, i issuer) (int, []byte, error) {
			d := i.delegate(t, week, x509.ExtKeyUsageOCSPSigning)
			return 200, issuer{i.cert, d.key}.answer(t, 7, week, signed(d)), nil
		}, true},
		"of another certificate of the issuer's": {func(t *testing.T, i issuer) (int, []byte, error) {
			d := i.delegate(t, week, x509.ExtKeyUsageServerAuth)
			return 200, issuer{i.cert, d.key}.answer(t, 7, week, signed(d)), nil
		}, false},
		"of a delegate that has expired": {func(t *testing.T, i issuer) (int, []byte, error) {
			d := i.delegate(t, -time.Minute, x509.ExtKeyUsageOCSPSigning)
			return 200, issuer{i.cert, d.key}.answer(t, 7, week, signed(d)), nil
		}, false},
		"of a stranger": {func(t *testing.T, i issuer) (int, []byte, error) {
			return 200, issuer{i.cert, newKey(t)}.answer(t, 7, week), nil
		}, false},
		"of a stranger's delegate": {func(t *testing.T, i issuer) (int, []byte, error) {
			d := newIssuer(t).delegate(t, week, x509.ExtKeyUsageOCSPSigning)
			return 200, issuer{i.cert, d.key}.answer(t, 7, week, signed(d)), nil
		}, false},
		"about another certificate": {func(t *testing.T, i issuer) (int, []byte, error) { return 200, i.answer(t, 8, week), nil }, false},
		"unknown": {func(t *testing.T, i issuer) (int, []byte, error) {
			return 200, i.answer(t, 7, week, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), nil
		}, false},
		"over": {func(t *testing.T, i issuer) (int, []byte, error) { return 200, i.answer(t, 7, 0), nil }, false},
		"of the future": {func(t *testing.T, i issuer) (int, []byte, error) {
			return 200, i.answer(t, 7, week, func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(maxSkew + time.Minute) }), nil
		}, false},
		"of a clock that is ahead of ours": {func(t *testing.T, i issuer) (int, []byte, error) {
			return 200, i.answer(t, 7, week, func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(2 * time.Second) }), nil
		}, true},
		"of a delegate whose clock is ahead of ours": {func(t *testing.T, i issuer) (int, []byte, error) {
			d := i.delegateFrom(t, time.Now().Add(2*time.Second), week, x509.ExtKeyUsageOCSPSigning)
			return 200, issuer{i.cert, d.key}.answer(t, 7, week, signed(d)), nil
		}, true},
		"without an end": {func(t *testing.T, i issuer) (int, []byte, error) {
			return 200, i.answer(t, 7, week, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), nil
		}, false},
		"garbage":    {func(*testing.T, issuer) (int, []byte, error) { return 200, []byte("<html>hello</html>"), nil }, false},
		"nothing":    {func(*testing.T, issuer) (int, []byte, error) { return 200, nil, nil }, false},
		"an error":   {func(*testing.T, issuer) (int, []byte, error) { return 200, ocsp.UnauthorizedErrorResponse, nil }, false},
		"no network": {func(*testing.T, issuer) (int, []byte, error) { return 0, nil, errors.New("connection refused") }, false},
		"a fault":    {func(t *testing.T, i issuer) (int, []byte, error) { return 500, i.answer(t, 7, week), nil }, false},
		"a redirect": {func(t *testing.T, i issuer) (int, []byte, error) { return 307, i.answer(t, 7, week), nil }, false},
		"too much": {func(t *testing.T, i issuer) (int, []byte, error) {
			return 200, i.answer(t, 7, week, func(r *ocsp.Response) {
				r.ExtraExtensions = append(r.ExtraExtensions, i.cert.Extensions[0])
				r.ExtraExtensions[0].Critical, r.ExtraExtensions[0].Value = false, make([]byte, maxStaple)
			}), nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				r := &responder{say: func(context.Context, int64) (int, []byte, error) { return c.say(t, i) }}
				h, said := staples(t, r)
				h.put("a.example", i.leaf(t, 7, 13*week, at))
				synctest.Wait()
				if got := h.stapled() != nil; got != c.stapled || r.asked.Load() != 1 {
					t.Errorf("stapled %v after %d questions; want %v after one", got, r.asked.Load(), c.stapled)
				}
				time.Sleep(5 * time.Minute)
				asked, told := int32(3), 1
				if c.stapled {
					asked, told = 1, 0
				}
				if n := r.asked.Load(); n != asked || said.lines("") != told {
					t.Errorf("asked %d times in five minutes, %d lines; want %d and %d", n, said.lines(""), asked, told)
				}
			})
		})
	}
}

// A response ends no later than the certificate of the delegate that signed it.
func TestStapleEndsWithItsSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		d := i.delegate(t, time.Hour, x509.ExtKeyUsageOCSPSigning)
		text := issuer{i.cert, d.key}.answer(t, 7, week, func(r *ocsp.Response) { r.Certificate = d.cert })
		h, _ := staples(t, &responder{say: always(text)})
		h.put("a.example", i.leaf(t, 7, 13*week, at))
		time.Sleep(time.Hour - time.Second)
		if h.stapled() == nil {
			t.Error("it is gone before the end of its signer")
		}
		time.Sleep(2 * time.Second)
		if h.stapled() != nil {
			t.Error("it is there behind the end of its signer")
		}
	})
}

// A hollow key has no private half; what it signs is as long as it is.
type hollow struct{ key *rsa.PublicKey }

func (h hollow) Public() crypto.PublicKey { return h.key }

func (h hollow) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return bytes.Repeat([]byte{1}, h.key.Size()), nil
}

// With a key that is too large, which anybody may put into a response, nothing is
// reckoned: see maxSignature.
func TestAKeyThatTakesLong(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	leaf := i.leaf(t, 7, 13*week, at).Leaf
	for bits, want := range map[uint]string{8192: "bad signature", 8200: "a signature of 1025 bytes", 60000: "a signature of 7500 bytes"} {
		n := new(big.Int).Lsh(big.NewInt(1), bits)
		key := hollow{&rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 1<<31 - 1}}
		cert := sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(week)}, stranger.cert, key, stranger.key)
		text := issuer{i.cert, key}.answer(t, 7, week, func(r *ocsp.Response) { r.Certificate = cert })
		if _, err := readStaple(text, leaf, i.cert, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bits: %v; want %q", bits, err, want)
		}
	}
}

// stockChain stocks a certificate for a.example that has its issuer with it and names
// the responder at url.
func stockChain(t *testing.T, dir, url string) issuer {
	t.Helper()
	at := stockAs(t, dir, "a.example", &x509.Certificate{
		DNSNames: []string{"a.example"}, NotBefore: time.Now(), NotAfter: time.Now().Add(13 * week), OCSPServer: []string{url},
	})
	own := &local{store: newShelf(dir, slog.New(slog.DiscardHandler)), path: dir, log: slog.New(slog.DiscardHandler)}
	root, key, err := own.authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(at, "a.example.crt")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, pemOf(root.Raw)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return issuer{root, key}
}

// Clients get the response with the handshake, by either version of TLS.
func TestClientsSeeTheStaple(t *testing.T) {
	var i issuer
	ready := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-ready
		body, _ := io.ReadAll(r.Body)
		about, err := ocsp.ParseRequest(body)
		if err != nil {
			t.Errorf("asked with %q: %v", body, err)
			return
		}
		_, _ = w.Write(i.answer(t, about.SerialNumber.Int64(), week))
	}))
	defer s.Close()
	dir := t.TempDir()
	i = stockChain(t, dir, s.URL)
	close(ready)
	m := stored(t, dir, Environment{}, "a.example")
	l, err := tls.Listen("tcp", "127.0.0.1:0", (&Source{m}).TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(i.cert)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var got []byte
		eventually(t, "a response", func() bool {
			c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "a.example", RootCAs: roots, MaxVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got = c.OCSPResponse()
			return got != nil
		})
		if answer, err := ocsp.ParseResponse(got, i.cert); err != nil || answer.Status != ocsp.Good || answer.SerialNumber.Int64() != 1 {
			t.Errorf("%s: got %v, %v", tls.VersionName(version), answer, err)
		}
	}
}

// A responder that says nothing holds up neither the start, which serves what is
// stored, nor the end, which leaves no question behind.
func TestASilentOCSPResponderHoldsNothingUp(t *testing.T) {
	before := running()
	asked := make(chan struct{}, 16)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection is not seen
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	dir := t.TempDir()
	stockChain(t, dir, s.URL)
	start := time.Now()
	m := stored(t, dir, Environment{}, "a.example")
	if err := m.Missing(); err != nil || time.Since(start) > loadTime {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	<-asked
	start = time.Now()
	if c, err := m.get(helloOf("a.example")); err != nil || c == nil || c.OCSPStaple != nil || time.Since(start) > loadTime {
		t.Errorf("a handshake while it is asked: %v, %v after %v", c, err, time.Since(start))
	}
	start = time.Now()
	m.Close()
	if took := time.Since(start); took > closeTime {
		t.Errorf("the end took %v", took)
	}
	eventually(t, "the end of what is left", func() bool { return len(ours(before)) == 0 })
}

// Whatever a responder says, what passes is about the certificate, current, and has the
// issuer's signature on it.
func FuzzReadStaple(f *testing.F) {
	i := newIssuer(f)
	leaf := i.leaf(f, 7, 13*week, at).Leaf
	d := i.delegate(f, week, x509.ExtKeyUsageOCSPSigning)
	f.Add(i.answer(f, 7, week))
	f.Add(i.answer(f, 8, week))
	f.Add(issuer{i.cert, d.key}.answer(f, 7, week, func(r *ocsp.Response) { r.Certificate = d.cert }))
	f.Add(i.answer(f, 7, week, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, time.Now() }))
	f.Add(ocsp.TryLaterErrorResponse)
	f.Add([]byte("<html>"))
	f.Add(bytes.Repeat([]byte{0x30}, maxStaple+1))
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Now()
		answer, err := readStaple(text, leaf, i.cert, now)
		if err != nil {
			return
		}
		if answer.Status == ocsp.Unknown || answer.SerialNumber.Cmp(leaf.SerialNumber) != 0 || len(answer.Raw) > maxStaple || !endOf(answer).After(now) {
			t.Errorf("passes: %+v", answer)
		}
		if answer.Certificate == nil && answer.CheckSignatureFrom(i.cert) != nil {
			t.Errorf("passes without the issuer's signature: %+v", answer)
		}
	})
}

package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/ocsp"
)

const week = 7 * 24 * time.Hour

// An issuer signs certificates and OCSP responses.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-week), NotAfter: time.Now().Add(100 * week),
	}
	key := newKey(t)
	return issuer{sign(t, template, template, key, key), key}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leaf is a certificate for a.example with this serial that lasts for life.
func (i issuer) leaf(t testing.TB, serial int64, life time.Duration, responders ...string) certmagic.Certificate {
	t.Helper()
	leaf := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"a.example"}, OCSPServer: responders,
		NotBefore: time.Now(), NotAfter: time.Now().Add(life),
	}, i.cert, newKey(t), i.key)
	return certmagic.Certificate{Certificate: tls.Certificate{Leaf: leaf, Certificate: [][]byte{leaf.Raw, i.cert.Raw}}}
}

// delegate is a certificate of i's for a responder, which lasts for life.
func (i issuer) delegate(t testing.TB, life time.Duration, usage ...x509.ExtKeyUsage) issuer {
	t.Helper()
	return i.delegateFrom(t, time.Now().Add(-time.Hour), life, usage...)
}

func (i issuer) delegateFrom(t testing.TB, begins time.Time, life time.Duration, usage ...x509.ExtKeyUsage) issuer {
	t.Helper()
	key := newKey(t)
	return issuer{sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "delegate"}, ExtKeyUsage: usage,
		NotBefore: begins, NotAfter: time.Now().Add(life),
	}, i.cert, key, i.key), key}
}

// answer is a response about serial that i signs: good, from an hour ago on, for life.
func (i issuer) answer(t testing.TB, serial int64, life time.Duration, changes ...func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{
		Status: ocsp.Good, SerialNumber: big.NewInt(serial), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(life),
	}
	for _, change := range changes {
		change(&r)
	}
	text, err := ocsp.CreateResponse(i.cert, i.cert, r, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A responder is a Transport with one behind it. It answers with what say makes of the
// serial it is asked about.
type responder struct {
	say   func(ctx context.Context, serial int64) (status int, body []byte, err error)
	asked atomic.Int32
	now   atomic.Int32 // questions under way
}

func (r *responder) RoundTrip(q *http.Request) (*http.Response, error) {
	r.asked.Add(1)
	r.now.Add(1)
	defer r.now.Add(-1)
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	about, err := ocsp.ParseRequest(body)
	if err != nil || q.Header.Get("Content-Type") != "application/ocsp-request" {
		return nil, fmt.Errorf("asked with %q: %v", body, err)
	}
	status, text, err := r.say(q.Context(), about.SerialNumber.Int64())
	if err != nil {
		return nil, err
	}
	w := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(text)), Request: q}
	w.Header.Set("Location", "http://elsewhere.example/")
	return w, nil
}

// always says text.
func always(text []byte) func(context.Context, int64) (int, []byte, error) {
	return func(context.Context, int64) (int, []byte, error) { return http.StatusOK, text, nil }
}

// mute says nothing until nobody waits any more.
func mute(ctx context.Context, _ int64) (int, []byte, error) {
	<-ctx.Done()
	return 0, nil, ctx.Err()
}

// staples runs a stapler that asks r, until the test's end.
func staples(t *testing.T, r *responder) (*hot, *notes) {
	t.Helper()
	h, said := &hot{changed: make(chan struct{}, 1)}, &notes{}
	client := responderClient(nil)
	client.Transport = r
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		newStapler(h, said.log(), client).run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return h, said
}

// stapled is what a handshake for a.example has stapled.
func (h *hot) stapled() []byte {
	c, _ := h.find("a.example")
	return c.OCSPStaple
}

const at = "http://responder.example/"

// A response is refreshed at half its life. While that fails the old one goes on until
// its end, tries become rare, and each change is said once.
func TestStapleIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, life := newIssuer(t), 4*24*time.Hour
		var down atomic.Bool
		r := &responder{say: func(_ context.Context, serial int64) (int, []byte, error) {
			if down.Load() {
				return http.StatusServiceUnavailable, nil, nil
			}
			return http.StatusOK, i.answer(t, serial, life), nil
		}}
		h, said := staples(t, r)
		h.put("a.example", i.leaf(t, 7, 13*week, at))
		synctest.Wait()
		first := h.stapled()
		if first == nil || r.asked.Load() != 1 {
			t.Fatalf("stapled %d bytes after %d questions", len(first), r.asked.Load())
		}
		time.Sleep(life * 44 / 100)
		if n := r.asked.Load(); n != 1 {
			t.Errorf("asked %d times before half of the life; want once", n)
		}
		time.Sleep(life * 12 / 100)
		second := h.stapled()
		if n := r.asked.Load(); n != 2 || bytes.Equal(second, first) {
			t.Errorf("asked %d times behind half of the life, the same response %v; want a new one", n, bytes.Equal(second, first))
		}
		answer, err := ocsp.ParseResponse(second, i.cert)
		if err != nil {
			t.Fatal(err)
		}
		down.Store(true)
		time.Sleep(time.Until(answer.NextUpdate) - time.Second)
		if !bytes.Equal(h.stapled(), second) {
			t.Error("the response is gone before its end")
		}
		if n := r.asked.Load() - 2; n < 20 || n > 70 {
			t.Errorf("asked %d times in two days; want about one an hour", n)
		}
		time.Sleep(2 * time.Second)
		if h.stapled() != nil {
			t.Error("it is there behind its end")
		}
		down.Store(false)
		time.Sleep(2 * retryMost)
		if h.stapled() == nil {
			t.Error("nothing is stapled two hours after the responder was back")
		}
		for _, line := range []string{"could not get an OCSP response", "the OCSP response is over", "got an OCSP response again"} {
			if n := said.lines(line); n != 1 {
				t.Errorf("%q is said %d times; want once", line, n)
			}
		}
	})
}

// The certificate that comes with a renewal has a response of its own. What is asked
// about the old one is not stapled to it, though it comes later.
func TestRenewalEndsTheOldStaple(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, release := newIssuer(t), make(chan struct{})
		r := &responder{say: func(_ context.Context, serial int64) (int, []byte, error) {
			if serial == 7 {
				<-release
			}
			return http.StatusOK, i.answer(t, serial, week), nil
		}}
		h, _ := staples(t, r)
		h.put("a.example", i.leaf(t, 7, 13*week, at))
		synctest.Wait()
		if h.stapled() != nil || r.now.Load() != 1 {
			t.Fatalf("%d questions are under way; want one", r.now.Load())
		}
		renewed := i.leaf(t, 8, 13*week, at)
		h.put("a.example", renewed)
		synctest.Wait()
		close(release)
		time.Sleep(time.Second)
		answer, err := ocsp.ParseResponse(h.stapled(), i.cert)
		if err != nil || answer.SerialNumber.Int64() != 8 {
			t.Fatalf("stapled: %v, %v; want what is about the new one", answer, err)
		}
		// As it is when storage is read again.
		asked, was := r.asked.Load(), h.stapled()
		h.put("a.example", renewed)
		time.Sleep(time.Minute)
		if !bytes.Equal(h.stapled(), was) || r.asked.Load() != asked {
			t.Errorf("the same certificate again: %d more questions, its response kept %v", r.asked.Load()-asked, bytes.Equal(h.stapled(), was))
		}
		h.put("a.example", i.leaf(t, 9, 13*week))
		if h.stapled() != nil {
			t.Error("the next has the response of the one before")
		}
		h.put("a.example", renewed)
		h.drop("a.example")
		asked = r.asked.Load()
		time.Sleep(week)
		if n := r.asked.Load() - asked; n > 0 || len(h.staples) > 0 {
			t.Errorf("%d questions about a name that was dropped, %d staples", n, len(h.staples))
		}
	})
}

// A revoked certificate loses its response, and that is said once.
func TestRevokedIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		var revoked atomic.Bool
		r := &responder{say: func(_ context.Context, serial int64) (int, []byte, error) {
			return http.StatusOK, i.answer(t, serial, 24*time.Hour, func(r *ocsp.Response) {
				if revoked.Load() {
					r.Status, r.RevokedAt = ocsp.Revoked, time.Now()
				}
			}), nil
		}}
		h, said := staples(t, r)
		h.put("a.example", i.leaf(t, 7, 13*week, at))
		synctest.Wait()
		if h.stapled() == nil {
			t.Fatal("nothing is stapled at first")
		}
		revoked.Store(true)
		time.Sleep(week)
		if h.stapled() != nil {
			t.Error("a response is stapled to a revoked certificate")
		}
		if n := said.lines("has revoked a certificate"); n != 1 || said.lines("name=a.example serial=7") != 1 {
			t.Errorf("it is said %d times; want once, with the name and the serial", n)
		}
		if n := r.asked.Load(); n < 10 || n > 20 {
			t.Errorf("asked %d times in a week; want about two a day", n)
		}
	})
}

// However many certificates there are, few questions are under way, and a responder
// that says nothing has 5 s for each.
func TestQuestionsToRespondersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		r := &responder{say: mute}
		h, said := staples(t, r)
		c := i.leaf(t, 7, 13*week, at)
		const many = 10 * maxAsking
		for n := range many {
			h.put(fmt.Sprintf("n%d.example", n), c)
		}
		for round := range int32(many / maxAsking) {
			synctest.Wait()
			if now, asked := r.now.Load(), r.asked.Load(); now != maxAsking || asked != (round+1)*maxAsking {
				t.Fatalf("round %d: %d questions are under way, %d were asked", round, now, asked)
			}
			time.Sleep(stapleTime)
		}
		if n := said.lines("could not get an OCSP response"); n < linesAtOnce || n > linesAtOnce+10 {
			t.Errorf("%d lines of %d failures; want some %d", n, many, linesAtOnce)
		}
	})
}

// Certificates that have no responder, or end soon, lead to no question.
func TestNobodyToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		r := &responder{say: mute}
		h, said := staples(t, r)
		alone := i.leaf(t, 7, 13*week, at)
		alone.Certificate.Certificate = alone.Certificate.Certificate[:1]
		for name, c := range map[string]certmagic.Certificate{
			"none": i.leaf(t, 7, 13*week), "other.schemes": i.leaf(t, 7, 13*week, "ldap://responder.example/", "file:///etc/passwd", "http:///", "::"),
			"short": i.leaf(t, 7, stapleLife-time.Second, at), "no.issuer": alone,
		} {
			h.put(name, c)
		}
		time.Sleep(week)
		if n := r.asked.Load(); n > 0 || said.lines("") > 0 {
			t.Errorf("asked %d times, %d lines; want nothing", n, said.lines(""))
		}
		h.put("a.example", i.leaf(t, 7, stapleLife, "ldap://responder.example/", at))
		time.Sleep(2 * stapleLife)
		if n := r.asked.Load(); n < 10 || n > 200 {
			t.Errorf("asked %d times about one of a week", n)
		}
		after := r.asked.Load()
		time.Sleep(stapleLife)
		if n := r.asked.Load() - after; n > 0 {
			t.Errorf("asked %d times behind the certificate's end", n)
		}
	})
}

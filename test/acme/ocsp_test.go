package acme

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// A responder answers for an authority: that what it is asked about is good, or revoked,
// or nothing.
type responder struct {
	*httptest.Server
	by      atomic.Pointer[authority]
	status  atomic.Int32 // of package ocsp
	silent  atomic.Bool
	asked   atomic.Int32
	refused atomic.Int32 // questions that are none
}

func newResponder(t *testing.T) *responder {
	r := &responder{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.asked.Add(1)
	body, err := io.ReadAll(q.Body)
	if r.silent.Load() {
		<-q.Context().Done()
		return
	}
	about, fault := ocsp.ParseRequest(body)
	if err != nil || fault != nil {
		r.refused.Add(1)
		return
	}
	signing := r.by.Load().signing
	cert := signing.GetIntermediateCert(0).Cert
	text, err := ocsp.CreateResponse(cert, cert, ocsp.Response{
		Status: int(r.status.Load()), SerialNumber: about.SerialNumber, RevokedAt: time.Now(),
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, signing.GetIntermediateKey(0))
	if err != nil {
		r.refused.Add(1)
		return
	}
	_, _ = w.Write(text)
}

// stapled is what a client gets with its handshake.
func stapled(t *testing.T, addr string, c *tls.Config) []byte {
	t.Helper()
	k, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	return k.OCSPResponse()
}

// Where the authority names a responder its answer is stapled. A start serves what is
// stored though it is silent; a certificate that is revoked is told and has none.
func TestOCSP(t *testing.T) {
	t.Parallel()
	r := newResponder(t)
	a, dir := newAuthority(t, terms{validity: 90 * 24 * 3600, responder: r.URL}), t.TempDir()
	r.by.Store(a)
	const name = "a.example.test"
	s := launch(t, serveEcho(t), a.settings(dir, "domains: ["+name+"]"))
	a.leads(s)
	s.ready(t, patience)
	var got []byte
	if !eventually(patience, func() bool { got = stapled(t, s.addr, a.trusting(name)); return got != nil }) {
		t.Fatal("nothing is stapled")
	}
	leaf, issuer := a.served(t, s, name), a.signing.GetIntermediateCert(0).Cert
	if answer, err := ocsp.ParseResponseForCert(got, leaf, issuer); err != nil || answer.Status != ocsp.Good {
		t.Fatalf("stapled: %+v, %v", answer, err)
	}
	t.Logf("%d bytes are stapled", len(got))
	s.stop(t)

	r.silent.Store(true)
	asked := r.asked.Load()
	s = launch(t, serveEcho(t), a.settings(dir, "domains: ["+name+"]"))
	t.Logf("ready after %v with a responder that is silent", s.ready(t, patience).Round(time.Millisecond))
	if !eventually(patience, func() bool { return r.asked.Load() > asked }) {
		t.Fatal("the responder is not asked")
	}
	if got := stapled(t, s.addr, a.trusting(name)); got != nil {
		t.Errorf("%d bytes are stapled after a start; want none yet", len(got))
	}
	if took := s.stop(t); took > 4*time.Second { // a second is the drain's, and five the question's
		t.Errorf("the end took %v while the responder was asked", took)
	}

	r.silent.Store(false)
	r.status.Store(ocsp.Revoked)
	s = launch(t, serveEcho(t), a.settings(dir, "domains: ["+name+"]"))
	s.ready(t, patience)
	s.log.line(t, `"level":"WARN"`, "the authority has revoked a certificate", name)
	if got := stapled(t, s.addr, a.trusting(name)); got != nil {
		t.Errorf("%d bytes are stapled to a revoked certificate", len(got))
	}
	if n := r.refused.Load(); n > 0 {
		t.Errorf("%d questions are none", n)
	}
}

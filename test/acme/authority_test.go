package acme

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"sidecar/test/faultlink"
)

// newOrder is where pebble takes orders.
const newOrder = "/order-plz"

// An authority is pebble.
type authority struct {
	url     string         // of its directory
	roots   string         // a PEM file: who signed its own certificate
	issued  *x509.CertPool // trusts what it issues
	signing *ca.CAImpl
	link    *faultlink.Link
	zone    *zone
	plain   *door        // every name's port 80
	secure  *door        // every name's port 443
	orders  atomic.Int64 // that were made; one refused for its nonce is not
	asked   atomic.Int64 // for orders, refused ones too
	calls   atomic.Int64 // requests of any kind
	fault   atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

// terms are what an authority can be told.
type terms struct {
	// validity of what is issued, in seconds. 0: an hour.
	validity uint64
	// accounts are the keys of external accounts by name. With any, one is asked for.
	accounts map[string]string
	// responder is the URL that certificates name for OCSP; "": none. With it the
	// authority's keys are RSA, for pebble hands out no others.
	responder string
}

func newAuthority(t testing.TB, want terms) *authority {
	t.Helper()
	if want.validity == 0 {
		want.validity = 3600
	}
	a := &authority{zone: serveZone(t), plain: newDoor(t), secure: newDoor(t)}
	quiet, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
	for id, key := range want.accounts {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	kind := "ecdsa"
	if want.responder != "" {
		kind = "rsa"
	}
	signing := ca.New(quiet, store, want.responder, kind, 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: want.validity}})
	validation := va.New(quiet, a.plain.port, a.secure.port, false, a.zone.addr, store)
	front := wfe.New(quiet, store, validation, signing, nil, false, len(want.accounts) > 0, 0, 0)
	a.signing = signing
	a.serve(t, front.Handler())
	a.trust(t, front.ManagementHandler())
	return a
}

// serve puts pebble behind a link that can fail.
func (a *authority) serve(t testing.TB, pebble http.Handler) {
	s := httptest.NewUnstartedServer(a.faulty(pebble))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not trust it says so in the handshake
	s.StartTLS()
	t.Cleanup(s.Close)
	link, err := faultlink.Listen(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	a.link, a.url = link, "https://"+link.Addr()+wfe.DirectoryPath
	a.roots = filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(a.roots, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// faulty counts, and asks the fault in force first.
func (a *authority) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		seen := &status{ResponseWriter: w}
		if r.URL.Path == newOrder {
			a.asked.Add(1)
			defer func() {
				if seen.code == http.StatusCreated {
					a.orders.Add(1)
				}
			}()
		}
		if f := a.fault.Load(); f != nil && (*f)(seen, r) {
			return
		}
		next.ServeHTTP(seen, r)
	})
}

// A status keeps the code that was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// fail answers requests by f from now on; those that it returns false for are pebble's.
// nil: all are.
func (a *authority) fail(f func(http.ResponseWriter, *http.Request) bool) {
	if f == nil {
		a.fault.Store(nil)
		return
	}
	a.fault.Store(&f)
}

// trust reads the root that signs what is issued.
func (a *authority) trust(t testing.TB, management http.Handler) {
	w := httptest.NewRecorder()
	management.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/roots/0", nil))
	a.issued = x509.NewCertPool()
	if !a.issued.AppendCertsFromPEM(w.Body.Bytes()) {
		t.Fatalf("the authority's root: status %d, %q", w.Code, w.Body)
	}
}

// down makes the authority unreachable: connections are refused, and open ones reset.
func (a *authority) down(t testing.TB) {
	t.Helper()
	if err := a.link.Refuse(); err != nil {
		t.Fatal(err)
	}
	a.link.End(faultlink.Both, faultlink.Reset)
}

// up undoes down.
func (a *authority) up(t testing.TB) {
	t.Helper()
	if err := a.link.Admit(); err != nil {
		t.Fatal(err)
	}
}

// leads tells the validation where the program listens.
func (a *authority) leads(to ...*sidecar) {
	var plain, secure []string
	for _, s := range to {
		if s.plain != "" {
			plain = append(plain, s.plain)
		}
		secure = append(secure, s.addr)
	}
	a.plain.lead(plain...)
	a.secure.lead(secure...)
}

// settings are the section tls of a sidecar.yaml that gets its certificates here; more
// are further keys.
func (a *authority) settings(storage, more string) string {
	return fmt.Sprintf("tls: {mode: acme, http: \"127.0.0.1:0\", ca: %q, ca_roots: %q, storage: %q, %s}\n", a.url, a.roots, storage, more)
}

// problem answers with an error as RFC 8555 section 6.7 has it.
func problem(w http.ResponseWriter, status int, kind, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":%q,"status":%d}`, kind, detail, status)
}

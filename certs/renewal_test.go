package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// An office is an authority that can fail, or be slow.
type office struct {
	certmagic.Issuer
	orders atomic.Int32
	by     sync.Map // of orders: *atomic.Int32 by name
	fault  atomic.Pointer[error]
	wait   chan struct{} // nil: not slow
}

func (o *office) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	o.orders.Add(1)
	for _, name := range csr.DNSNames {
		n, _ := o.by.LoadOrStore(name, new(atomic.Int32))
		n.(*atomic.Int32).Add(1)
	}
	if o.wait != nil {
		select {
		case <-o.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := o.fault.Load(); err != nil {
		return nil, *err
	}
	return o.Issuer.Issue(ctx, csr)
}

// of counts the orders for name.
func (o *office) of(name string) int32 {
	n, found := o.by.Load(name)
	if !found {
		return 0
	}
	return n.(*atomic.Int32).Load()
}

func (o *office) fail(err error) { o.fault.Store(&err) }
func (o *office) mend()          { o.fault.Store(nil) }

// A bureau is a managed with an office and a storage that can fail, in a bubble.
type bureau struct {
	*managed
	t       *testing.T
	office  *office
	disk    *faulty
	told    counted
	said    notes
	renewed atomic.Int32
}

// open starts it with a certificate for each name of s. What it gets lasts a week.
func open(t *testing.T, dir string, s Settings) *bureau {
	t.Helper()
	b := &bureau{t: t, disk: &faulty{Storage: newShelf(dir, slog.New(slog.DiscardHandler))}}
	e := Environment{Log: b.said.log(), Failed: b.told.failed, Renewed: func() { b.renewed.Add(1) }}
	var err error
	if b.managed, err = manage(s, e.withDefaults(), b.disk, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.office = &office{Issuer: b.steady.Issuers[0]}
	b.steady.Issuers, b.demand.Issuers = []certmagic.Issuer{b.office}, []certmagic.Issuer{b.office}
	b.Begin()
	synctest.Wait()
	if len(s.Domains) > 0 {
		b.within(time.Minute, "a certificate", b.whole)
	}
	return b
}

// within waits, by the bubble's clock, and says how long that took.
func (b *bureau) within(most time.Duration, what string, so func() bool) time.Duration {
	b.t.Helper()
	start := time.Now()
	for !so() {
		if time.Since(start) > most {
			b.t.Fatalf("%s: not within %v; missing: %v", what, most, b.Missing())
		}
		time.Sleep(time.Second)
	}
	return time.Since(start)
}

// leaf is what a handshake for name gets, nil for nothing.
func (b *bureau) leaf(name string) *x509.Certificate {
	c, err := b.get(&tls.ClientHelloInfo{ServerName: name})
	if err != nil || c == nil {
		return nil
	}
	return c.Leaf
}

var (
	limited = acme.Problem{Type: acme.ProblemTypeRateLimited, Status: http.StatusTooManyRequests, Detail: "too many"}
	broken  = acme.Problem{Type: acme.ProblemTypeServerInternal, Status: http.StatusServiceUnavailable, Detail: "maintenance"}
	gone    = errors.New("connection refused")
)

// Whatever the authority answers at a renewal, the old certificate is served to its
// end, the operator is told, tries are few, and the new one comes once it can.
func TestRenewalWhenTheAuthorityFails(t *testing.T) {
	for what, fault := range map[string]error{"limited": limited, "broken": broken, "gone": gone} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				name := what + ".renewal.example" // certmagic remembers failures by name
				b := open(t, dir, internalSettings(name))
				first := b.leaf(name)
				b.office.fail(fault)
				time.Sleep(time.Until(first.NotAfter) - 2*24*time.Hour)
				if !b.leaf(name).Equal(first) || b.Missing() != nil || b.Fresh() {
					t.Errorf("two days before the end: missing %v, fresh %v; want the old one, known as stale", b.Missing(), b.Fresh())
				}
				if !b.told.has("renew") || b.said.lines("could not renew a certificate") == 0 {
					t.Errorf("told of %v; want renew, and a line", b.told.stages)
				}
				if n := b.office.orders.Load(); n < 2 || n > 30 {
					t.Errorf("%d orders in some hours; want some, and few", n)
				}
				b.office.mend()
				took := b.within(7*time.Hour, "another", func() bool { return !b.leaf(name).Equal(first) })
				t.Logf("renewed %v after the authority was back, with %d orders", took, b.office.orders.Load())
				if !b.Fresh() || b.renewed.Load() != 1 {
					t.Errorf("fresh %v, %d renewals counted; want 1", b.Fresh(), b.renewed.Load())
				}
			})
		})
	}
}

// Behind its end the old certificate is missing, and the new one comes all the same.
func TestRenewalBehindTheEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "end.renewal.example"
		b := open(t, dir, internalSettings(name))
		first := b.leaf(name)
		b.office.fail(gone)
		time.Sleep(time.Until(first.NotAfter) + time.Hour)
		if err := b.Missing(); err == nil || !strings.Contains(err.Error(), "has expired: ") || !strings.Contains(err.Error(), gone.Error()) {
			t.Errorf("what is missing: %v; want the end, and why", err)
		}
		b.office.mend()
		b.within(7*time.Hour, "another", b.whole)
	})
}

// A disk that is full at a renewal costs no order, and is told.
func TestRenewalWhenStorageFails(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "full.renewal.example"
		b := open(t, dir, internalSettings(name))
		first, orders := b.leaf(name), b.office.orders.Load()
		b.disk.full.Store(true)
		time.Sleep(time.Until(first.NotAfter) - 2*24*time.Hour)
		if !b.leaf(name).Equal(first) || b.Missing() != nil || b.Fresh() || !b.told.has("storage") {
			t.Errorf("missing %v, fresh %v, told of %v; want the old one, known as stale, and storage", b.Missing(), b.Fresh(), b.told.stages)
		}
		if n := b.office.orders.Load(); n != orders {
			t.Errorf("%d orders for what cannot be kept", n-orders)
		}
		if n := b.said.lines("the storage of certificates cannot be used"); n == 0 || n > 100 {
			t.Errorf("it is said %d times", n)
		}
		b.disk.full.Store(false)
		b.within(7*time.Hour, "another", func() bool { return !b.leaf(name).Equal(first) })
		if !b.Fresh() || b.said.lines("can be used again") != 1 {
			t.Errorf("fresh %v, and it is said %d times that all is well; want once", b.Fresh(), b.said.lines("can be used again"))
		}
	})
}

func onDemand(allow ...string) Settings {
	s := internalSettings()
	s.OnDemand.Allow = allow
	return s
}

// On demand a certificate is renewed by the handshakes that get it, and nobody waits
// while the old one is good.
func TestRenewalOnDemand(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "x.demand.example"
		b := open(t, dir, onDemand("*.demand.example"))
		first := b.leaf(name)
		if first == nil {
			t.Fatal("there is none")
		}
		told := func() bool {
			return slices.ContainsFunc(b.Certificates(), func(c Certificate) bool { return c.Names[0] == name })
		}
		if !told() {
			t.Error("it is not told of")
		}
		time.Sleep(time.Until(first.NotAfter) - 24*time.Hour)
		if n := b.office.of(name); n != 1 {
			t.Errorf("%d orders for what nobody asks for; want the first", n)
		}
		if told() {
			t.Error("its end is told of, though nobody asks for it any more")
		}
		b.office.fail(limited)
		start := time.Now()
		for range 100 {
			if got := b.leaf(name); !got.Equal(first) {
				t.Fatal("the old one is not served")
			}
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("100 handshakes took %v", took)
		}
		if n := b.office.of(name); n != 2 {
			t.Errorf("%d orders by 100 handshakes; want 1", n-1)
		}
		if !told() {
			t.Error("the end of what cannot be renewed is not told of")
		}
		if b.said.lines("there is no order for it") != 1 || b.said.lines("handshakes for it fail") != 0 {
			t.Error("it is not said, or said that handshakes fail")
		}
		b.office.mend()
		b.within(2*time.Minute+b.env.Every, "another", func() bool { return !b.leaf(name).Equal(first) })
		if n := b.said.lines(`msg="certificate renewed" name=` + name); n != 1 {
			t.Errorf("%d renewals are told; want 1", n)
		}

		second := b.leaf(name) // behind its end a handshake waits for the next
		time.Sleep(time.Until(second.NotAfter) + time.Hour)
		if got := b.leaf(name); got == nil || got.Equal(second) {
			t.Error("behind the end there is no other")
		}
		for _, c := range b.Certificates() {
			if c.Names[0] == name && c.Expires.Before(time.Now()) {
				t.Error("the old one is still in memory")
			}
		}
	})
}

// A thousand handshakes while one order is under way are one order, and none waits for
// longer than a handshake may; the next is served.
func TestAThousandHandshakesAreOneOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir, onDemand("*.demand.example"))
		b.office.wait = make(chan struct{})
		ended := make(chan error)
		start := time.Now()
		for range 1000 {
			go func() {
				_, err := b.get(&tls.ClientHelloInfo{ServerName: "y.demand.example"})
				ended <- err
			}()
		}
		for range 1000 {
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "still on order") {
				t.Fatalf("got %v", err)
			}
		}
		if took := time.Since(start); took > b.env.Handshake {
			t.Errorf("they waited %v; want %v at most", took, b.env.Handshake)
		}
		close(b.office.wait)
		b.within(time.Minute, "the certificate", func() bool { return b.leaf("y.demand.example") != nil })
		if n := b.office.of("y.demand.example"); n != 1 {
			t.Errorf("%d orders; want 1", n)
		}
	})
}

// Names that strangers make up and whose orders fail neither push the certificates of
// others out of memory, nor fill the log, nor keep the scope's own names waiting.
func TestFailingNamesHarmNobody(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir, onDemand("*.demand.example"))
		good := b.leaf("good.demand.example")
		if good == nil {
			t.Fatal("there is none")
		}
		b.disk.full.Store(true)
		const most, strangers = 8, 100 // for all of the real bounds it would take long
		b.asked.Resize(most)
		b.denied.Resize(most)
		for i := range strangers {
			if b.leaf(fmt.Sprintf("n%d.demand.example", i)) != nil {
				t.Fatal("it is served")
			}
		}
		if got := b.leaf("good.demand.example"); got == nil || !got.Equal(good) {
			t.Error("the good one is gone")
		}
		if n := b.said.lines("could not get a certificate on demand"); n != linesAtOnce {
			t.Errorf("%d lines; want %d", n, linesAtOnce)
		}
		if n := b.denied.Len(); n != most {
			t.Errorf("%d failures are remembered; want %d", n, most)
		}
	})
}

// With all orders on demand that may be under way, the scope's own name has its turn.
func TestOrdersOnDemandLeaveRoom(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir, onDemand("*.demand.example"))
		b.office.wait = make(chan struct{})
		for i := range maxJobs {
			go b.leaf(fmt.Sprintf("room%d.demand.example", i))
		}
		synctest.Wait()
		next := onDemand("*.demand.example")
		next.Domains = []string{"own.example"}
		b.adopt(next)
		synctest.Wait()
		if n := len(b.orders); n != maxStrange+1 {
			t.Errorf("%d orders are under way; want %d on demand and 1 more", n, maxStrange)
		}
		close(b.office.wait)
		b.within(time.Minute, "the own name's", b.whole)
	})
}

// After a start the certificates that storage has are served, however many orders for
// strangers' names are under way.
func TestStoredOnDemandDoesNotWaitForOrders(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const name = "stored.demand.example"
		before := open(t, dir, onDemand("*.demand.example"))
		first := before.leaf(name)
		before.Close()
		b := open(t, dir, onDemand("*.demand.example"))
		b.office.wait = make(chan struct{})
		for i := range 2 * maxJobs {
			go b.leaf(fmt.Sprintf("stranger%d.demand.example", i))
		}
		synctest.Wait()
		start := time.Now()
		if got := b.leaf(name); got == nil || !got.Equal(first) || time.Since(start) > 0 {
			t.Errorf("got %v after %v; want what is stored, at once", got, time.Since(start))
		}
		close(b.office.wait)
	})
}

// A reload in the middle of an order ends it, where the name is gone.
func TestReloadDropsANameThatIsOnOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, dir, internalSettings("a.reload.example"))
		b.office.wait = make(chan struct{})
		b.adopt(internalSettings("a.reload.example", "b.reload.example"))
		synctest.Wait()
		if len(b.orders) != 1 {
			t.Fatalf("%d orders are under way; want 1", len(b.orders))
		}
		b.adopt(internalSettings("a.reload.example"))
		synctest.Wait()
		if len(b.orders) != 0 || b.Missing() != nil || !b.Fresh() {
			t.Errorf("%d orders are under way, missing %v, fresh %v; want none and nothing", len(b.orders), b.Missing(), b.Fresh())
		}
		close(b.office.wait)
	})
}

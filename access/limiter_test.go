package access_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/access"
)

const off = -1

var (
	ann = netip.MustParseAddr("192.0.2.1")
	bob = netip.MustParseAddr("192.0.2.2")
)

func admit(t *testing.T, l *access.Limiter, addr netip.Addr) (release func()) {
	t.Helper()
	release, err := l.Admit(addr)
	if err != nil {
		t.Fatalf("admitting %v: %v", addr, err)
	}
	return release
}

func refuse(t *testing.T, l *access.Limiter, addr netip.Addr, status int, reason string) *access.Refusal {
	t.Helper()
	_, err := l.Admit(addr)
	return wantRefusal(t, err, status, reason)
}

func TestLimiterBoundsConnections(t *testing.T) {
	l := access.NewLimiter(access.Limits{Connections: 2, PerAddress: off, HandshakesPerSecond: off})
	release := admit(t, l, ann)
	admit(t, l, netip.Addr{}) // an unknown address counts here
	refusal := refuse(t, l, bob, http.StatusServiceUnavailable, "connections")
	if got, want := refusal.Text, "too many connections (limits.connections)"; got != want {
		t.Errorf("text %q; want %q", got, want)
	}
	if refusal.RetryAfter <= 0 {
		t.Errorf("RetryAfter %v; want one", refusal.RetryAfter)
	}
	release()
	admit(t, l, bob)
	if got, want := l.Len(), 2; got != want {
		t.Errorf("Len %d; want %d", got, want)
	}
}

func TestLimiterBoundsAddresses(t *testing.T) {
	l := access.NewLimiter(access.Limits{Connections: off, PerAddress: 2, HandshakesPerSecond: off})
	release := admit(t, l, ann)
	admit(t, l, netip.MustParseAddr("::ffff:192.0.2.1")) // ann in other words
	refusal := refuse(t, l, ann, http.StatusTooManyRequests, "per_address")
	if got, want := refusal.Text, "too many connections from your address (limits.per_address)"; got != want {
		t.Errorf("text %q; want %q", got, want)
	}
	admit(t, l, bob)
	release()
	admit(t, l, ann)
}

func TestLimiterCountsIPv6BySlash64(t *testing.T) {
	l := access.NewLimiter(access.Limits{Connections: off, PerAddress: 1, HandshakesPerSecond: off})
	admit(t, l, netip.MustParseAddr("2001:db8:1:2::1"))
	refuse(t, l, netip.MustParseAddr("2001:db8:1:2:ffff::9%eth0"), http.StatusTooManyRequests, "per_address")
	admit(t, l, netip.MustParseAddr("2001:db8:1:3::1"))
}

func TestLimiterDoesNotBoundUnknownAddresses(t *testing.T) {
	l := access.NewLimiter(access.Limits{Connections: off, PerAddress: 1, HandshakesPerSecond: 1})
	var releases []func()
	for range 100 {
		releases = append(releases, admit(t, l, netip.Addr{}))
	}
	if got, want := l.Len(), 100; got != want {
		t.Errorf("Len %d; want %d", got, want)
	}
	for _, release := range releases {
		release()
	}
	if got, want := l.Len(), 0; got != want {
		t.Errorf("Len %d after all were released; want %d", got, want)
	}
}

func TestLimiterBoundsHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(access.Limits{Connections: off, PerAddress: off, HandshakesPerSecond: 4})
		burst := func(addr netip.Addr) (n int) {
			for ; ; n++ {
				release, err := l.Admit(addr)
				if err != nil {
					return n
				}
				release() // a rate counts who came, not who is in
			}
		}
		if got, want := burst(ann), 10; got != want { // twice the rate, at least 10
			t.Errorf("burst of %d; want %d", got, want)
		}
		refusal := refuse(t, l, ann, http.StatusTooManyRequests, "rate")
		if got, want := refusal.Text, "too many handshakes from your address (limits.handshakes_per_second)"; got != want {
			t.Errorf("text %q; want %q", got, want)
		}
		time.Sleep(refusal.RetryAfter)
		if got, want := burst(ann), 1; got != want {
			t.Errorf("%d after %v; want %d", got, refusal.RetryAfter, want)
		}
		time.Sleep(time.Second)
		if got, want := burst(ann), 4; got != want {
			t.Errorf("%d after a second; want %d", got, want)
		}
		if got, want := burst(bob), 10; got != want {
			t.Errorf("another address's burst %d; want %d", got, want)
		}
	})
}

// A fleet that reconnects through one address passes at once under derived limits.
func TestLimiterLetsAFleetReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(access.Limits{}.Derive(1000))
		var releases []func()
		for range 950 {
			releases = append(releases, admit(t, l, ann))
		}
		refuse(t, l, ann, http.StatusServiceUnavailable, "connections")
		for _, release := range releases {
			release()
		}
		refuse(t, l, ann, http.StatusTooManyRequests, "rate")
		time.Sleep(time.Second)
		for range 95 {
			admit(t, l, ann)
		}
		refuse(t, l, ann, http.StatusTooManyRequests, "rate")
	})
}

func TestRefusedConnectionsUseNoRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(access.Limits{Connections: 1, PerAddress: off, HandshakesPerSecond: 1})
		release := admit(t, l, ann)
		for range 100 {
			refuse(t, l, ann, http.StatusServiceUnavailable, "connections")
		}
		release()
		admit(t, l, ann)
	})
}

// More addresses than are remembered push out the oldest, which then has a full
// burst again; the latest are remembered.
func TestLimiterForgetsTheOldestAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(access.Limits{Connections: off, PerAddress: off, HandshakesPerSecond: 1})
		exhaust := func(addr netip.Addr) {
			for range 10 {
				admit(t, l, addr)()
			}
			refuse(t, l, addr, http.StatusTooManyRequests, "rate")
		}
		exhaust(ann)
		addr := netip.MustParseAddr("10.0.0.0")
		for range 16383 {
			admit(t, l, addr)()
			addr = addr.Next()
		}
		refuse(t, l, ann, http.StatusTooManyRequests, "rate") // 16384 fit; asking makes it the latest
		exhaust(bob)
		for range 16383 {
			admit(t, l, addr)()
			addr = addr.Next()
		}
		exhaust(ann)                                          // forgotten, so a full burst
		exhaust(bob.Next())                                   // pushes out one more
		refuse(t, l, ann, http.StatusTooManyRequests, "rate") // the latest are kept
	})
}

func TestReleaseCountsOnce(t *testing.T) {
	l := access.NewLimiter(access.Limits{Connections: off, PerAddress: 2, HandshakesPerSecond: off})
	release := admit(t, l, ann)
	admit(t, l, ann)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(release)
	}
	wg.Wait()
	if got, want := l.Len(), 1; got != want {
		t.Errorf("Len %d; want %d", got, want)
	}
	admit(t, l, ann)
	refuse(t, l, ann, http.StatusTooManyRequests, "per_address")
}

func TestSetChangesBoundsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(access.Limits{Connections: 3, PerAddress: off, HandshakesPerSecond: off})
		var releases []func()
		for range 3 {
			releases = append(releases, admit(t, l, ann))
		}
		l.Set(access.Limits{Connections: 2, PerAddress: off, HandshakesPerSecond: off})
		if got, want := l.Len(), 3; got != want {
			t.Errorf("Len %d after Set; want %d: who is in stays in", got, want)
		}
		releases[0]()
		refuse(t, l, bob, http.StatusServiceUnavailable, "connections")
		l.Set(access.Limits{Connections: off, PerAddress: 2, HandshakesPerSecond: off})
		refuse(t, l, ann, http.StatusTooManyRequests, "per_address") // those before Set count
		l.Set(access.Limits{Connections: off, PerAddress: off, HandshakesPerSecond: 1})
		for range 10 {
			admit(t, l, ann)
		}
		refuse(t, l, ann, http.StatusTooManyRequests, "rate")
		l.Set(access.Limits{Connections: off, PerAddress: off, HandshakesPerSecond: 100})
		refuse(t, l, ann, http.StatusTooManyRequests, "rate") // what was used stays used
		time.Sleep(time.Second)
		for range 100 {
			admit(t, l, ann)
		}
		refuse(t, l, ann, http.StatusTooManyRequests, "rate")
		l.Set(access.Limits{Connections: off, PerAddress: off, HandshakesPerSecond: off})
		admit(t, l, ann)
		l.Set(access.Limits{Connections: off, PerAddress: off, HandshakesPerSecond: 100})
		admit(t, l, ann) // off forgets
	})
}

// Many goroutines come and go under changing bounds: no bound is overstepped
// and nobody is counted for ever.
func TestLimiterConcurrently(t *testing.T) {
	const most = 5
	bounds := access.Limits{Connections: most, PerAddress: 3, HandshakesPerSecond: 1_000_000}
	l := access.NewLimiter(bounds)
	var in, admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 4)})
			for range 500 {
				release, err := l.Admit(addr)
				if err != nil {
					continue
				}
				admitted.Add(1)
				if n := in.Add(1); n > most {
					t.Errorf("%d in; want at most %d", n, most)
				}
				l.Set(bounds)
				in.Add(-1)
				release()
				release()
			}
		})
	}
	wg.Wait()
	if got := l.Len(); got != 0 {
		t.Errorf("Len %d at the end; want 0", got)
	}
	if admitted.Load() == 0 {
		t.Error("nobody was admitted")
	}
	for range 3 {
		admit(t, l, ann)
	}
	refuse(t, l, ann, http.StatusTooManyRequests, "per_address")
}

func TestLimitsDerive(t *testing.T) {
	tests := []struct {
		sockets                      int
		in                           access.Limits
		connections, address, perSec int
		burst                        int
	}{
		{9000, access.Limits{}, 8550, off, 855, 8550},
		{10, access.Limits{}, 10, off, 10, 10},
		{0, access.Limits{}, 1, off, 10, 10},
		{9000, access.Limits{Connections: off}, off, off, 900, 9000},
		{9000, access.Limits{Connections: 500}, 500, off, 50, 500},
		{9000, access.Limits{Connections: 20, PerAddress: 7}, 20, 7, 10, 20},
		{9000, access.Limits{HandshakesPerSecond: 3}, 8550, off, 3, 10},
		{9000, access.Limits{HandshakesPerSecond: 30}, 8550, off, 30, 60},
		{9000, access.Limits{PerAddress: off, HandshakesPerSecond: off}, 8550, off, off, 1000},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d of %+v", tt.sockets, tt.in), func(t *testing.T) {
			got := tt.in.Derive(tt.sockets)
			if got.Connections != tt.connections || got.PerAddress != tt.address || got.HandshakesPerSecond != tt.perSec {
				t.Errorf("got %+v; want connections %d, per_address %d, handshakes_per_second %d", got, tt.connections, tt.address, tt.perSec)
			}
			if again := got.Derive(7); again != got {
				t.Errorf("derived again: %+v; want %+v", again, got)
			}
			wantBurst(t, got, tt.burst)
		})
	}
}

// wantBurst checks that at least burst handshakes may come at once, and, where
// the rate is bounded, no more.
func wantBurst(t *testing.T, l access.Limits, burst int) {
	t.Helper()
	l.Connections, l.PerAddress = off, off
	synctest.Test(t, func(t *testing.T) {
		limiter := access.NewLimiter(l)
		for range burst {
			admit(t, limiter, ann)
		}
		if l.HandshakesPerSecond != off {
			refuse(t, limiter, ann, http.StatusTooManyRequests, "rate")
		}
	})
}

func TestLimitsValidate(t *testing.T) {
	for _, l := range []access.Limits{{}, {Connections: off, PerAddress: off, HandshakesPerSecond: off}, {Connections: 1, PerAddress: 1, HandshakesPerSecond: 1}} {
		if err := l.Validate(); err != nil {
			t.Errorf("%+v: %v; want valid", l, err)
		}
	}
	err := access.Limits{Connections: -2, PerAddress: -3, HandshakesPerSecond: -4}.Validate()
	const want = "connections: -2 must not be negative: write off for no bound\n" +
		"per_address: -3 must not be negative: write off for no bound\n" +
		"handshakes_per_second: -4 must not be negative: write off for no bound"
	if err == nil || err.Error() != want {
		t.Errorf("got %v; want %s", err, want)
	}
}

//go:build clockjump

package test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"github.com/gorilla/websocket"

	"sidecar/test/authority"
	"sidecar/test/faultlink"
)

// wallJump is how many seconds time.Now adds; see TestClockJumps.
//
//go:linkname wallJump time.wallJump
var wallJump int64

const (
	hour = time.Hour
	year = 365 * 24 * time.Hour
)

// jump sets the clock on the wall, until the test ends.
func jump(t *testing.T, by time.Duration) {
	atomic.AddInt64(&wallJump, int64(by/time.Second))
	t.Cleanup(func() { atomic.AddInt64(&wallJump, -int64(by/time.Second)) })
}

// The wall's clock jumps, and nothing else does.
func TestJumpedAsMeant(t *testing.T) {
	before := time.Now()
	jump(t, -hour)
	now := time.Now()
	if d := now.Round(0).Sub(before.Round(0)); d > -hour+time.Minute || d < -hour {
		t.Errorf("by the wall it is %v later; want an hour earlier", d)
	}
	if d := now.Sub(before); d < 0 || d > time.Minute {
		t.Errorf("by the monotonic clock it is %v later; want almost none", d)
	}
}

// Sessions of all kinds go on, heartbeats judge nobody, who is away comes back with the
// token of before, and whose time is up is told so: neither early nor an hour late.
func TestJumpedSessions(t *testing.T) {
	for _, by := range []time.Duration{hour, -hour, year, -year} {
		t.Run(by.String(), func(t *testing.T) { sitOut(t, by) })
	}
}

const (
	jumpTTL  = 4 * time.Second
	jumpOver = jumpTTL + 4*time.Second // by then a poll too is known to be over: it was held for a second, and had a timeout
)

func sitOut(t *testing.T, by time.Duration) {
	r := newRig(t, "heartbeat: {interval: 400ms, timeout: 1200ms}\nresume: {poll: 1s}\nsession: {ttl: 4s}\n"+
		"protocols: [websocket, resume, engineio, http]\nengineio: {ping_interval: 500ms, ping_timeout: 1500ms}\n")
	var talks []*talk
	for i, via := range append([]transport{overWebSocket}, engineTransports...) {
		r.via = via
		talks = append(talks, r.open(t, fmt.Sprintf("talk%d", i), -1))
	}
	var stay, away, lost []*journey
	var links []*faultlink.Link
	for i, k := range kinds {
		l, id := r.aside(t), fmt.Sprint("-", i) // ids are words
		links = append(links, l)
		stay = append(stay, r.roam(t, "stay"+id, r.front.Addr(), k))
		away = append(away, r.roam(t, "away"+id, l.Addr(), k))
		lost = append(lost, r.roam(t, "lost"+id, l.Addr(), k))
	}
	exchange := func() {
		t.Helper()
		for _, k := range talks {
			k.exchange(t, 3, 1000)
		}
		for _, j := range stay {
			j.exchange(t, 3, 1000)
		}
	}
	exchange()
	for i := range kinds {
		links[i].End(faultlink.Both, faultlink.Reset) // an absence whose timer will ring in the next
	}
	rest(t.Context(), jumpTTL*3/4)
	for i := range kinds {
		away[i].exchange(t, 3, 1000)
		lost[i].exchange(t, 3, 1000)
		away[i].road.lead(nowhere)
		lost[i].road.lead(nowhere)
		links[i].End(faultlink.Both, faultlink.Reset)
	}
	left := time.Now()
	jump(t, by)
	for time.Since(left) < jumpTTL/2 { // five intervals of the heartbeat
		exchange()
		rest(t.Context(), 100*time.Millisecond)
	}
	for i, j := range away {
		j.road.lead(links[i].Addr())
		j.client.CheckNetwork()
		j.exchange(t, 3, 1000)
	}
	rest(t.Context(), jumpOver-time.Since(left))
	for i, j := range lost {
		j.road.lead(links[i].Addr())
		j.client.CheckNetwork()
		within(t, patience, j.id+": the end", j.client.ended)
		if got := goneReason(j.client.err); got != "expired" {
			t.Errorf("%s: ended with %v; want gone, expired", j.id, j.client.err)
		}
	}
	exchange()
	for _, j := range append(stay, away...) {
		j.finish(t)
	}
	r.wantClean(t)
}

// A backend's certificate is good by the clock on the wall.
func TestJumpedCertificates(t *testing.T) {
	ca := authority.New(t) // a year old
	certificate, key := ca.Issue(t, 24*time.Hour, "127.0.0.1")
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		if c, err := up.Upgrade(w, r, nil); err == nil {
			c.Close()
		}
	}))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	backend.StartTLS()
	t.Cleanup(backend.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	s := boot(t, "127.0.0.1:1", fmt.Sprintf("routes: [{path: /tls, upstream: {url: \"wss://%s/\", ca: %q}}]\n", backend.Listener.Addr(), file))
	for _, c := range []struct {
		by     time.Duration
		status int
	}{{0, 101}, {hour, 101}, {year, 502}, {-hour, 101}, {-2 * year, 502}, {0, 101}} {
		t.Run(c.by.String(), func(t *testing.T) {
			jump(t, c.by)
			conn, res, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/tls", nil)
			if res == nil {
				t.Fatal(err)
			}
			if err == nil {
				conn.Close()
			}
			if res.StatusCode != c.status {
				t.Errorf("answered with %d (%v); want %d", res.StatusCode, err, c.status)
			}
		})
	}
}
